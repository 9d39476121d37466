"""One process, several threads: what each gets, and what a fork loses."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from tvm_c4n.errors import C4nError
from tvm_c4n.runtime import engine, thread_pool
from tvm_c4n.runtime.cores import Cores
from tvm_c4n.runtime.engine import Engine
from tvm_c4n.runtime.fastest_count import fastest_count
from tvm_c4n.runtime.generate import generate_tokens
from tvm_c4n.runtime.thread_pool import Exclusive, default_threads

TEXT = [1, 2, 3, 4, 5]


def in_threads(*tasks: Callable[[], None]) -> None:
    threads = [threading.Thread(target=task, daemon=True) for task in tasks]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(200)
    assert not any(thread.is_alive() for thread in threads)


def test_a_block_that_another_thread_is_in_is_refused() -> None:
    alone, errors = Exclusive(), []

    def enter() -> None:
        try:
            with alone:
                pass
        except C4nError as error:
            errors.append(str(error))

    with alone:
        in_threads(enter)
    in_threads(enter)
    assert errors == ["the model is in use by another thread: load one for each thread"]


@pytest.mark.parametrize("call", ["step", "prefill", "score", "reset", "set_threads"])
def test_every_call_refuses_a_busy_engine(small_artifact: Path, call: str) -> None:
    engine = Engine.load(small_artifact, threads=1)
    arguments = {"step": (1,), "prefill": (TEXT,), "score": (TEXT,), "set_threads": (1,)}
    with engine.alone, pytest.raises(C4nError, match="in use by another thread"):
        getattr(engine, call)(*arguments.get(call, ()))
    engine.step(1)  # and all is well after that


def test_two_threads_at_one_engine_read_all_or_are_refused(small_artifact: Path) -> None:
    """It died of SIGSEGV, or stood still for a minute."""
    engine = Engine.load(small_artifact)
    ids = np.resize(TEXT, 2000)
    outcomes: list[str] = []

    def read() -> None:
        for _ in range(20):
            try:
                logits = engine.prefill(ids)
                outcomes.append("read" if np.isfinite(logits).all() else "broken")
            except C4nError as error:
                outcomes.append(str(error))

    in_threads(read, read)
    assert len(outcomes) == 40
    refused = "the model is in use by another thread: load one for each thread"
    assert {"read"} <= set(outcomes) <= {"read", refused}


def test_each_thread_may_have_an_engine(small_artifact: Path) -> None:
    expected = list(generate_tokens(Engine.load(small_artifact), TEXT, 50, ends=()))
    texts: list[list[int]] = []

    def write() -> None:
        engine = Engine.load(small_artifact)
        for _ in range(10):
            texts.append(list(generate_tokens(engine, TEXT, 50, ends=())))

    in_threads(write, write, write)
    assert texts == [expected] * 30


def test_an_engine_may_wander_from_thread_to_thread(small_artifact: Path) -> None:
    engine = Engine.load(small_artifact)
    expected = engine.score(TEXT)
    scores: list[np.ndarray] = []

    def score() -> None:
        engine.reset()
        scores.append(engine.score(TEXT))

    for _ in range(3):
        in_threads(score)
    assert all((found == expected).all() for found in scores)
    assert len(scores) == 3


# What a child of a process that ran a model says, and that it ends.
FORKED = """
import os, sys
from tvm_c4n.errors import C4nError
from tvm_c4n.runtime import engine, thread_pool
from tvm_c4n.runtime.cores import Cores
from tvm_c4n.runtime.engine import Engine
from tvm_c4n.runtime.fastest_count import fastest_count

engine = Engine.load(sys.argv[1])
engine.step(1)
load = lambda: Engine.load(sys.argv[1])
if os.fork() == 0:
    for call in (lambda: engine.step(1), lambda: engine.prefill([1]), load):
        try:
            call()
            print("went on", flush=True)
        except C4nError as error:
            print(error, flush=True)
    sys.exit(3)
print(os.waitstatus_to_exitcode(os.wait()[1]), engine.step(2).shape, flush=True)
"""


def test_a_forked_process_is_told_so(small_artifact: Path) -> None:
    """It waited for ever for threads that had stayed in the other process."""
    command = [sys.executable, "-c", FORKED, str(small_artifact)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=200)
    *refused, last = done.stdout.splitlines()
    assert len(refused) == 3, done.stderr
    assert all(line.startswith("this process was forked from one that had run") for line in refused)
    assert last == "3 (96,)"


# A server that forks first and loads in each worker.
FORKED_FIRST = """
import os, sys
from tvm_c4n.runtime.engine import Engine

if os.fork() == 0:
    print(Engine.load(sys.argv[1]).step(1).shape, flush=True)
    sys.exit(0)
print(os.waitstatus_to_exitcode(os.wait()[1]))
"""


def test_a_process_that_was_forked_before_runs_models(small_artifact: Path) -> None:
    command = [sys.executable, "-c", FORKED_FIRST, str(small_artifact)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=200)
    assert done.stdout.split("\n")[:2] == ["(96,)", "0"]


def test_threads_take_the_biggest_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[object] = []
    phone = Cores((7, 4, 5, 6, 0, 1, 2, 3), (1, 4, 8))
    monkeypatch.setattr(thread_pool, "cores", lambda: phone)
    monkeypatch.setattr(thread_pool, "get_global_func", lambda _: lambda *given: told.append(given))
    monkeypatch.setattr(os, "sched_setaffinity", lambda _, found: told.append(found))
    monkeypatch.setattr(thread_pool.POOL, "threads", 0)
    thread_pool.use(3)
    order = ["7", "4", "5", "6", "0", "1", "2", "3"]
    assert told == [(-2, 3, order), (7, 4, 5, 6)]
    thread_pool.use(3)
    assert len(told) == 2


@pytest.mark.parametrize(("slow", "expected"), [(1, 2), (2, 1)])
def test_an_engine_takes_the_fastest_kinds_of_cores_where_nobody_said(
    small_artifact: Path, monkeypatch: pytest.MonkeyPatch, slow: int, expected: int
) -> None:
    """Beside what it gives: a choice by the user is kept."""
    used = 0

    def use(threads: int) -> None:
        nonlocal used
        used = threads

    time = 0.0

    def clock() -> float:
        nonlocal time
        time += 1.0 if used == slow else 0.5
        return time

    def fastest(counts: list[int], step: Callable[[int], object]) -> int:
        return fastest_count(counts, step, clock)

    monkeypatch.setattr("os.cpu_count", lambda: 2)
    monkeypatch.setattr(engine, "cores", lambda: Cores((1, 0), (1, 2)))
    monkeypatch.setattr(engine, "use", use)
    monkeypatch.setattr(engine, "fastest_count", fastest)
    made = Engine.load(small_artifact)
    assert made._threads == expected
    assert not any(array.any() for array in made._state_arrays)
    assert Engine.load(small_artifact, threads=slow)._threads == slow


def test_the_default_is_what_tvm_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    cores = os.cpu_count() or 1
    for told, expected in (("1", 1), ("9999", cores), ("", cores), ("0", cores), ("x", cores)):
        monkeypatch.setenv("TVM_NUM_THREADS", told)
        assert default_threads() == expected
