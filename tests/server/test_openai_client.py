"""The official client of OpenAI's API understands the server."""

from __future__ import annotations

import asyncio
import re
import runpy
from pathlib import Path

import openai
import pytest

from tests.server.client import Running

MESSAGES = [{"role": "system", "content": "w1"}, {"role": "user", "content": "w2 w3"}]


@pytest.fixture(scope="module")
def client(running: Running) -> openai.OpenAI:
    return openai.OpenAI(base_url=f"{running.url}/v1", api_key="none", max_retries=0)


def test_chats(client: openai.OpenAI) -> None:
    options = {"model": "talking", "messages": MESSAGES, "temperature": 0, "max_tokens": 9}
    whole = client.chat.completions.create(**options, logprobs=True, top_logprobs=2)
    assert whole.usage.completion_tokens == 9
    assert whole.choices[0].finish_reason == "length"
    assert len(whole.choices[0].logprobs.content) == 9
    stream = client.chat.completions.create(
        **options, stream=True, stream_options={"include_usage": True}
    )
    *parts, last = list(stream)
    text = "".join(part.choices[0].delta.content or "" for part in parts)
    assert text == whole.choices[0].message.content
    assert last.usage.prompt_tokens_details.cached_tokens == last.usage.prompt_tokens


def test_completions(client: openai.OpenAI) -> None:
    found = client.completions.create(
        model="talking",
        prompt="w1",
        n=2,
        max_tokens=5,
        seed=1,
        logprobs=1,
        stop=["never"],
        extra_body={"top_k": 20, "min_p": 0.01, "repetition_penalty": 1.1},
    )
    assert [choice.index for choice in found.choices] == [0, 1]
    assert len(found.choices[1].logprobs.tokens) == 5
    assert [model.id for model in client.models.list()] == ["talking", "art"]
    assert client.models.retrieve("talking").id == "talking"


def test_errors_have_their_classes(client: openai.OpenAI) -> None:
    with pytest.raises(openai.NotFoundError, match="no model 'gpt'"):
        client.completions.create(model="gpt", prompt="a")
    with pytest.raises(openai.BadRequestError, match="has no chat template") as caught:
        client.chat.completions.create(model="art", messages=MESSAGES)
    assert caught.value.code == "no_chat_template"


def test_many_at_once_and_one_that_leaves(running: Running) -> None:
    async def ask() -> list[str]:
        async with openai.AsyncOpenAI(base_url=f"{running.url}/v1", api_key="none") as client:

            async def one(seed: int) -> str:
                found = await client.completions.create(
                    model="talking", prompt="w1", max_tokens=30, temperature=1, seed=seed
                )
                return found.choices[0].text

            async def leaving() -> None:
                stream = await client.completions.create(
                    model="talking", prompt="w1", max_tokens=4000, temperature=0, stream=True
                )
                async for _ in stream:
                    break
                await stream.close()

            together = await asyncio.gather(*(one(seed % 6) for seed in range(24)), leaving())
            return [text for text in together if text is not None]

    texts = asyncio.run(ask())
    # The same seed gives the same text, whatever else is decoded beside it.
    assert len(texts) == 24
    assert len(set(texts)) == 6


def test_the_example_runs(running: Running, capsys: pytest.CaptureFixture[str]) -> None:
    example = runpy.run_path(str(Path(__file__).parents[2] / "examples" / "server_client.py"))
    example["main"](running.url, "w1 w2")
    out = capsys.readouterr().out
    assert re.fullmatch(r"w1 w2.+\n48 tokens; \d of the prompt were read\n", out, re.DOTALL)
