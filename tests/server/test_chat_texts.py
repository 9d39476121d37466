"""A process waits for the next chat, and none is left behind."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import pytest

from tvm_c4n.errors import C4nError
from tvm_c4n.model.chat_template import ChatTemplate
from tvm_c4n.server import chat_texts
from tvm_c4n.server.chat_texts import ChatTexts

TEMPLATE = ChatTemplate(Path("t"), "{{ messages[0].content }}", {})
MESSAGES = [{"role": "user", "content": "x"}]


def children() -> int:
    path = Path(f"/proc/self/task/{os.getpid()}/children")
    return len(path.read_text().split())


def test_many_at_once_and_nothing_left(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chat_texts, "_LATER_SECS", 0.01)
    before = children()

    async def ask() -> None:
        texts = ChatTexts()
        texts.prepare()
        assert children() == before + 1
        wrong = asyncio.create_task(texts.render(TEMPLATE, [{"no": "role"}]))
        found = await asyncio.gather(*(texts.render(TEMPLATE, MESSAGES) for _ in range(5)))
        assert found == ["x"] * 5
        with pytest.raises(C4nError, match="no message with a role"):
            await wrong
        await asyncio.sleep(0.1)
        assert children() == before + 1
        texts.close()
        assert children() == before
        assert await texts.render(TEMPLATE, MESSAGES) == "x"
        await asyncio.sleep(0.1)
        assert children() == before

    asyncio.run(ask())
