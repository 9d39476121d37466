"""`tvm_c4n.Model`: the same texts as everywhere else, in any thread and in an event loop."""

from __future__ import annotations

import asyncio
import json
import shutil
import threading
import weakref
from collections.abc import Iterator
from contextlib import aclosing
from pathlib import Path
from time import monotonic
from typing import Any

import numpy as np
import pytest

import tvm_c4n
from tvm_c4n.errors import C4nError, CheckpointError
from tvm_c4n.evaluate.text_score import score_tokens
from tvm_c4n.runtime.engine import Engine

PROMPT = "w7 w8 w9"
TEMPLATE = (
    "{{ bos_token }}{% for m in messages %} {{ 'w8' if m.role == 'user' else 'w7' }} "
    "{{ m.content }}{% endfor %}{% if add_generation_prompt %} w7{% endif %}"
)


@pytest.fixture
def model(small_artifact: Path) -> Iterator[tvm_c4n.Model]:
    with tvm_c4n.Model(small_artifact, threads=1) as opened:
        yield opened


@pytest.fixture
def chatting(small_artifact: Path, tmp_path: Path) -> Iterator[tvm_c4n.Model]:
    """The model with a chat template, and a tokenizer whose texts are those of its tokens."""
    folder = tmp_path / "chatting"
    shutil.copytree(small_artifact, folder)
    tokenizer = json.loads((folder / "tokenizer.json").read_text())
    tokenizer["decoder"] = {"type": "WordPiece", "prefix": "##", "cleanup": False}
    (folder / "tokenizer.json").write_text(json.dumps(tokenizer))
    (folder / "chat_template.jinja").write_text(TEMPLATE)
    (folder / "tokenizer_config.json").write_text('{"bos_token": "<|endoftext|>"}')
    with tvm_c4n.Model(folder, threads=1) as opened:
        yield opened


def test_the_text_is_that_of_generate_in_one_piece_or_in_many(
    model: tvm_c4n.Model, small_artifact: Path
) -> None:
    engine = tvm_c4n.load(small_artifact, threads=1)
    for sampling in ({}, {"temperature": 0.8, "seed": 1}, {"temperature": 2.0, "top_k": 5}):
        expected = list(tvm_c4n.generate(engine, PROMPT, 40, **sampling))
        assert list(model.stream(PROMPT, max_tokens=40, **sampling)) == expected
        assert model.generate(PROMPT, max_tokens=40, **sampling) == "".join(expected)
    assert model.generate(model.tokenizer.prompt(PROMPT), 40) == model.generate(PROMPT, 40)
    assert model.last is not None and model.stats is not None
    assert (len(model.last.tokens), model.last.finish_reason) == (40, "length")
    assert model.stats.tokens == 40


def test_greedy_text_and_scores_are_those_of_transformers(
    small_model: Path, tmp_path: Path
) -> None:
    import torch
    from transformers import MambaForCausalLM

    peer = MambaForCausalLM.from_pretrained(small_model, dtype=torch.float32)
    tvm_c4n.compile_model(small_model, tmp_path / "art", dtype="float32")
    with tvm_c4n.Model(tmp_path / "art", threads=1) as model:
        ids = model.tokenizer.prompt(PROMPT)
        theirs = peer.generate(torch.tensor([ids]), do_sample=False, max_new_tokens=24)[0]
        model.generate(PROMPT, 24)
        assert model.last is not None
        assert model.last.tokens == [t for t in theirs[len(ids) :].tolist() if t != 0]
        scored = [3, 1, 4, 1, 5, 9, 2, 6]
        with torch.no_grad():
            logits = peer(torch.tensor([[*ids, *scored]])).logits[0].log_softmax(-1)
        expected = [float(logits[len(ids) - 1 + i, token]) for i, token in enumerate(scored)]
        found = model.score(scored, PROMPT)
        np.testing.assert_allclose(found.logprobs, expected, atol=2e-3)


def test_a_stop_string_may_stand_alone(model: tvm_c4n.Model) -> None:
    whole = model.generate(PROMPT, 12)
    stop = whole[4:7]
    assert model.generate(PROMPT, 12, stop=stop) == whole[: whole.index(stop)]
    assert model.last is not None and model.last.stopped_by == stop


