"""Turns with a model: what is read, what is kept, and what can be taken back."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from tvm_c4n.errors import C4nError
from tvm_c4n.runtime.conversation import Conversation
from tvm_c4n.runtime.engine import Engine
from tvm_c4n.runtime.sampling import GREEDY, SamplingParams

TEMPLATE = (
    "{{ bos_token }}{% for m in messages %} "
    "{{ {'system': 'w9', 'user': 'w8', 'assistant': 'w7'}[m.role] }} ANSWER{% endfor %}"
    "{% if add_generation_prompt %} w7{% endif %}"
)


@pytest.fixture(scope="module")
def engine(small_artifact: Path) -> Engine:
    return Engine.load(small_artifact, threads=1)


def with_template(artifact: Path, folder: Path, content: str) -> Engine:
    """The model with a chat template, and a tokenizer whose texts are those of its tokens."""
    shutil.copytree(artifact, folder)
    tokenizer = json.loads((folder / "tokenizer.json").read_text())
    tokenizer["decoder"] = {"type": "WordPiece", "prefix": "##", "cleanup": False}
    (folder / "tokenizer.json").write_text(json.dumps(tokenizer))
    (folder / "chat_template.jinja").write_text(TEMPLATE.replace("ANSWER", content))
    (folder / "tokenizer_config.json").write_text('{"bos_token": "<|endoftext|>"}')
    return Engine.load(folder, threads=1)


@pytest.fixture(scope="module")
def chatting(small_artifact: Path, tmp_path_factory: pytest.TempPathFactory) -> Engine:
    """Its template repeats answers as they were generated."""
    return with_template(
        small_artifact, tmp_path_factory.mktemp("chatting") / "art", "{{ m.content }}"
    )


@pytest.fixture(scope="module")
def forgetful(small_artifact: Path, tmp_path_factory: pytest.TempPathFactory) -> Engine:
    """Its template leaves a part of earlier answers out, as many do with thoughts."""
    return with_template(
        small_artifact,
        tmp_path_factory.mktemp("forgetful") / "art",
        "{{ m.content if m.role != 'assistant' else m.content.split(' ')[1:] | join(' ') }}",
    )


def talk(engine: Engine, limit: int = 6, *, template: bool = False) -> Conversation:
    return Conversation(engine, GREEDY, limit, template=template)


def said(conversation: Conversation, text: str) -> str:
    return "".join(conversation.say(text))


def test_a_text_is_continued_in_turns_and_read_once(engine: Engine) -> None:
    story = talk(engine)
    read, turns = 0, ["w1 w2", "w3 w4", "", "w5 " * 9]
    for number, text in enumerate(turns, 1):
        before = len(story.ids)
        answer = said(story, text)
        new = len(engine.tokenizer.encode(text)) + (number == 1)
        # An answer that the limit ended has a last token that was not read by then.
        assert story.stats.prompt_tokens == before + new - read
        assert story.stats.prompt_tokens - new in (0, 1)
        assert engine.tokenizer.decode(story.ids[before + new :]) == answer
        assert story.turns == number
        read = engine.state().read
    # Logits are those of reading it all at once.
    engine.reset()
    expected = engine.prefill(story.ids).copy()
    found = story.cache.read(engine, story.ids)
    assert found.read <= 1
    assert np.abs(found.logits - expected).max() <= 2e-5 * np.abs(expected).max()


def test_what_is_said_stands_apart_from_the_word_before(engine: Engine) -> None:
    story = talk(engine)
    said(story, "w1")
    words = [engine.tokenizer.decode([token]) for token in story.ids]
    said(story, "w2")
    after = story.ids[len(words) : len(words) + 1]
    assert engine.tokenizer.decode(after) == "w2"


def test_a_turn_is_taken_back_and_can_be_said_again(engine: Engine) -> None:
    story = talk(engine)
    first = said(story, "w1 w2")
    ids = story.ids
    second = said(story, "w3")
    assert story.undo()
    assert story.ids == ids
    assert said(story, "w3") == second
    assert story.stats.cached_tokens == len(ids) + 1  # nothing was read
    assert story.undo() and story.undo() and not story.undo()
    assert said(story, "w1 w2") == first
    story.reset()
    assert story.ids == [] and story.text == ""


def test_a_chat_reads_its_new_message(chatting: Engine) -> None:
    chat = talk(chatting, template=True)
    said(chat, "w1 w2")
    assert chat.stats.prompt_tokens == 5
    before, answer = chat.ids, chat.messages()[1]["content"]
    assert len(before) > 6
    second = said(chat, "w3")
    assert chat.messages()[:3] == [
        {"role": "user", "content": "w1 w2"},
        {"role": "assistant", "content": answer},
        {"role": "user", "content": "w3"},
    ]
    assert chat.ids[: len(before) + 3] == [*before, 8, 3, 7]
    assert chat.stats.prompt_tokens - 3 in (0, 1)
    chat.undo()
    assert said(chat, "w3") == second
    assert chat.stats.prompt_tokens == 0
    with pytest.raises(C4nError, match="say something: this model answers"):
        said(chat, "")


def test_a_chat_that_writes_answers_otherwise_goes_on_from_the_prompt_before(
    forgetful: Engine,
) -> None:
    chat = talk(forgetful, template=True)
    said(chat, "w1 w2")
    said(chat, "w3")
    assert chat.stats.cached_tokens == 5
    ids = forgetful.tokenizer.chat(chat.messages()[:3])
    assert chat.ids[: len(ids)] == ids
    forgetful.reset()
    expected = forgetful.prefill(ids).copy()
    found = chat.cache.read(forgetful, ids)
    assert found.read == 0
    assert np.abs(found.logits - expected).max() <= 2e-5 * np.abs(expected).max()


def test_the_system_comes_first(chatting: Engine) -> None:
    chat = talk(chatting, template=True)
    chat.system = "w5"
    said(chat, "w1")
    assert chat.ids[:6] == chatting.tokenizer.encode("<|endoftext|> w9 w5 w8 w1 w7")
    chat.reset()
    assert chat.messages() == [{"role": "system", "content": "w5"}]


def test_an_answer_that_is_stopped_stays_as_far_as_it_came(engine: Engine) -> None:
    story = talk(engine, limit=5000)
    pieces = []
    for piece in story.say("w1"):
        pieces.append(piece)
        if len(pieces) == 3:
            story.stop()
    assert story.stopped and story.turns == 1
    assert engine.tokenizer.decode(story.ids[2:]) == "".join(pieces)
    ids = story.ids
    said(story, "w2")
    assert story.ids[: len(ids)] == ids
    assert not story.stopped


def test_an_answer_that_nobody_wants_was_not_asked_for(engine: Engine) -> None:
    story = talk(engine)
    said(story, "w1")
    ids = story.ids
    answer = story.say("w2")
    next(answer)
    answer.close()  # type: ignore[attr-defined]
    assert (story.turns, story.ids) == (1, ids)
    said(story, "w3")
    assert story.stats.cached_tokens >= len(ids) - 1


def test_each_turn_has_its_seed(engine: Engine) -> None:
    def three(seed: int) -> list[str]:
        params = SamplingParams(temperature=3.0, seed=seed)
        story = Conversation(engine, params, 6, template=False)
        return [said(story, "w1"), said(story, "w1"), said(story, "w1")]

    assert three(1) == three(1)
    assert three(1)[1:] != three(2)[:2] and len(set(three(1))) == 3


def test_a_text_fills_the_context_and_not_more(hybrid_artifact: Path) -> None:
    engine = Engine.load(hybrid_artifact, threads=1)
    story = Conversation(engine, SamplingParams(temperature=1.0), 500, template=False)
    while len(story.ids) < 64:
        said(story, "w1 w2")
    assert len(story.ids) <= 65
    with pytest.raises(C4nError, match=r"this model reads 64 at most; take turns back"):
        said(story, "w3 w4")
    assert story.undo()


def test_the_system_of_a_file_can_be_replaced(chatting: Engine, tmp_path: Path) -> None:
    first = talk(chatting, template=True)
    first.system = "w5"
    said(first, "w1")
    first.save(tmp_path / "a.state")
    second = talk(chatting, template=True)
    second.load(tmp_path / "a.state")
    assert second.messages() == first.messages()
    second.system = "w4"
    roles = [(m["role"], m["content"]) for m in second.messages()]
    assert roles[0] == ("system", "w4") and [role for role, _ in roles].count("system") == 1


@pytest.mark.parametrize("template", [False, True])
def test_it_goes_on_from_a_file(
    engine: Engine, chatting: Engine, template: bool, tmp_path: Path
) -> None:
    model, path = chatting if template else engine, tmp_path / "a.state"
    first = talk(model, template=template)
    with pytest.raises(C4nError, match="there is nothing to save yet"):
        first.save(path)
    said(first, "w1 w2")
    assert first.save(path) == len(first.ids)
    expected = said(first, "w3")
    second = talk(model, template=template)
    assert second.load(path) == len(second.ids)
    assert said(second, "w3") == expected
    assert second.messages() == first.messages()
    if not template:
        assert second.stats.prompt_tokens == 1  # the file has all tokens of the first turn
        with pytest.raises(C4nError, match="holds a text and no chat"):
            talk(model, template=True).load(path)


def test_a_message_is_rendered_by_what_waited_for_it(chatting: Engine) -> None:
    chat = talk(chatting, template=True)
    chat.prepare()
    waiting = chat._next._process
    assert waiting is not None
    list(chat.say("w1"))
    assert chat._next._process is None
    assert waiting._process.poll() is not None  # it rendered one chat, and ended
    chat.prepare()
    following = chat._next._process
    assert following is not None
    chat.close()
    assert following._process.poll() is not None


def test_a_text_needs_no_renderer(engine: Engine) -> None:
    writing = talk(engine)
    writing.prepare()
    assert writing._next._process is None
