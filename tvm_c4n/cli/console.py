"""What the commands print with: results on stdout, everything else on stderr."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType

import typer
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
from rich.table import Column, Table
from rich.text import Text

from tvm_c4n.progress import FINISHED_BEFORE

# Columns of a progress bar beside its title and what names the stage.
_WIDTH = 12 + len("1234/1234") + len("0:00:00") + len("0:00:00 left") + 5


def print_table(title: str, head: list[str], rows: list[list[str]]) -> None:
    """Print a title and a table on stdout; the first column is text, the others are figures."""
    table = Table(box=None, pad_edge=False)
    for index, name in enumerate(head):
        table.add_column(name, justify="left" if index == 0 else "right", overflow="fold")
    for row in rows:
        table.add_row(*row)
    console = Console(highlight=False, markup=False)
    if not console.is_terminal:
        # A pipe has no width: nothing may be folded for it.
        console = Console(highlight=False, markup=False, width=200)
    # The title by itself: as the table's own it would be folded to the table's width.
    console.print(title, soft_wrap=True)
    console.print(table)


def say(sentence: str, console: Console | None = None) -> None:
    """Print a sentence on stderr: a terminal gets it in lines that end with a word."""
    console = console or Console(stderr=True)
    wrapped = console.is_terminal
    console.print(sentence, highlight=False, markup=False, soft_wrap=not wrapped)


def pattern(removed: dict[int, int]) -> str:
    """Describe the one pattern, or count several: ``dense x1, n=1 x11``."""
    from tvm_c4n.sparsity import describe

    if len(removed) == 1:
        return describe(next(iter(removed)))
    return ", ".join(
        f"{f'n={n}' if n else 'dense'} x{count}" for n, count in sorted(removed.items())
    )


def next_step(model: Path, verb: str = "run", more: str = "") -> str:
    """Return the line that says what to do with a model folder or an artifact."""
    return f'next:          tvm-c4n {verb} {shlex.quote(str(model))}{more} -p "Once upon a time"'


def megabytes(size_bytes: int) -> str:
    """Show a size with three digits or so: ``18.43 MB``."""
    return f"{size_bytes / 1e6:.2f} MB"


def write_text(prompt: str, pieces: Iterable[str]) -> None:
    """Print a prompt and its continuation as it comes; an error in between stands on its own line.

    The prompt is printed when the first piece is there: what is wrong is said before any text.
    """
    begun = False
    try:
        for piece in pieces:
            typer.echo(piece if begun else prompt + piece, nl=False)
            begun = True
    finally:
        if begun:
            typer.echo()
    if not begun:
        typer.echo(prompt)


@contextmanager
def on_interrupt(hint: Callable[[], str]) -> Iterator[None]:
    """Say how to resume when a signal ends what is done inside, on stderr."""
    try:
        yield
    except (KeyboardInterrupt, SystemExit):
        typer.echo(hint(), err=True)
        raise


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


class ProgressBar:
    """Context manager: a progress bar on stderr, silent where stderr is no terminal.

    Called as ``bar(what, done, total)``, the way long functions of this package report.

    Parameters
    ----------
    title : str
        Stands before the bar.
    """

    def __init__(self, title: str) -> None:
        console = Console(stderr=True)
        # What the other columns leave of a line, with counts of four digits.
        room = max(12, console.width - len(title) - _WIDTH)
        stage = Column(no_wrap=True, overflow="ellipsis", max_width=room)
        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=12),
            _Count(),
            TimeElapsedColumn(),
            _TimeLeft(),
            TextColumn("{task.fields[what]}", table_column=stage),
            console=console,
            transient=True,
            disable=not console.is_terminal,
        )
        self._task = self._bar.add_task(title, total=None, what="")

    def __enter__(self) -> ProgressBar:
        self._bar.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._bar.stop()

    def notify(self, sentence: str) -> None:
        """Print a sentence on stderr that stays, above the bar if there is one."""
        say(sentence, self._bar.console)

    def __call__(self, what: str, done: int, total: int) -> None:
        """Show how far a step is.

        Work that counts from the start again, or to another total, is timed anew, and what was
        finished before does not count as work.
        """
        task = self._bar.tasks[0]
        if done < task.completed or total != task.total or what.endswith(FINISHED_BEFORE):
            self._bar.reset(self._task, completed=done)
        self._bar.update(self._task, completed=done, total=total, what=what)