def test_a_text_is_scored_after_its_start_or_a_prompt(
    model: tvm_c4n.Model, small_artifact: Path
) -> None:
    engine = Engine.load(small_artifact, threads=1)
    for prompt, before in (("", [0]), (PROMPT, [0, 7, 8, 9])):
        found = model.score("w1 w2 w3", prompt)
        expected = score_tokens(engine, [1, 2, 3], before)
        assert found.tokens.tolist() == [1, 2, 3]
        assert np.array_equal(found.logprobs, expected.logprobs)
    assert np.array_equal(model.score([1, 2, 3], PROMPT).logprobs, expected.logprobs)


def test_a_chat_is_answered_and_its_next_turn_reads_what_is_new(chatting: tvm_c4n.Model) -> None:
    messages: list[dict[str, Any]] = [{"role": "user", "content": "w1 w2 w3"}]
    answer = chatting.chat(messages, 5)
    ids = chatting.tokenizer.chat(messages)
    assert answer == chatting.generate(ids, 5) == "".join(chatting.stream(messages, 5))
    messages += [{"role": "assistant", "content": answer}, {"role": "user", "content": "w4"}]
    again = chatting.chat(messages, 5)
    assert again and chatting.stats is not None
    # The last token of the answer, and what stands between it and the next one.
    assert chatting.stats.prompt_tokens == 1 + 3
    assert chatting.stats.cached_tokens == len(ids) + 4
    assert chatting.score("w1", messages).tokens.tolist() == [1]


def test_texts_follow_a_state(chatting: tvm_c4n.Model) -> None:
    model = chatting
    state = model.state("w1 w2")
    whole = model.generate("w1 w2 w3", 8)
    model.set_state(state)
    assert model.generate("w3", 8) == whole
    with pytest.raises(C4nError, match=r"a chat begins a text: call set_state\(None\) before it"):
        model.chat([{"role": "user", "content": "w1"}])
    scored = model.score("w5")
    model.set_state(None)
    assert np.array_equal(model.score("w5").logprobs, scored.logprobs)
    assert model.generate("w1 w2 w3", 8) == whole
    assert model.state().read == 4 + 8


def collected(model: tvm_c4n.Model, limit: int) -> list[str]:
    async def collect() -> list[str]:
        return [piece async for piece in model.astream(PROMPT, limit)]

    return asyncio.run(collect())


def test_async_pieces_are_those_of_stream_from_another_thread(model: tvm_c4n.Model) -> None:
    assert collected(model, 30) == list(model.stream(PROMPT, 30))
    # The next event loop has the same thread.
    before = threading.active_count()
    assert collected(model, 30) == list(model.stream(PROMPT, 30))
    assert threading.active_count() == before


def test_the_event_loop_goes_on_while_the_model_decodes(model: tvm_c4n.Model) -> None:
    async def beside() -> tuple[int, int]:
        ticks, pieces = 0, 0

        async def tick() -> None:
            nonlocal ticks
            while True:
                ticks += 1
                await asyncio.sleep(0)

        task = asyncio.create_task(tick())
        async for _ in model.astream(PROMPT, 50):
            pieces += 1
        task.cancel()
        return ticks, pieces

    ticks, pieces = asyncio.run(beside())
    assert ticks >= pieces > 0


def test_leaving_the_loop_stops_decoding(model: tvm_c4n.Model) -> None:
    async def leave() -> None:
        async with aclosing(model.astream(PROMPT, 1_000_000)) as pieces:
            async for _ in pieces:
                break

    asyncio.run(leave())
    assert model.last is not None
    assert 1 <= len(model.last.tokens) <= 4
    # The model is free at once.
    assert model.generate(PROMPT, 3) == "".join(collected(model, 3))


def test_cancelling_the_task_stops_decoding(model: tvm_c4n.Model) -> None:
    async def cancel() -> int:
        got = asyncio.Event()

        async def read() -> None:
            async for _ in model.astream(PROMPT, 1_000_000):
                got.set()

        task = asyncio.create_task(read())
        await got.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert model.last is not None
        # At most the step that was under way comes to its end.
        found = model.last
        await asyncio.sleep(0.05)
        after = len(found.tokens)
        await asyncio.sleep(0.2)
        assert len(found.tokens) == after
        return after

    assert asyncio.run(cancel()) > 0
    assert model.generate(PROMPT, 3)


