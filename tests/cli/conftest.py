"""The small model, pruned and compiled once."""

import json
import shutil

import pytest

from tests.hub import hub_of
from tests.models import write_words
from tests.once import made_once
from tvm_c4n.model.families import describe_model
from tvm_c4n.model.reference import Reference


@pytest.fixture(scope="session")
def pruned(small_model, words, tmp_path_factory):
    """The small model at n=2, int8."""
    from tvm_c4n.pruning import Recipe
    from tvm_c4n.pruning.run import prune

    recipe = Recipe(removed=2, dtype="int8", samples=8, sample_tokens=32)
    return made_once(
        tmp_path_factory,
        "cli/n2",
        lambda folder: prune(small_model, folder, recipe, calibration=words),
    )


@pytest.fixture(scope="session")
def artifact(pruned, tmp_path_factory):
    """The pruned model, compiled for this machine."""
    from tvm_c4n.compile.artifact import compile_model

    return made_once(tmp_path_factory, "cli/n2.art", lambda folder: compile_model(pruned, folder))


@pytest.fixture(scope="session")
def hub_of_errors(small_model, tmp_path_factory):
    """A hub with the small model, and with repositories that are refused."""
    home = tmp_path_factory.mktemp("hub")
    configs = {"llama": {"model_type": "llama"}, "original": {"d_model": 8, "ssm_cfg": {}}}
    models = {"org/small": small_model}
    for name in ("llama", "original", "pickle", "gguf"):
        models[f"org/{name}"] = home / name
        models[f"org/{name}"].mkdir()
    for name, config in configs.items():
        (home / name / "config.json").write_text(json.dumps(config))
    shutil.copy(small_model / "config.json", home / "pickle")
    (home / "pickle/pytorch_model.bin").touch()
    (home / "gguf/model.gguf").touch()
    with hub_of(models, home / "home/hub") as hub:
        yield hub


@pytest.fixture
def furnished(small_model, pruned, artifact, words, tmp_path, monkeypatch, hub_of_errors):
    """A folder to work in, with ``model``, ``pruned``, ``model.art`` and two texts."""
    folder = tmp_path.resolve() / "work"
    for source, name in ((small_model, "model"), (pruned, "pruned"), (artifact, "model.art")):
        shutil.copytree(source, folder / name)
    shutil.copy(words, folder / "text.jsonl")
    write_words(folder / "longer.jsonl", documents=60)
    monkeypatch.chdir(folder)
    return folder


@pytest.fixture(scope="session")
def arm_artifact(pruned, arm_linker, tmp_path_factory):
    """The pruned model, compiled for arm64 Linux."""
    from tvm_c4n.compile.artifact import compile_model

    return made_once(
        tmp_path_factory,
        "cli/arm.art",
        lambda folder: compile_model(pruned, folder, "arm64-linux"),
    )


@pytest.fixture(scope="session")
def default_arm_artifact(arm_linker, tmp_path_factory):
    """The default model in float32, compiled for arm64 Linux."""
    from tvm_c4n.compile.artifact import compile_model

    return made_once(
        tmp_path_factory,
        "cli/default/arm.art",
        lambda folder: compile_model("mamba-19m", folder, "arm64-linux", dtype="float32"),
    )


@pytest.fixture(scope="session")
def default_text():
    """A prompt, and the 32 tokens with which the default model's reference continues it."""
    from tvm_c4n.checkpoint import open_checkpoint

    checkpoint = open_checkpoint("mamba-19m")
    reference = Reference(describe_model(checkpoint.config), checkpoint.dense)
    prompt = [0, 480, 1500, 77, 3021, 12, 260]
    logits, found = reference.prefill(prompt)[-1], []
    for _ in range(32):
        found.append(int(logits.argmax()))
        logits = reference.step(found[-1])
    return prompt, found
