"""What the commands print with: results on stdout, everything else on stderr."""

from __future__ import annotations

from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table


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


def megabytes(size_bytes: int) -> str:
    """Show a size with three digits or so: ``18.43 MB``."""
    return f"{size_bytes / 1e6:.2f} MB"


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
        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TextColumn("{task.fields[what]}"),
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
        """Print a line on stderr that stays, above the bar if there is one."""
        self._bar.console.print(sentence, highlight=False, markup=False, soft_wrap=True)

    def __call__(self, what: str, done: int, total: int) -> None:
        """Show how far a step is."""
        self._bar.update(self._task, completed=done, total=total, what=what)