def test_cancelling_stops_the_reading_of_a_long_prompt(model: tvm_c4n.Model) -> None:
    long = np.ones(400_000, np.int32)

    async def cancel() -> None:
        with pytest.raises(asyncio.TimeoutError):
            await asyncio.wait_for(anext(model.astream(long)), 0.2)

    asyncio.run(cancel())
    began = monotonic()
    model.generate(PROMPT, 3)
    assert monotonic() - began < 5
    assert model.stats is not None


def test_two_models_in_two_tasks_give_their_own_texts(
    model: tvm_c4n.Model, small_artifact: Path
) -> None:
    expected = [model.generate(f"w{n}", 25) for n in (1, 2)]

    async def both() -> list[str]:
        with tvm_c4n.Model(small_artifact, threads=1) as other:

            async def text(which: tvm_c4n.Model, prompt: str) -> str:
                return "".join([piece async for piece in which.astream(prompt, 25)])

            return list(await asyncio.gather(text(model, "w1"), text(other, "w2")))

    assert asyncio.run(both()) == expected


def test_close_frees_the_engine_and_the_thread(small_artifact: Path) -> None:
    with tvm_c4n.Model(small_artifact, threads=1) as model:
        collected(model, 3)
        pieces = model.stream(PROMPT, 9)
        next(pieces)
        engine = weakref.ref(model._texts.engine)
        named = [t for t in threading.enumerate() if t.name.startswith("tvm_c4n art")]
        assert len(named) == 1
        assert repr(model) == "<tvm_c4n.Model art: mamba 0.0M dense float16>"
    assert not named[0].is_alive()
    assert repr(model) == "<tvm_c4n.Model art: closed>"
    with pytest.raises(C4nError, match="the model is closed"):
        next(pieces)
    del pieces
    assert engine() is None
    for use in (model.generate, lambda: model.config, lambda: collected(model, 3), model.state):
        with pytest.raises(C4nError, match="the model is closed; open it again"):
            use()
    model.close()


@pytest.mark.parametrize(
    ("use", "line"),
    [
        (lambda m: m.stream(PROMPT, 0), "cannot generate 0 tokens; use 1 or more"),
        (lambda m: m.astream(PROMPT, "9"), "cannot generate '9' tokens; use 1 or more"),
        (lambda m: m.stream(PROMPT, top_p=2), "top_p is 2; use 0 to 1 (all tokens)"),
        (
            lambda m: m.stream(PROMPT, temprature=1),
            "'temprature' is no parameter of sampling: did you mean temperature?",
        ),
        (lambda m: m.stream(None), "tokens are None: give a list of ids"),
        (lambda m: m.stream([]), "no tokens to read: the text is empty"),
        (lambda m: m.stream([96]), "token 96 is outside the vocabulary of 96"),
        (lambda m: m.score(""), "no tokens to read: the text is empty"),
        (
            lambda m: m.chat([]),
            'messages are no list of objects like {"role": "user", "content": "Hello"}',
        ),
        (
            lambda m: m.chat("Hello"),
            'messages are no list of objects like {"role": "user", "content": "Hello"}',
        ),
        (
            lambda m: m.stream([{"text": "w1"}]),
            "{'text': 'w1'} is no message with a role and content",
        ),
    ],
)
def test_what_is_wrong_is_said_at_once_in_one_line(
    chatting: tvm_c4n.Model, use: Any, line: str
) -> None:
    with pytest.raises(C4nError) as caught:
        use(chatting)
    assert str(caught.value) == line
    assert chatting.last is None


def test_a_model_that_cannot_be_opened_says_why(small_artifact: Path) -> None:
    with pytest.raises(C4nError, match="nothing: no such folder; give one, or one of mamba-19m"):
        tvm_c4n.Model("nothing")
    with pytest.raises(C4nError, match="threads"):
        tvm_c4n.Model(small_artifact, threads=0)
    with pytest.raises(C4nError, match="cannot keep states in -1 bytes; use 0"):
        tvm_c4n.Model(small_artifact, cache_bytes=-1)
    with (
        tvm_c4n.Model(small_artifact, threads=1) as model,
        pytest.raises(CheckpointError, match="has no chat template"),
    ):
        model.chat([{"role": "user", "content": "w1"}])


def test_the_config_is_the_models(model: tvm_c4n.Model) -> None:
    assert (model.config.model_type, model.config.vocab_size) == ("mamba", 96)
    assert len(model.config.layers) == 2
