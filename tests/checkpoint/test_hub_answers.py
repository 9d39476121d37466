"""What a hub refuses is one line."""

import pytest

from tests.hub import GATED, SILENT
from tvm_c4n.checkpoint import locate
from tvm_c4n.errors import CheckpointError


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("no/such", r"^no/such: no such folder, and no such model at http://127.*hf auth login"),
        (GATED, r"^gated/model: given to those who ask: .*/gated/model, .*hf auth login"),
        ("org/small@x", r"^org/small@x: org/small has no such revision"),
        (SILENT, r"^silent/model: no such folder; .* does not answer, .*`hf download silent/model"),
    ],
)
def test_what_is_refused(hub, name, said):
    with pytest.raises(CheckpointError, match=said):
        locate(name)


def test_a_hub_that_is_not_there(hub):
    hub.close()
    with pytest.raises(CheckpointError, match=r"^org/small: .* does not answer"):
        locate("org/small")
