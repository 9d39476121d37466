"""Fixtures of tuning."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests import layers
from tvm_c4n._tvm import IRModule


@pytest.fixture(scope="session")
def sparse_layer() -> IRModule:
    """The layer that is tuned."""
    return layers.sparse_layer(256, 64)[0]


# Records of a layer, and what two runs told.
Tuned = tuple[Path, list[int]]


@pytest.fixture(scope="session")
def tuned(sparse_layer: IRModule, tmp_path_factory: pytest.TempPathFactory) -> Tuned:
    """Records of 11 candidates: three of a run that was cut off, 8 of the one that resumed."""
    return tuned_twice(sparse_layer, tmp_path_factory.mktemp("tune") / "records", 8, confirm=False)


@pytest.fixture(scope="session")
def wholly_tuned(sparse_layer: IRModule, tmp_path_factory: pytest.TempPathFactory) -> Tuned:
    """Records of the whole space, and of the fastest candidate beside the default."""
    return tuned_twice(sparse_layer, tmp_path_factory.mktemp("whole") / "records", 1000)


def tuned_twice(
    sparse_layer: IRModule, folder: Path, trials: int, *, confirm: bool = True
) -> Tuned:
    """Tune with 4 candidates, spoil the last one as a kill does, and tune with so many more."""
    from tvm_c4n.tuning.database import RECORDS
    from tvm_c4n.tuning.run import tune
    from tvm_c4n.tuning.runners import kill_workers, local_runner

    runner = local_runner(1, timeout_secs=120, samples=2, min_repeat_ms=1)
    told: list[int] = []

    def run(trials: int) -> None:
        def progress(what: str, done: int, _total: int) -> None:
            if "against" not in what:  # candidates, not pairs
                told.append(done)

        tune(
            sparse_layer,
            runner=runner,
            records=folder,
            trials=trials,
            batch=4,
            cold_bytes=0,
            confirm=confirm,
            progress=progress,
        )

    run(4)
    file = folder / RECORDS
    file.write_bytes(file.read_bytes()[:-30])  # a kill in the middle of a write
    run(trials)
    kill_workers(runner)
    return folder, told
