"""The verbs, and the options that stand before them."""

import subprocess
import sys

import pytest

import tvm_c4n
from tvm_c4n.cli.version import version_line

VERBS = ("convert", "prune", "inspect", "compile", "run", "eval", "bench")


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_has_help(call, verb):
    result = call(verb, "--help")
    assert result.code == 0
    assert f"tvm-c4n {verb}" in result.out


def test_version(call):
    out = call("--version").out
    assert out == f"{version_line()}\n"
    assert out.startswith(f"tvm-c4n {tvm_c4n.__version__}, TVM ")


def test_a_wrong_option_is_the_users_error(call):
    result = call("prune", "--no-such-option")
    assert result.code == 2
    assert "no-such-option" in result.err


def test_help_of_a_verb_imports_neither_the_others_nor_rich():
    """Its 0.3 s are mostly Python's, typer's and pydantic's imports."""
    program = (
        "import sys; from tvm_c4n.cli import app; sys.argv = ['tvm-c4n', 'run', '--help']\n"
        "try: app.main()\n"
        "except SystemExit: pass\n"
        "print({'rich.console', 'tvm_c4n.cli.prune', 'tvm', 'numpy'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.stdout.splitlines()[-1] == "set()", done.stderr


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("run model -n many", "'many' should be a valid integer"),
        ("run model --temp hot", "'hot' should be a valid number"),
        ("serve model --port 80800", "'80800' should be less than or equal to 65535"),
        ("bench model -o xml", "'xml' is not one of 'md', 'json'."),
    ],
)
def test_a_value_of_another_kind_is_named(call, words, said):
    result = call(*words.split())
    line = result.err.splitlines()[-1]
    assert (result.code, line.endswith(said)) == (2, True), line
