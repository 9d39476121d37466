"""Models of a hub: the real client, a server of this machine."""

import json
import subprocess
import sys

import pytest

from tests.hub import commit_of
from tvm_c4n.checkpoint import export_dense, locate, open_checkpoint
from tvm_c4n.checkpoint.hub import locate_config
from tvm_c4n.checkpoint.hub_names import origin_of
from tvm_c4n.errors import CheckpointError

WANTED = {"README.md", "config.json", "model.safetensors", "tokenizer.json"}


def test_what_a_model_is_made_of_comes_and_nothing_else(hub, small_model, tmp_path):
    told = []
    folder = locate("org/small", lambda *step: told.append(step))
    there = {file.name for file in small_model.iterdir()} | {"README.md"}
    assert {file.name for file in folder.iterdir()} == there >= WANTED
    assert not {"modeling_small.py", "pytorch_model.bin"} & set(hub.sent)
    assert origin_of(folder).revision == commit_of(hub.models["org/small"])
    assert told[-1][0] == "MB of org/small" and told[-1][1] <= told[-1][2]
    source = open_checkpoint(small_model)
    found = open_checkpoint("org/small")
    assert all((found.dense(name) == source.dense(name)).all() for name in source.names())


def test_what_is_in_the_cache_is_not_downloaded_again(hub):
    first = locate("org/small")
    hub.sent.clear()
    assert locate("org/small@v1") == locate(f"org/small@{first.name}") == first
    assert hub.sent == []


def test_for_a_plan_only_the_config_comes(hub):
    folder = locate_config("org/small")
    assert [file.name for file in folder.iterdir()] == ["config.json"]
    assert not [path for _, path, _ in hub.asked if "safetensors" in path]


def test_a_model_in_shards(hub, small_model, tmp_path):
    export_dense(open_checkpoint(small_model), tmp_path / "shards", shard_bytes=20_000)
    hub.models["org/shards"] = tmp_path / "shards"
    found = locate("org/shards")
    assert len(list(found.glob("model-*-of-*.safetensors"))) > 1
    assert open_checkpoint(found).names() == open_checkpoint(small_model).names()


def test_without_the_hub_the_cache_serves(hub, monkeypatch):
    from huggingface_hub import constants

    folder = locate("org/small")
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    hub.asked.clear()
    assert locate("org/small") == folder
    assert hub.asked == []
    (folder / "model.safetensors").unlink()  # as an interrupted download leaves it
    with pytest.raises(CheckpointError, match=r"^org/small: .*HF_HUB_OFFLINE is set.*hf download"):
        locate("org/small")


def test_a_family_that_is_not_supported_is_refused_by_its_config(hub):
    config = hub.models["org/small"] / "config.json"
    config.write_text(json.dumps({"model_type": "llama"}))
    with pytest.raises(CheckpointError, match=r"^org/small: .*'llama'"):
        locate("org/small")
    assert hub.sent == ["config.json"]


@pytest.mark.parametrize(
    ("missing", "said"),
    [
        ("model.safetensors", r"has neither model.safetensors nor model.safetensors.index.json"),
        ("config.json", r"has no config.json"),
    ],
)
def test_a_repository_of_another_kind(hub, missing, said):
    (hub.models["org/small"] / missing).unlink()
    with pytest.raises(CheckpointError, match=rf"^org/small: {said}"):
        locate("org/small")
    assert "model.safetensors" not in hub.sent


def test_the_authors_format_is_not_downloaded(hub):
    (hub.models["org/small"] / "config.json").write_text('{"d_model": 8, "ssm_cfg": {}}')
    with pytest.raises(CheckpointError, match=r"org/small-hf.*tvm-c4n convert"):
        locate("org/small")
    assert hub.sent == ["config.json"]


def test_a_shard_that_the_index_names_and_the_hub_lacks(hub):
    folder = hub.models["org/small"]
    shard = "model-00001-of-00001.safetensors"
    (folder / "model.safetensors").unlink()
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": {"a": shard}}))
    with pytest.raises(CheckpointError, match=f"^org/small: lacks {shard}"):
        locate("org/small")


def test_a_path_of_an_index_stays_in_the_folder(hub):
    folder = hub.models["org/small"]
    (folder / "model.safetensors").unlink()
    index = {"weight_map": {"a": "../../../../a.safetensors"}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    with pytest.raises(CheckpointError, match="not a plain file name"):
        locate("org/small")


def test_the_variables_are_those_of_huggingface_hub(hub, tmp_path):
    """Another process, in which nothing is patched: HF_ENDPOINT and HF_HOME say it all."""
    program = "from tvm_c4n.checkpoint import locate; print(locate('org/small'))"
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert (done.stderr, done.returncode) == ("", 0)
    assert done.stdout == f"{locate('org/small')}\n"
    assert hub.sent.count("model.safetensors") == 1


def test_a_model_that_changes_while_it_is_looked_up(hub, monkeypatch):
    from huggingface_hub import HfApi

    ask = HfApi.model_info

    def changes(*args, **options):
        found = ask(*args, **options)
        (hub.models["org/small"] / "README.md").write_text("another")
        return found

    monkeypatch.setattr(HfApi, "model_info", changes)
    with pytest.raises(CheckpointError, match=r"^org/small: has changed meanwhile; try again"):
        locate("org/small")
