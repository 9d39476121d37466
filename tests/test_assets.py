"""Names of embedded models."""

from pathlib import Path

import pytest

from tvm_c4n import assets
from tvm_c4n.errors import CheckpointError


@pytest.mark.parametrize("name", assets.MODELS)
def test_names_lead_to_folders(name):
    assert (assets.resolve(name) / "config.json").is_file()


def test_a_folder_wins_over_a_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    Path("mamba-19m").mkdir()
    assert assets.resolve("mamba-19m") == Path("mamba-19m")


def test_a_model_that_the_wheel_leaves_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(assets, "ROOT", tmp_path)
    with pytest.raises(CheckpointError, match="granite-h-20m: comes with the repository"):
        assets.resolve("granite-h-20m")
