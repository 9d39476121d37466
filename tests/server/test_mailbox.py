"""Pieces come out as they were put in, and a reader is woken once for all that wait."""

from __future__ import annotations

import asyncio
import threading
from time import monotonic

import pytest
from starlette.requests import ClientDisconnect

from tvm_c4n.server.api_error import ApiError
from tvm_c4n.server.mailbox import Mailbox, Piece


def test_pieces_of_another_thread_come_in_order() -> None:
    async def read() -> tuple[list[int], int, float]:
        box, looks = Mailbox(8, streamed=True), 0

        def write() -> None:
            for number in range(2000):
                box.put(Piece(0, "", number))
                box.pause()
            box.put(Piece(0, "", 2000, (), "stop"))

        writer = threading.Thread(target=write)
        began = monotonic()
        writer.start()
        found: list[Piece] = []
        while not found or found[-1].finish is None:
            found += await asyncio.wait_for(box.take(), 20)
            looks += 1
        writer.join()
        return [piece.tokens for piece in found], looks, monotonic() - began

    tokens, looks, secs = asyncio.run(read())
    assert tokens == list(range(2001))
    # The reader is not woken for each of them.
    assert looks <= 2 + secs / 0.01


def test_a_reader_of_a_whole_answer_sleeps_until_it_is_there() -> None:
    async def read() -> None:
        box = Mailbox(1, streamed=False)
        box.put(Piece(0, "a", 1))
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(box.take(), 0.05)
        assert not box.pause()
        box.put(Piece(0, "b", 2, (), "length"))
        assert [piece.text for piece in await asyncio.wait_for(box.take(), 20)] == ["a", "b"]

    asyncio.run(read())


def test_who_is_behind_is_waited_for_until_he_has_read() -> None:
    async def read() -> None:
        resumed: list[bool] = []
        box = Mailbox(2, streamed=True, resume=lambda: resumed.append(True))
        box.put(Piece(0, "a", 1))
        assert not box.pause()
        box.put(Piece(0, "b", 2))
        assert box.pause()
        assert not resumed
        await asyncio.wait_for(box.take(), 20)
        assert resumed == [True]
        assert not box.pause()
        box.put(Piece(0, "c", 3))
        await asyncio.wait_for(box.take(), 20)
        assert resumed == [True]

    asyncio.run(read())


def test_an_error_stands_behind_the_pieces() -> None:
    async def read() -> None:
        box = Mailbox(8, streamed=True)
        box.put(Piece(0, "a", 1))
        box.fail(ApiError(500, "broken"))
        assert [piece.text for piece in await asyncio.wait_for(box.take(), 20)] == ["a"]
        with pytest.raises(ApiError, match="broken"):
            await box.take()
        box.leave()
        with pytest.raises(ClientDisconnect):
            await box.take()
        assert box.left

    asyncio.run(read())
