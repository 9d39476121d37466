"""Models have names, and start in a thread that says what is wrong with them."""

from pathlib import Path

import pytest

from tvm_c4n.errors import ArtifactError, C4nError
from tvm_c4n.server.limits import Limits
from tvm_c4n.server.service import model_names, start_service


def test_a_model_has_the_name_of_its_folder(tmp_path):
    assert model_names([tmp_path / "a.art", tmp_path / "b"]) == ["a", "b"]
    with pytest.raises(C4nError, match="two models are called a: rename the folder of one"):
        model_names([tmp_path / "a.art", tmp_path / "x" / "a"])


def test_what_is_wrong_with_a_model_is_raised_where_it_was_started(tmp_path):
    with pytest.raises(ArtifactError):
        start_service([Path(tmp_path)], threads=1, limits=Limits())
    with pytest.raises(C4nError, match="slots is 0; use 1 or more"):
        start_service([Path(tmp_path)], threads=1, limits=Limits(slots=0))
