"""What a model said keeps its tokens."""

from __future__ import annotations

from tests.server.client import Running
from tvm_c4n.server import known_texts
from tvm_c4n.server.known_texts import KnownTexts


def encode(text: str) -> list[int]:
    return [ord(one) for one in text]


def test_the_longest_beginning_that_is_known_keeps_its_tokens() -> None:
    known = KnownTexts()
    assert known.tokens("abc", encode) == [97, 98, 99]
    known.remember("a", [1])
    known.remember("abc", [7, 8])
    assert known.tokens("abcd", encode) == [7, 8, 100]
    assert known.tokens("abd", encode) == [1, 98, 100]
    assert known.tokens("abc", encode) == [7, 8]
    known.remember("abc", [9])
    assert known.tokens("abcd", encode) == [9, 100]


def test_no_more_is_kept_than_there_is_room_for(monkeypatch) -> None:
    monkeypatch.setattr(known_texts, "_MOST", 3)
    monkeypatch.setattr(known_texts, "_MOST_CHARACTERS", 10)
    known = KnownTexts()
    for text in ("a", "b", "c", "d"):
        known.remember(text, [1])
    assert [known.tokens(text, encode) == [1] for text in "abcd"] == [False, True, True, True]
    known.remember("long text", [2])
    assert known.tokens("long text", encode) == [2]
    assert known.tokens("c", encode) != [1]
    known.remember("far too long a text", [3])
    assert known.tokens("far too long a text", encode) != [3]


def test_a_second_turn_reads_only_what_is_new(running: Running) -> None:
    # Drawn words are joined without spaces: the tokenizer would make one unknown word of them.
    first = running.chat("w30 w31", max_tokens=6, temperature=3, seed=2).json
    answer = first["choices"][0]["message"]["content"]
    read = first["usage"]["prompt_tokens"] + first["usage"]["completion_tokens"]
    second = running.chat("w30 w31", answer, "w32", max_tokens=2).json["usage"]
    # The last token that was drawn has not been read; w8, the new word and w7 are new.
    assert second["prompt_tokens"] == read + 3
    assert second["prompt_tokens_details"]["cached_tokens"] == read - 1
