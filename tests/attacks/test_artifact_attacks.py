"""Every hostile artifact gives one error line in both runtimes, quickly and in little memory."""

from __future__ import annotations

import importlib.util
import resource
import shutil
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

from tvm_c4n.errors import ArtifactError
from tvm_c4n.runtime.engine import Engine

# The runner itself takes 0.3 GB of addresses, nearly all of them TVM's libraries.
MAX_ADDRESSES = 2 << 30
MAX_SECS = 200


def _load(name: str) -> ModuleType:
    # By path: with --import-mode=importlib no test folder is on sys.path.
    spec = importlib.util.spec_from_file_location(name, Path(__file__).with_name(f"{name}.py"))
    assert spec is not None
    assert spec.loader is not None
    module = sys.modules[name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


hostile = _load("hostile_artifact")
hybrid = _load("hostile_hybrid")
attacks = pytest.mark.parametrize("attack", hostile.ATTACKS, ids=lambda a: a.__name__)
hybrid_attacks = pytest.mark.parametrize("attack", hybrid.ATTACKS, ids=lambda a: a.__name__)


@pytest.fixture
def folder(small_artifact: Path, tmp_path: Path) -> Path:
    """A copy that an attack may spoil."""
    return shutil.copytree(small_artifact, tmp_path / "art")


def start(runner: Path, folder: Path, tokens: str = "1 2 3") -> subprocess.CompletedProcess[str]:
    limit = (MAX_ADDRESSES, MAX_ADDRESSES)
    return subprocess.run(
        [runner, folder, "-n", "4", "-t", "1"],
        input=tokens,
        capture_output=True,
        text=True,
        check=False,
        timeout=MAX_SECS,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_AS, limit),
    )


@pytest.fixture
def hybrid_folder(hybrid_artifact: Path, tmp_path: Path) -> Path:
    """A copy of the model with attention."""
    return shutil.copytree(hybrid_artifact, tmp_path / "art")


def refused_by_the_engine(folder: Path, said: str) -> None:
    with pytest.raises(ArtifactError) as caught:
        Engine.load(folder, threads=1)
    assert "\n" not in str(caught.value)
    assert said in str(caught.value)


def refused_by_the_runner(runner: Path, folder: Path, said: str) -> None:
    done = start(runner, folder)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("error: ")
    assert done.stderr.count("\n") == 1
    assert said in done.stderr


@attacks
def test_the_engine_refuses_it(folder: Path, attack: hostile.Attack) -> None:
    refused_by_the_engine(folder, attack(folder))


@attacks
def test_the_runner_refuses_it(host_runner: Path, folder: Path, attack: hostile.Attack) -> None:
    refused_by_the_runner(host_runner, folder, attack(folder))


@hybrid_attacks
def test_the_engine_refuses_a_hybrid(hybrid_folder: Path, attack: hybrid.Attack) -> None:
    refused_by_the_engine(hybrid_folder, attack(hybrid_folder))


@hybrid_attacks
def test_the_runner_refuses_a_hybrid(
    host_runner: Path, hybrid_folder: Path, attack: hybrid.Attack
) -> None:
    refused_by_the_runner(host_runner, hybrid_folder, attack(hybrid_folder))


def test_a_text_longer_than_the_context_is_refused(host_runner: Path, hybrid_folder: Path) -> None:
    assert start(host_runner, hybrid_folder, "1 " * 60).returncode == 0
    for tokens in ("1 " * 65, "1 " * 400):
        done = start(host_runner, hybrid_folder, tokens)
        said = f"the text has {len(tokens) // 2} tokens: this model reads 64 at most"
        assert (done.returncode, done.stdout, done.stderr) == (2, "", f"error: {said}\n")
    done = start(host_runner, hybrid_folder, "1 " * 63)  # and 4 more: the 65th is one too many
    assert (done.returncode, len(done.stdout.split())) == (2, 2)
    assert done.stderr == "error: the text has 65 tokens: this model reads 64 at most\n"


def test_the_runner_takes_what_is_good(host_runner: Path, folder: Path) -> None:
    done = start(host_runner, folder)
    assert done.returncode == 0, done.stderr


def test_what_config_and_projections_say_must_agree(folder: Path) -> None:
    hostile.edit(folder, lambda m: m["config"].update(vocab_size=100000))
    with pytest.raises(ArtifactError, match=r"embeddings.weight has shape .96, 32.; config asks"):
        Engine.load(folder)


@pytest.mark.parametrize("tokens", ["96", "99999", "4294967297", "-1", "1.5", "true", "1 x", "\0"])
def test_the_runner_refuses_tokens_that_are_none(
    host_runner: Path, folder: Path, tokens: str
) -> None:
    done = start(host_runner, folder, tokens)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith(("error: token ", "error: stdin: '"))
    assert done.stderr.count("\n") == 1


def test_the_runner_says_that_its_output_is_lost(host_runner: Path, folder: Path) -> None:
    for options in (["-n", "4"], ["--bench", "-p", "4", "-g", "0", "-r", "1"]):
        with Path("/dev/full").open("w") as full:
            done = subprocess.run(
                [host_runner, folder, *options],
                input="1 2 3",
                stdout=full,
                stderr=subprocess.PIPE,
                text=True,
                check=False,
                timeout=MAX_SECS,
            )
        assert done.returncode == 2
        assert done.stderr == "error: stdout cannot be written: No space left on device\n"
