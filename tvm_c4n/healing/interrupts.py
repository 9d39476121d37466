"""Signals that end a training between two steps."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType


@contextmanager
def interrupts(tell: Callable[[], None]) -> Iterator[list[int]]:
    """Collect Ctrl-C and SIGTERM, so that a step is not left half done; a second one is obeyed.

    The first one is told, and at the end of the step passed on to the handler of before.
    """
    caught: list[int] = []
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}

    def obey(number: int) -> None:
        handler = handlers[signal.Signals(number)]
        if callable(handler):
            handler(number, None)
        raise KeyboardInterrupt

    def note(number: int, frame: FrameType | None) -> None:
        if caught:
            obey(number)
        caught.append(number)
        tell()

    heard = [number for number, handler in handlers.items() if handler is not signal.SIG_IGN]
    for number in heard:
        signal.signal(number, note)
    try:
        yield caught
    finally:
        for number in heard:
            signal.signal(number, handlers[number])
    if caught:
        obey(caught[0])
