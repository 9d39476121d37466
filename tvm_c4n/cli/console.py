"""What the commands print with: results on stdout, everything else on stderr."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING

import typer

from tvm_c4n.progress import FINISHED_BEFORE

if TYPE_CHECKING:
    from rich.console import Console

# What is of rich is imported where it is used: it takes longer than --help may.


def print_table(title: str, head: list[str], rows: list[list[str]]) -> None:
    """Print a title and a table on stdout; the first column is text, the others are figures."""
    from rich.console import Console
    from rich.table import Table

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
    if console is None:
        from rich.console import Console

        console = Console(stderr=True)
    wrapped = console.is_terminal
    console.print(sentence, highlight=False, markup=False, soft_wrap=not wrapped)


def pattern(removed: dict[int, int]) -> str:
    """Describe the one pattern, or count several: ``dense x1, n=1 x11``."""
    from tvm_c4n.sparsity import describe_counts  # not above: NumPy takes a while

    return describe_counts(removed)


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


class ProgressBar:
    """Context manager: a progress bar on stderr, silent where stderr is no terminal.

    Called as ``bar(what, done, total)``, the way long functions of this package report.

    Parameters
    ----------
    title : str
        Stands before the bar.
    """

    def __init__(self, title: str) -> None:
        from tvm_c4n.cli.progress_line import progress_line

        self._bar = progress_line(title)
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
