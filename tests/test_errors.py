"""Every error has an exit code, and the command line shows it in one line."""

from __future__ import annotations

import inspect

import pytest

from tvm_c4n import errors
from tvm_c4n.cli.app import main
from tvm_c4n.errors import one_line, shown

KINDS = [kind for _, kind in inspect.getmembers(errors, inspect.isclass)]


def test_a_message_is_one_line_that_forges_no_other() -> None:
    hostile = "tensor a\x1b[2J\nerror: b\r\u202ec\ud800"
    line = r"tensor a\x1b[2J error: b \u202ec\ud800"
    assert one_line(hostile) == line
    assert str(errors.CheckpointError(hostile)) == line
    assert str(errors.CheckpointError(line)) == line
    assert one_line("Füße 走 é") == "Füße 走 é"


def test_long_names_and_long_messages_lose_their_middles() -> None:
    message = one_line(f"/models/{'x' * 5000}/config.json: is no model; prune it again")
    assert message.startswith("/models/xxx")
    assert message.endswith("xxx/config.json: is no model; prune it again")
    assert len(message) < 500
    assert len(one_line("many words " * 1000)) < 1300
    path = f"/folder/{'n' * 255}/file"
    assert one_line(path) == path


def test_what_a_file_says_is_quoted_on_one_line_and_cut() -> None:
    assert shown("a\nb") == r"'a\nb'"
    assert len(shown("x" * 1000)) < 140


def test_every_kind_is_a_c4n_error_with_its_exit_code() -> None:
    codes = {kind.__name__: kind.exit_code for kind in KINDS}
    assert all(issubclass(kind, errors.C4nError) for kind in KINDS)
    # 2: the request is wrong; 1: it is right and failed. 0 would say that nothing happened.
    assert codes.pop("DeviceError") == 1
    assert set(codes.values()) == {2}


@pytest.mark.parametrize("kind", KINDS)
def test_the_command_line_ends_with_the_kinds_code_and_one_line(
    kind: type[errors.C4nError], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def failing(*args: object, **kwargs: object) -> None:
        raise kind("what, where; remedy")

    monkeypatch.setattr("tvm_c4n.cli.verbs.app", failing)
    monkeypatch.setattr("tvm_c4n.cli.ending.signal.signal", lambda *_: None)
    monkeypatch.setattr("sys.argv", ["tvm-c4n"])
    with pytest.raises(SystemExit) as left:
        main()
    assert left.value.code == kind.exit_code
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.strip().endswith("what, where; remedy")
    assert captured.err.count("\n") == 1
