"""Kernels share their work between threads: the text must not depend on how many there are."""

import os
from collections import Counter

import numpy as np
import pytest

from tvm_c4n.checkpoint import C4nWriter, open_checkpoint
from tvm_c4n.compile.artifact import compile_model
from tvm_c4n.errors import C4nError
from tvm_c4n.runtime.engine import Engine
from tvm_c4n.runtime.generate import generate_tokens
from tvm_c4n.runtime.thread_controller import ThreadController
from tvm_c4n.sparsity import from_dense, mask_from_scores

PROMPT = list(range(100, 107))
TOKENS, TEXTS = 40, 12


@pytest.fixture(
    scope="module",
    params=[(2, "int4")]
    + [pytest.param(case, marks=pytest.mark.slow) for case in ((0, "float16"), (2, "int8"))],
    ids=str,
)
def engine(request, tmp_path_factory):
    """The embedded model, pruned by magnitude: a step of it takes long enough for threads."""
    removed, dtype = request.param
    folder = tmp_path_factory.mktemp("threads")
    source = open_checkpoint("mamba-19m")
    with C4nWriter(folder / "c4n") as writer:
        for name in source.names():
            dense = source.dense(name)
            kind = name.removesuffix(".weight").rsplit(".", 1)[-1]
            if kind not in ("in_proj", "x_proj", "dt_proj", "out_proj", "embeddings"):
                writer.add_dense(name, dense)
                continue
            own = removed if kind in ("in_proj", "out_proj") else 0
            mask = mask_from_scores(np.abs(dense), own)
            stored = "int8" if kind == "dt_proj" else dtype
            writer.add_weight(name, from_dense(np.where(mask, dense, 0), own, stored, mask=mask))
        writer.copy_extra(source)
    compile_model(folder / "c4n", folder / "artifact")
    return Engine.load(folder / "artifact")


@pytest.mark.skipif((os.cpu_count() or 1) < 2, reason="one core: nothing runs beside anything")
def test_the_text_is_the_same_with_one_thread_and_with_all(engine):
    engine.set_threads(1)
    expected = tuple(generate_tokens(engine, PROMPT, TOKENS))
    engine.set_threads(os.cpu_count())
    found = Counter(tuple(generate_tokens(engine, PROMPT, TOKENS)) for _ in range(TEXTS))
    engine.set_threads(1)
    assert found == {expected: TEXTS}


@pytest.mark.skipif((os.cpu_count() or 1) < 2, reason="one core: there is nothing to choose")
@pytest.mark.parametrize("adapt", [True, False])
def test_a_step_takes_fewer_threads_only_if_it_may(engine, monkeypatch, adapt):
    """While other programs have the cores; measurements want the count that they name."""
    used = []
    monkeypatch.setattr("tvm_c4n.runtime.engine.use", used.append)
    monkeypatch.setattr("tvm_c4n.runtime.engine.POOL.threads", 2)
    monkeypatch.setattr("tvm_c4n.runtime.contention._running_elsewhere", lambda: 99)
    engine.set_threads(2, adapt=adapt)
    engine.step(5)
    assert used == ([2, 1] if adapt else [2])


def test_threads_that_the_machine_has_not_are_refused(engine):
    cores = os.cpu_count()
    for wrong in (0, -1, cores + 1):
        with pytest.raises(C4nError, match=f"threads is {wrong}; this machine takes 1 to {cores}"):
            engine.set_threads(wrong)


@pytest.mark.parametrize("adapt", [True, False])
def test_a_prompt_takes_the_threads_that_have_cores_if_it_may(engine, monkeypatch, adapt):
    monkeypatch.setattr("tvm_c4n.runtime.thread_controller.ASK_SECS", 0.0)
    used = []
    monkeypatch.setattr("tvm_c4n.runtime.engine.use", used.append)
    monkeypatch.setattr("tvm_c4n.runtime.thread_pool.os.cpu_count", lambda: 4)
    free = iter([4, 4, 1, 3])  # when the threads are set, and before each chunk
    monkeypatch.setattr(
        "tvm_c4n.runtime.engine.ThreadController",
        lambda most: ThreadController(most, available=lambda wanted: wanted <= cores[0]),
    )
    cores = [next(free)]
    engine.set_threads(4, adapt=adapt)
    for now in free:
        cores[0] = now
        engine.reset()
        engine.prefill([0, 1, 2])
    assert used[1:] == ([4, 1, 2] if adapt else [4, 4, 4])
