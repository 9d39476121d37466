"""Many clients at once: patient ones, slow readers, and some that leave in the middle."""

from __future__ import annotations

import asyncio
import json
import random
import socket
from collections import Counter
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from typing import Any

PROMPTS = [f"w{n} w{n + 1} w{n + 2} " * (1 + n % 7) for n in range(1, 60)]
# Bytes that a slow reader takes at once, of a socket that holds little, and the rest after that.
_SIP, _SIP_SECS = 2048, 0.02


@dataclass
class Tally:
    """What became of the requests.

    Attributes
    ----------
    counts : Counter
        ``sent``, and of those ``done`` (the answer came whole), ``left`` (by the client's will) and
        ``full`` (429).
    wrong : list of str
        Whatever else came back.
    tokens : int
        Of the answers that came whole.
    """

    counts: Counter[str] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)
    tokens: int = 0


async def crowd(port: int, clients: int, secs: float, seed: int = 0) -> Tally:
    """Let clients ask for so many seconds; returns when the last answer is there."""
    tally = Tally()
    until = asyncio.get_running_loop().time() + secs
    async with asyncio.TaskGroup() as group:
        for number in range(clients):
            group.create_task(_client(port, random.Random(seed + number), until, tally))
    return tally


async def _client(port: int, dice: random.Random, until: float, tally: Tally) -> None:
    while asyncio.get_running_loop().time() < until:
        tally.counts["sent"] += 1
        kind = dice.choices([_whole, _streamed, _slow, _leaving], [4, 4, 2, 2])[0]
        body = {
            "prompt": dice.choice(PROMPTS),
            "max_tokens": dice.choice([1, 8, 32, 200]),
            "temperature": dice.choice([0, 1.0]),
            "seed": dice.randrange(100),
        }
        try:
            async with asyncio.timeout(120):
                outcome = await kind(port, body, dice, tally)
        except (TimeoutError, OSError, ValueError, KeyError, IndexError) as error:
            outcome = "wrong"
            tally.wrong.append(f"{kind.__name__}: {type(error).__name__}: {error}")
        tally.counts[outcome] += 1
        if outcome == "full":
            await asyncio.sleep(0.05)


async def _ask(port: int, body: dict[str, Any], buffer: int | None = None) -> Any:
    connection = socket.socket()
    if buffer is not None:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer)
    connection.setblocking(False)
    await asyncio.get_running_loop().sock_connect(connection, ("127.0.0.1", port))
    reader, writer = await asyncio.open_connection(sock=connection, limit=buffer or 1 << 16)
    data = json.dumps(body).encode()
    head = "POST /v1/completions HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n"
    writer.write(f"{head}Content-Length: {len(data)}\r\n\r\n".encode() + data)
    return reader, writer


async def _status(reader: asyncio.StreamReader) -> int:
    head = await reader.readuntil(b"\r\n\r\n")
    return int(head.split()[1])


async def _whole(port: int, body: dict[str, Any], dice: random.Random, tally: Tally) -> str:
    reader, writer = await _ask(port, body)
    try:
        status, data = await _status(reader), await reader.read()
        return _outcome(status, lambda: json.loads(data)["usage"]["completion_tokens"], tally)
    finally:
        writer.close()


async def _streamed(port: int, body: dict[str, Any], dice: random.Random, tally: Tally) -> str:
    return await _events(port, body, tally, lambda reader: reader.read())


async def _slow(port: int, body: dict[str, Any], dice: random.Random, tally: Tally) -> str:
    async def sip(reader: asyncio.StreamReader) -> bytes:
        found = b""
        while part := await reader.read(_SIP):
            found += part
            await asyncio.sleep(_SIP_SECS)
        return found

    return await _events(port, {**body, "logprobs": 5}, tally, sip, buffer=4096)


async def _leaving(port: int, body: dict[str, Any], dice: random.Random, tally: Tally) -> str:
    body = {**body, "max_tokens": 1000, "stream": dice.random() < 0.5}
    _, writer = await _ask(port, body)
    await asyncio.sleep(dice.choice([0, 0.01, 0.1, 0.5]))
    writer.transport.abort()
    return "left"


async def _events(
    port: int,
    body: dict[str, Any],
    tally: Tally,
    read: Callable[[asyncio.StreamReader], Coroutine[Any, Any, bytes]],
    buffer: int | None = None,
) -> str:
    body = {**body, "stream": True, "stream_options": {"include_usage": True}}
    reader, writer = await _ask(port, body, buffer)
    try:
        status, data = await _status(reader), await read(reader)

        def tokens() -> int:
            events = [line for line in data.split(b"\r\n") if line.startswith(b"data: ")]
            *_, last = b"".join(events).split(b"data: {")
            usage, rest = last.split(b"data: ")
            if rest.strip() != b"[DONE]":
                raise ValueError(f"a stream ends with {data[-80:]!r}")
            return int(json.loads(b"{" + usage)["usage"]["completion_tokens"])

        return _outcome(status, tokens, tally)
    finally:
        writer.close()


def _outcome(status: int, tokens: Callable[[], int], tally: Tally) -> str:
    if status == 429:
        return "full"
    if status != 200:
        raise ValueError(f"status {status}")
    tally.tokens += tokens()
    return "done"
