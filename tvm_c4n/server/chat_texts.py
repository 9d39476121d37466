"""Chats to texts by the models' templates: in a process that waits already for the next chat."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

from tvm_c4n.model.chat_template import ChatTemplate
from tvm_c4n.model.render_process import NextProcess

# Chats that are rendered at once: a process takes a core, and some 50 MB.
_AT_ONCE = 2
# Seconds after a chat until the process for the next one is started: the answer goes first.
_LATER_SECS = 0.3


class ChatTexts:
    """Renders the chats of all models of a server. All of it belongs to the loop's thread."""

    def __init__(self) -> None:
        self._limiter = asyncio.Semaphore(_AT_ONCE)
        self._next = NextProcess()
        self._later: asyncio.TimerHandle | None = None
        self._closed = False

    def prepare(self) -> None:
        """Start the process of the next chat, unless it is there."""
        if not self._closed:
            self._next.prepare()

    async def render(self, template: ChatTemplate, messages: Sequence[Mapping[str, Any]]) -> str:
        """Return the text of a chat.

        Raises
        ------
        C4nError
            See `ChatTemplate.render`.
        """
        async with self._limiter:
            process = self._next.take()
            try:
                return await asyncio.to_thread(template.render, messages, process=process)
            finally:
                process.close()
                if self._later is not None:
                    self._later.cancel()
                self._later = asyncio.get_running_loop().call_later(_LATER_SECS, self.prepare)

    def close(self) -> None:
        """End the process that waits."""
        self._closed = True
        if self._later is not None:
            self._later.cancel()
        self._next.close()
