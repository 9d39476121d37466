"""Tasks: reading them, scoring them, what the figures mean."""

import json
from math import exp, log, sqrt

import numpy as np
import pytest
from tokenizers import Tokenizer, models, pre_tokenizers

from tvm_c4n.assets import task_file
from tvm_c4n.errors import C4nError
from tvm_c4n.evaluate.tasks import Item, TaskResult, average, continuation, read_items, run_task
from tvm_c4n.model.tokenizer import TextTokenizer

WORDS = ["<|endoftext|>", "the", "cat", "dog", "sat", "ran"]


@pytest.fixture
def tokenizer():
    made = Tokenizer(models.WordLevel({w: i for i, w in enumerate(WORDS)}, unk_token="the"))
    made.pre_tokenizer = pre_tokenizers.Whitespace()
    return TextTokenizer(made, start=0, ends=(0,))


def bigram(ids):
    """Logits of a table: after ``cat`` comes ``sat`` with 3/4, after anything else all alike."""
    table = np.full((6, 6), log(1 / 6))
    table[2] = [log(1 / 20)] * 6
    table[2, 4] = log(3 / 4)
    return table[ids] + 5.0  # logits are known up to a constant


def write(path, *items):
    path.write_text("".join(json.dumps(item) + "\n" for item in items))
    return path


def test_the_likelier_option_wins_and_a_single_one_must_be_the_likeliest(tokenizer):
    choice = Item(("the cat", "the cat"), ("ran", "sat"), 1)
    wrong = Item(("the cat", "the cat"), ("ran", "sat"), 0)
    result = run_task("t", [choice, choice, wrong], bigram, tokenizer)
    assert (result.items, result.accuracy, result.chance) == (3, pytest.approx(2 / 3), 0.5)
    assert result.stderr == pytest.approx(sqrt(2 / 9 / 2))
    assert result.target_perplexity is None
    last = run_task("l", [Item(("the cat",), ("sat",), 0)] * 2, bigram, tokenizer)
    assert (last.accuracy, last.per_byte, last.chance) == (1.0, None, 0.0)
    assert last.target_perplexity == pytest.approx(4 / 3)
    assert run_task("l", [Item(("the cat",), ("ran",), 0)] * 2, bigram, tokenizer).accuracy == 0


def test_per_byte_does_not_punish_long_options(tokenizer):
    # Three words after "cat": 3/4 * 1/6 * 1/6 = 1/48 over 11 bytes; one word: 1/20 over 3 bytes.
    item = Item(("cat", "cat"), ("sat the dog", "ran"), 0)
    result = run_task("t", [item] * 2, bigram, tokenizer)
    assert (result.accuracy, result.per_byte) == (0.0, 1.0)


def test_the_model_reads_separator_context_and_all_but_the_last_token(tokenizer):
    seen = []

    def watch(ids):
        seen.append(ids.tolist())
        return bigram(ids)

    run_task("t", [Item(("the cat",), ("sat the",), 0)] * 2, watch, tokenizer)
    assert seen[0] == [0, 1, 2, 4]
    run_task("t", [Item(("",), ("sat",), 0)] * 2, watch, tokenizer)
    assert seen[-1] == [0]


@pytest.mark.parametrize(
    ("context", "read"), [(4, [0, 1, 2, 4]), (3, [0, 2, 4]), (2, [0, 4]), (1, [0, 4])]
)
def test_a_short_context_loses_its_first_tokens(tokenizer, context, read):
    """Targets are never cut: a model that cannot read them says so."""
    seen = []

    def watch(ids):
        seen.append(ids.tolist())
        return bigram(ids)

    run_task("t", [Item(("the cat",), ("sat the",), 0)] * 2, watch, tokenizer, context=context)
    assert seen == [read, read]


def test_a_continuation_is_the_sum_over_its_tokens():
    total, likeliest = continuation(bigram, [0, 2], [4, 1])
    assert (total, likeliest) == (pytest.approx(log(3 / 4) + log(1 / 6)), False)
    assert continuation(bigram, [0], []) == (0.0, True)


def test_items_are_read_and_thinned_evenly(tmp_path):
    path = write(
        tmp_path / "t.jsonl",
        *[{"context": str(n), "options": ["a", "b"], "answer": n % 2} for n in range(9)],
        {"context": ["x", "y"], "options": ["a", "b"], "answer": 1, "set": "ignored"},
    )
    items = read_items(path)
    assert len(items) == 10
    assert items[-1] == Item(("x", "y"), ("a", "b"), 1)
    assert [item.contexts[0] for item in read_items(path, 4)] == ["0", "3", "6", "x"]


@pytest.mark.parametrize(
    "line",
    [
        "no json",
        "[]",
        "[" * 100_000,
        '{"context": "", "options": ["a"]}',
        '{"context": "", "options": [], "answer": 0}',
        '{"context": "", "options": ["a", ""], "answer": 0}',
        '{"context": "", "options": ["a"], "answer": 1}',
        '{"context": "", "options": ["a"], "answer": true}',
        '{"context": ["x"], "options": ["a", "b"], "answer": 0}',
        '{"context": 3, "options": ["a"], "answer": 0}',
    ],
)
def test_what_is_no_item_is_refused_with_its_line(line, tmp_path):
    path = tmp_path / "t.jsonl"
    path.write_text('{"context": "", "options": ["a"], "answer": 0}\n' + line + "\n")
    with pytest.raises(C4nError, match=r"line 2.*it should look like \{"):
        read_items(path)


def test_files_that_are_missing_or_empty_are_refused(tmp_path):
    with pytest.raises(C4nError, match="missing file"):
        read_items(tmp_path / "none.jsonl")
    (tmp_path / "empty.jsonl").write_text("\n")
    with pytest.raises(C4nError, match="holds no items"):
        read_items(tmp_path / "empty.jsonl")


def test_the_average_counts_tasks_alike():
    one = TaskResult("a", 10, 0.5, 0.03, None, None, 0.5)
    two = TaskResult("b", 9999, 0.7, 0.04, None, None, 0.5)
    assert average([one, two]) == (pytest.approx(0.6), pytest.approx(0.025))


def test_blimp_comes_with_the_package():
    items = read_items(task_file("blimp"))
    assert len(items) == 3900
    assert {len(item.options) for item in items} == {2}
    assert task_file("some/where.jsonl").name == "where.jsonl"


def test_perplexity_of_a_single_token_is_its_probability(tokenizer):
    found = run_task(
        "t", [Item(("cat",), ("sat",), 0), Item(("dog",), ("sat",), 0)], bigram, tokenizer
    )
    assert found.target_perplexity == pytest.approx(exp((log(4 / 3) + log(6)) / 2))
