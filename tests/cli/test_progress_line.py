"""A progress bar in a terminal: one line that fits, with times that mean something."""

import io
import re

from rich.console import Console

from tvm_c4n.cli import progress_line
from tvm_c4n.cli.console import ProgressBar


def test_what_was_finished_before_does_not_make_the_rest_look_quick(monkeypatch):
    terminal = Console(file=io.StringIO(), force_terminal=True, width=80)
    monkeypatch.setattr(progress_line, "Console", lambda **_: terminal)
    now = [0.0]
    with ProgressBar("pruning") as bar:
        bar._bar.get_time = lambda: now[0]
        bar("loading", 0, 1)
        for layer in range(8):
            bar(f"layer {layer} was finished before", 10 * (layer + 1), 100)
            now[0] += 0.001
        for done in range(81, 86):
            now[0] += 2.0
            bar("layer 8", done, 100)
        assert bar._bar.tasks[0].time_remaining == 30


def test_progress_fits_a_line_and_says_how_much_is_left(monkeypatch):
    screen = io.StringIO()
    terminal = Console(file=screen, force_terminal=True, width=80, color_system=None)
    monkeypatch.setattr(progress_line, "Console", lambda **_: terminal)
    with ProgressBar("evaluating") as bar:
        for done in range(3):
            bar("a stage with a name that is much longer than there is room for", done, 1000)
            bar._bar.refresh()
        half = bar._bar.tasks[0].completed
        bar("the next stage", 0, 10)
        bar._bar.refresh()
    lines = re.split(r"[\r\n]", re.sub(r"\x1b\[[\d;?]*[a-zA-Z]", "", screen.getvalue()))
    assert half == 2
    assert max(len(line.rstrip()) for line in lines) <= 80
    assert any("2/1000" in line and " left " in line for line in lines)
    assert not any("None" in line for line in lines)
    assert any("0/10 " in line and "the next stage" in line for line in lines)
