"""The line that a progress bar is: what is done, how much of it, and how long the rest takes."""

from __future__ import annotations

import os

from rich.console import Console
from rich.progress import (
    BarColumn,
    Progress,
    ProgressColumn,
    Task,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.table import Column
from rich.text import Text

# Columns beside the title and what names the stage.
_WIDTH = 12 + len("1234/1234") + len("0:00:00") + len("0:00:00 left") + 5


class _Count(ProgressColumn):
    """``3/16``; nothing while the total is not known."""

    def render(self, task: Task) -> Text:
        """Lay out the column."""
        return Text(f"{task.completed:.0f}/{task.total:.0f}" if task.total else "")


class _TimeLeft(TimeRemainingColumn):
    """``0:00:48 left``; nothing while that is not known."""

    def render(self, task: Task) -> Text:
        """Lay out the column."""
        known = task.total and task.time_remaining is not None and not task.finished
        return super().render(task).append(" left") if known else Text()


def progress_line(title: str) -> Progress:
    """Return a progress bar on stderr, silent where stderr is no terminal.

    Of the processes that torchrun started, the first one shows it.
    """
    console = Console(stderr=True)
    # What the other columns leave of a line, with counts of four digits.
    room = max(12, console.width - len(title) - _WIDTH)
    stage = Column(no_wrap=True, overflow="ellipsis", max_width=room)
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(bar_width=12),
        _Count(),
        TimeElapsedColumn(),
        _TimeLeft(),
        TextColumn("{task.fields[what]}", table_column=stage),
        console=console,
        transient=True,
        disable=not console.is_terminal or os.environ.get("RANK", "0") != "0",
    )
