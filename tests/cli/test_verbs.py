"""The verbs, and the options that stand before them."""

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
