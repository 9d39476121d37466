"""The scripts that make text to heal on and to judge by."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest

TRAINING = Path(__file__).parents[2] / "tools" / "training"
# JSON may hold it as it is, and str.splitlines ends a line there.
LINE_END = "\u2028"
WORDS = [f"word{number}" for number in range(400)]


@pytest.fixture(autouse=True)
def _scripts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(TRAINING))


def text(first: int, count: int) -> str:
    return " ".join(WORDS[first : first + count])


def test_a_passage_is_found_and_a_quotation_is_not():
    from shared_text import Passages

    passages = Passages([text(0, 100), "too short"])
    assert passages.in_text("before, " + text(50, 32).upper() + "! after")
    assert not passages.in_text("before, " + text(50, 31) + " after")
    assert not passages.in_text(" ".join(reversed(WORDS[:100])))
    assert not passages.in_text("")


def test_each_option_of_a_task_is_an_evaluation_text(tmp_path):
    from shared_text import evaluation_texts

    items = [
        {"task": "t", "context": "a", "options": [" b", " c"], "answer": 0},
        {"task": "t", "context": ["d", "e"], "options": [" f", " f"], "answer": 1},
    ]
    (tmp_path / "task.jsonl").write_text("\n".join(map(json.dumps, items)) + "\n")
    assert list(evaluation_texts(tmp_path / "task.jsonl")) == ["a b", "a c", "d f", "e f"]
    (tmp_path / "text.txt").write_text("one\n<|endoftext|>\ntwo\n")
    assert list(evaluation_texts(tmp_path / "text.txt")) == ["one", "two\n"]


def test_healing_text_is_the_corpus_without_what_evaluation_texts_hold(
    tmp_path, monkeypatch, capsys
):
    import healing_text

    from tvm_c4n.healing.tokens import read_tokens
    from tvm_c4n.model.tokenizer import load_tokenizer

    corpus = [("book", text(0, 90)), ("docs", text(100, 60)), ("book", text(60, 60))]
    lines = [{"genre": kind, "text": one + LINE_END} for kind, one in corpus]
    (tmp_path / "train.jsonl").write_text(
        "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines)
    )
    (tmp_path / "valid.txt").write_text(text(80, 40))
    out = tmp_path / "mixture"
    arguments = [str(tmp_path / "train.jsonl"), "--without", str(tmp_path / "valid.txt")]
    monkeypatch.setattr(sys, "argv", ["healing_text.py", *arguments, "--out", str(out)])
    healing_text.main()
    # The last book ends with all of the evaluation text; others share fewer than 32 words.
    said = capsys.readouterr().out
    assert "book: 1 documents" in said and "1 left out" in said
    assert "docs: 1 documents" in said
    from tvm_c4n.assets import resolve

    tokenizer = load_tokenizer(resolve("mamba-19m"))
    ids = read_tokens([f"{out}.u16.bz2"], tokenizer)
    documents = [part for part in np.split(ids, np.flatnonzero(ids == tokenizer.separator) + 1)]
    found = {tokenizer.decode(part[:-1].tolist()) for part in documents if len(part)}
    assert found == {text(0, 90) + LINE_END, text(100, 60) + LINE_END}


def test_wikitext_s_tokens_become_text():
    from kinds import articles, detokenised

    line = " It was a part @-@ time \" job \" , he 's ( 16 @.@ 9 % of 1 @,@ 000 ) \u2013 don 't . "
    assert detokenised(line) == "It was a part-time \"job\", he's (16.9% of 1,000) - don't."
    raw = " = One = \n\n a . \n = = Part = = \n b ! \n = Two = \n c ? \n"
    assert articles(raw) == ["a.\n\nb!", "c?"]


def test_pages_of_documentation_are_read_by_the_name_of_their_file(tmp_path):
    from cleaning import doc_paragraphs

    (tmp_path / "a.pod").write_text("=head1 NAME\n\nA plain B<bold> line.\n\n  code\n")
    assert list(doc_paragraphs(tmp_path / "a.pod")) == ["NAME", "A plain bold line."]
    (tmp_path / "b.page").write_text("<page><title>Help</title><p>Some text.</p></page>")
    assert list(doc_paragraphs(tmp_path / "b.page")) == ["Help", "Some text."]
