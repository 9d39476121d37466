"""Names of embedded models."""

import re
from pathlib import Path

import pytest

from tvm_c4n import assets
from tvm_c4n.errors import CheckpointError

ROOT = Path(__file__).parents[1]


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


def test_the_wheel_is_about_as_large_as_the_guide_says() -> None:
    """Deflate takes some 8 % off the models, which are all but 1 MB of a wheel."""
    said = re.search(r"a wheel of (\d+) MB", (ROOT / "docs" / "getting-started.md").read_text())
    assert said is not None
    packed = (path for path in (ROOT / "tvm_c4n" / "assets").rglob("*") if path.is_file())
    models = sum(path.stat().st_size for path in packed if path.parent.name != "granite-h-20m")
    assert 0.89 < int(said[1]) * 1e6 / models < 0.95
