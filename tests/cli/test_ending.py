"""How a command ends that does not end well: lines on stderr and exit codes."""

import signal

import pytest

from tvm_c4n.cli import verbs
from tvm_c4n.errors import DeviceError, RecipeError


def raise_(error):
    raise error


@pytest.mark.parametrize(
    ("error", "code"), [(RecipeError("two\nlines"), 2), (DeviceError("two  lines"), 1)]
)
def test_our_errors_are_one_line_with_their_exit_code(call, monkeypatch, error, code):
    monkeypatch.setattr(verbs, "app", lambda: raise_(error))
    result = call()
    assert (result.code, result.out) == (code, "")
    assert result.err == "error: two lines\n"


def test_other_errors_point_to_debug(call, monkeypatch):
    monkeypatch.setattr(verbs, "app", lambda: raise_(KeyError("lost")))
    result = call()
    assert result.code == 1
    assert result.err.count("\n") == 1
    assert "KeyError" in result.err
    assert "--debug" in result.err


@pytest.mark.parametrize(
    ("error", "code", "line"),
    [
        (OSError(28, "No space left on device", "/disk/out"), 2, "/disk/out: No space left"),
        (OSError(28, "No space left on device"), 2, "stdout cannot be written: No space left on"),
        (MemoryError(), 1, "out of memory: "),
    ],
)
def test_debug_is_mentioned_only_where_it_helps(call, monkeypatch, error, code, line):
    monkeypatch.setattr(verbs, "app", lambda: raise_(error))
    result = call()
    assert (result.code, result.out) == (code, "")
    assert result.err.startswith(f"error: {line}")
    assert result.err.count("\n") == 1
    assert "--debug" not in result.err


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_what_a_signal_becomes_in_tvms_callbacks_is_still_that_signal(
    call, monkeypatch, number, code
):
    def callback():
        try:
            signal.raise_signal(number)
        except BaseException as error:
            raise RuntimeError(str(error)) from None  # as TVM's C++ passes it on

    monkeypatch.setattr(verbs, "app", callback)
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        result = call()
        assert (result.code, result.out, result.err) == (code, "", "")
    finally:
        signal.signal(signal.SIGINT, before)


def test_ctrl_c_leaves_with_130(call, monkeypatch):
    monkeypatch.setattr(verbs, "app", lambda: raise_(KeyboardInterrupt()))
    result = call()
    assert (result.code, result.out, result.err) == (130, "", "")
