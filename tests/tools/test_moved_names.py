"""The tool that lists what a release of TVM lacks."""

from __future__ import annotations

from pathlib import Path

import pytest

TOOLS = Path(__file__).parents[2] / "tools"


@pytest.fixture
def moved_names(monkeypatch: pytest.MonkeyPatch):
    """The tool as a module."""
    monkeypatch.syspath_prepend(str(TOOLS))
    import moved_names

    return moved_names


def test_the_release_that_is_supported_has_every_name(moved_names, capsys) -> None:
    assert moved_names.main() == 0
    assert ", 0 of them gone" in capsys.readouterr().out


def test_names_that_are_gone_are_told_from_modules_that_nothing_imported(moved_names) -> None:
    source = "from tvm.ir import Function\nfrom tvm import rpc\nfrom pathlib import Path\n"
    found = {name: moved_names.is_there(*name) for name in moved_names.imports(source)}
    assert found == {("tvm.ir", "Function"): False, ("tvm", "rpc"): True}
