"""Tasks with known answers, scored by which option the model finds likelier.

A task file has one JSON object a line: ``{"context": ..., "options": [...], "answer": 0}``. Options
are continuations of the context, ``answer`` is the index of the right one; ``context`` may be a
list with one string for each option, and empty. With a single option (LAMBADA's last word) the
question is whether the model would have chosen all its tokens, always taking the likeliest.

Protocol. The model starts from a state of zeros and reads the token that starts a text, the
context's last tokens and the option; context and option are tokenised apart, so that an option has
the same tokens after any context. The answer is the option with the largest sum of log-likelihoods;
``per_byte`` divides the sums by the options' lengths in bytes of UTF-8.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import exp, sqrt
from pathlib import Path

import numpy as np

from tvm_c4n.checkpoint.json_reading import parse_json
from tvm_c4n.checkpoint.reading import MAX_TEXT_BYTES, read_text
from tvm_c4n.errors import C4nError
from tvm_c4n.evaluate.perplexity import Score, negative_log_likelihood
from tvm_c4n.model.tokenizer import TextTokenizer
from tvm_c4n.progress import Progress

# The embedded model was trained on this many tokens; a longer context loses its first ones.
CONTEXT_TOKENS = 900
_LOOKS = '{"context": "...", "options": ["..."], "answer": 0}'


@dataclass(frozen=True)
class Item:
    """One question.

    Attributes
    ----------
    contexts : tuple of str
        One for each option.
    options : tuple of str
    answer : int
    """

    contexts: tuple[str, ...]
    options: tuple[str, ...]
    answer: int


@dataclass(frozen=True)
class TaskResult:
    """How a model did.

    Attributes
    ----------
    task : str
    items : int
    accuracy, stderr : float
        Share of right answers and its standard error, the items being independent draws.
    per_byte : float or None
        Accuracy by log-likelihood per byte; None for tasks with a single option.
    target_perplexity : float or None
        ``exp`` of the mean negative log-likelihood of the options; tasks with a single option only.
    chance : float
        Accuracy of a guess.
    """

    task: str
    items: int
    accuracy: float
    stderr: float
    per_byte: float | None
    target_perplexity: float | None
    chance: float


def read_items(path: str | Path, max_items: int | None = None) -> list[Item]:
    """Read a task file, or at most ``max_items`` of its items, spread evenly.

    Raises
    ------
    C4nError
        The file cannot be read, or a line is not an item.
    """
    path = Path(path)
    if max_items is not None and max_items < 1:
        raise C4nError(f"cannot score {max_items} items; use --max-items 1 or more")
    lines = read_text(path, MAX_TEXT_BYTES, f"a line looks like {_LOOKS}", C4nError).split("\n")
    items = [_item(path, n, line) for n, line in enumerate(lines, 1) if line.strip()]
    if not items:
        raise C4nError(f"{path}: holds no items; a line looks like {_LOOKS}")
    if max_items is not None and max_items < len(items):
        chosen = np.linspace(0, len(items) - 1, max_items).round().astype(int)
        items = [items[i] for i in chosen]
    return items


def _item(path: Path, number: int, line: str) -> Item:
    value = parse_json(line, f"{path}: line {number}", f"it should look like {_LOOKS}", C4nError)
    try:
        options, context = tuple(value["options"]), value["context"]
        contexts = tuple(context) if isinstance(context, list) else (context,) * len(options)
        item = Item(contexts, options, value["answer"])
        good = all(isinstance(text, str) for text in (*contexts, *options)) and all(options)
        good = good and len(contexts) == len(options) and type(item.answer) is int
        good = good and 0 <= item.answer < len(options)
    except (KeyError, TypeError):
        good = False
    if not good:
        raise C4nError(f"{path}: line {number} is not an item; it should look like {_LOOKS}")
    return item


def run_task(
    task: str,
    items: Sequence[Item],
    score: Score,
    tokenizer: TextTokenizer,
    *,
    context: int | None = None,
    progress: Progress | None = None,
) -> TaskResult:
    """Put all items of a task to a model.

    Parameters
    ----------
    task : str
        Its name.
    items : list of Item
    score : callable
        ``score(ids (t,) int64) -> logits (t, v)``, from a fresh state.
    tokenizer : TextTokenizer
        The model's.
    context : int, optional
        Tokens of the longest text that the model reads; None without a limit.
    progress : callable, optional
        ``progress(task, done, total)``.
    """
    right, right_per_byte, losses = [], [], []
    for done, item in enumerate(items):
        found = [
            _continue(score, tokenizer, context, before, option)
            for before, option in zip(item.contexts, item.options, strict=True)
        ]
        sums = np.array([total for total, _ in found])
        if len(found) == 1:
            right.append(found[0][1])
            losses.append(-sums[0])
        else:
            lengths = np.array([len(option.encode()) for option in item.options])
            right.append(int(sums.argmax()) == item.answer)
            right_per_byte.append(int((sums / lengths).argmax()) == item.answer)
        if progress is not None:
            progress(task, done + 1, len(items))
    accuracy = float(np.mean(right))
    return TaskResult(
        task=task,
        items=len(items),
        accuracy=accuracy,
        stderr=_stderr(accuracy, len(items)),
        per_byte=float(np.mean(right_per_byte)) if right_per_byte else None,
        target_perplexity=exp(float(np.mean(losses))) if losses else None,
        chance=float(np.mean([1 / n if (n := len(i.options)) > 1 else 0.0 for i in items])),
    )


def _stderr(accuracy: float, items: int) -> float:
    return sqrt(accuracy * (1 - accuracy) / (items - 1)) if items > 1 else float("nan")


def _continue(
    score: Score, tokenizer: TextTokenizer, context: int | None, before: str, option: str
) -> tuple[float, bool]:
    """Log-likelihood of an option after a text, and whether all its tokens are the likeliest."""
    ids, targets = tokenizer.encode(before) if before else [], tokenizer.encode(option)
    return continuation(score, [tokenizer.start, *last_tokens(ids, targets, context)], targets)


def last_tokens(
    ids: list[int], targets: list[int], context: int | None, *, most: int = CONTEXT_TOKENS
) -> list[int]:
    """Return the last of the tokens before the targets: as many as a model reads with those.

    No more than `most`; the token that starts a text comes before them, and the last target is not
    read.
    """
    room = most if context is None else min(most, context - len(targets))
    return ids[-room:] if room > 0 else []


def continuation(score: Score, start: list[int], targets: list[int]) -> tuple[float, bool]:
    """Log-likelihood of tokens after others, and whether each of them is the likeliest.

    Parameters
    ----------
    score : callable
        See `run_task`.
    start : list of int
        What the model reads first; at least one token.
    targets : list of int

    Returns
    -------
    log_likelihood : float
        In nats; 0 for no targets.
    likeliest : bool
    """
    if not targets:
        return 0.0, True
    logits = score(np.array([*start, *targets[:-1]], dtype=np.int64))[len(start) - 1 :]
    wanted = np.array(targets, dtype=np.int64)
    total = -float(negative_log_likelihood(logits, wanted).sum())
    return total, bool((logits.argmax(axis=1) == wanted).all())


def average(results: Sequence[TaskResult]) -> tuple[float, float]:
    """Average accuracy of tasks, each counting alike, and its standard error."""
    mean = sum(result.accuracy for result in results) / len(results)
    return mean, sqrt(sum(result.stderr**2 for result in results)) / len(results)
