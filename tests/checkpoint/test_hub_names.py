"""Which names are a hub's, and what its cache is called."""

from pathlib import Path

import pytest

from tvm_c4n.checkpoint.hub_names import HubModel, hub_model, name_of, origin_of

COMMIT = "0123456789abcdef0123456789abcdef01234567"


@pytest.mark.parametrize(
    ("name", "repo", "revision"),
    [
        ("state-spaces/mamba-2.8b-hf", "state-spaces/mamba-2.8b-hf", "main"),
        ("org/name@v1", "org/name", "v1"),
        (f"org/name@{COMMIT}", "org/name", COMMIT),
        ("org/name@refs/pr/1", "org/name", "refs/pr/1"),
    ],
)
def test_names_of_a_hub(name, repo, revision):
    assert hub_model(name) == HubModel(repo, revision)


@pytest.mark.parametrize(
    "name",
    [
        "none", "mamba-19m", "./org/name", "../org/name", "/org/name", "~/name", "org/name/",
        "org/", "a/b/c", "out/model.art", "models/mamba.Q8_0.gguf", "org/model.safetensors",
        "org/na me",
        "org/name@", "org/name@-x", "org/../name", "org\\name", "", "https://huggingface.co/a/b",
    ],
)  # fmt: skip
def test_what_is_a_path(name):
    assert hub_model(name) is None


def test_what_is_on_the_disk_wins(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert hub_model("org/name") is not None
    assert hub_model(Path("org/name")) is None  # a Path is a path
    (tmp_path / "org").mkdir()
    assert hub_model("org/nmae") is None  # a typing mistake is not asked for anywhere
    (tmp_path / "org/name").mkdir()
    assert hub_model("org/name") is None
    assert hub_model("org/name@v1") is None


def test_a_folder_of_the_cache_says_what_it_holds(tmp_path):
    folder = tmp_path / "models--org--my-name" / "snapshots" / COMMIT
    folder.mkdir(parents=True)
    assert origin_of(folder) == HubModel("org/my-name", COMMIT)
    assert name_of(folder) == "my-name"
    (tmp_path / "link").symlink_to(folder)
    assert origin_of(tmp_path / "link") == HubModel("org/my-name", COMMIT)


@pytest.mark.parametrize(
    "folder",
    [
        f"models--org--name/snapshots/{COMMIT[:-1]}", f"datasets--org--name/snapshots/{COMMIT}",
        f"models--name/snapshots/{COMMIT}", f"models--org--name/other/{COMMIT}", COMMIT,
        f"models--o rg--name/snapshots/{COMMIT}",
    ],
)  # fmt: skip
def test_other_folders_say_nothing(folder, tmp_path):
    assert origin_of(tmp_path / folder) is None
    assert name_of(tmp_path / folder) == Path(folder).name


def test_a_name_is_said_as_it_is_typed():
    assert str(HubModel("org/name")) == "org/name"
    assert str(HubModel("org/name", "v1")) == "org/name@v1"
