"""The names that `import tvm_c4n` offers, and what they cost."""

import inspect
import subprocess
import sys
from pathlib import Path

import pytest

import tvm_c4n


def run(program):
    """Run a program in a process of its own; returns what it prints."""
    done = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        cwd=Path(tvm_c4n.__file__).parents[1],
        timeout=200,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_the_import_loads_nothing_else():
    assert (
        run("import sys, tvm_c4n; print({'tvm', 'torch', 'numpy'} & set(sys.modules))") == "set()"
    )


def test_every_public_name_is_there_and_listed():
    for name in tvm_c4n.__all__:
        assert getattr(tvm_c4n, name) is not None
        assert name in dir(tvm_c4n)
    assert callable(tvm_c4n.load)
    with pytest.raises(AttributeError, match="nothing"):
        _ = tvm_c4n.nothing


def test_paths_may_be_strings_everywhere():
    for name in tvm_c4n.__all__:
        if callable(public := getattr(tvm_c4n, name)):
            for parameter in inspect.signature(public).parameters.values():
                annotation = str(parameter.annotation)
                assert "Path" not in annotation or "str" in annotation, f"{name}: {parameter}"


@pytest.mark.parametrize(
    "first",
    [
        "import tvm_c4n.pruning.recipe",
        pytest.param("", marks=pytest.mark.slow),
        pytest.param("from tvm_c4n import prune", marks=pytest.mark.slow),
    ],
)
def test_prune_is_the_function_whatever_was_imported_before(first):
    program = f"""
import tvm_c4n
{first}
from tvm_c4n.errors import CheckpointError
try:
    tvm_c4n.prune("no-such-model", "/nowhere/out")
except CheckpointError as error:
    print("no-such-model" in str(error))
"""
    assert run(program) == "True"
