"""What is replayed is the code that the step has."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import schedules
from tvm_c4n.checkpoint import open_checkpoint
from tvm_c4n.compile import kernel_selection
from tvm_c4n.compile.artifact import compile_model
from tvm_c4n.compile.target import resolve_target
from tvm_c4n.evaluate.replay import unfused
from tvm_c4n.model.families import describe_model
from tvm_c4n.model.relax_model import build_model
from tvm_c4n.ops.repack import PrefetchPolicy
from tvm_c4n.ops.spec import OpSpec


def test_the_replay_has_the_kernels_of_the_step(
    small_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With tuned records, and with weights prefetched past the caches, as the artifact has them."""
    chosen: list[tuple[OpSpec, str, PrefetchPolicy]] = []
    choose = schedules.choose

    def note(spec: OpSpec, *args: Any, policy: PrefetchPolicy) -> Any:
        found = choose(spec, *args, policy=policy)
        chosen.append((spec, "" if found is None else found[0], policy))
        return found

    def tuned(spec: OpSpec) -> dict[str, int] | None:
        return {"vectors": 1} if spec.kind == "conv1d" else None

    monkeypatch.setattr(schedules, "choose", note)
    monkeypatch.setattr(kernel_selection, "tuned_for", lambda target, records: tuned)
    past = PrefetchPolicy.PAST_CACHES
    monkeypatch.setattr(kernel_selection, "prefetch_policy", lambda *_: past)
    compile_model(small_model, tmp_path / "artifact")
    step = set(chosen)
    chosen.clear()
    checkpoint = open_checkpoint(small_model)
    config = describe_model(checkpoint.config)
    unfused(build_model(config, checkpoint), resolve_target("host"))
    assert set(chosen) == step
    assert {rule for spec, rule, _ in step if spec.kind == "conv1d"} >= {"conv1d[vectors=1]"}
    assert {policy for *_, policy in step} == {past}
