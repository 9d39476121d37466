"""How options of `prune` are read; `tests/cli/errors` has a row for each that is refused."""

import pytest

from tvm_c4n.cli.pruning_options import parse_removed
from tvm_c4n.errors import RecipeError


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2", 2),
        ("in_proj=2,out_proj=1", {"in_proj": 2, "out_proj": 1}),
        (" in_proj = 3 ", {"in_proj": 3}),
        ("layers.3.out_proj=1", {"layers.3.out_proj": 1}),
    ],
)
def test_removed_is_a_number_or_one_per_projection(text, expected):
    assert parse_removed(text) == expected


@pytest.mark.parametrize(
    "text", ["", "two", "in_proj=", "=2", "in_proj=2,", "in_proj=2,in_proj=1", "in_proj=2;x=1"]
)
def test_other_values_of_removed_are_refused(text):
    with pytest.raises(RecipeError, match="--removed"):
        parse_removed(text)
