"""The selector: tuned records, the size of the weights, and who gets which kernels."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.layers import sparse_layer
from tvm_c4n._tvm import Target
from tvm_c4n.compile import kernel_selection
from tvm_c4n.compile.build import build
from tvm_c4n.compile.host import Core
from tvm_c4n.compile.kernel_selection import selector
from tvm_c4n.compile.records import (
    Best,
    RecordsManifest,
    key_of,
    machine_of,
    write_best,
    write_manifest,
)
from tvm_c4n.compile.target import resolve_target
from tvm_c4n.errors import TuneError
from tvm_c4n.ops.host import host_description, host_machine
from tvm_c4n.ops.repack import PrefetchPolicy
from tvm_c4n.ops.spec import ConvSpec

CONV = ConvSpec(True, 768, 4, 2, 1536)


@pytest.mark.parametrize("kind", ["c", "opencl"])
def test_nothing_is_tuned_for_targets_without_records(kind: str) -> None:
    select = selector(Target({"kind": kind}))
    assert select.tuned is None
    assert select.gpu == (kind == "opencl")
    with pytest.raises(TuneError, match="only kernels of CPUs are tuned"):
        machine_of(Target({"kind": kind}))


def test_a_tuned_decision_is_taken(tmp_path: Path) -> None:
    target = resolve_target("arm64-linux")
    default = selector(target, _records(tmp_path / "none", target, {}))(CONV)
    tuned = selector(target, _records(tmp_path / "one", target, {"vectors": 1}))(CONV)
    assert default is not None
    assert tuned is not None
    assert (default[0], tuned[0]) == ("conv1d", "conv1d[vectors=1]")


def _records(folder: Path, target: Target, decisions: dict[str, int]) -> Path:
    manifest = RecordsManifest(target=machine_of(target), threads=1, emulated=True)
    write_manifest(folder, manifest)
    best = Best(spec=key_of(CONV), decisions=decisions, seconds=1.0, default_seconds=1.0)
    write_best(folder, [best] if decisions else [])
    return folder


@pytest.mark.parametrize("decisions", [{"vectors": 3}, {}, {"vectors": 1, "colour": 1}])
def test_decisions_of_another_version_are_left_alone(decisions: dict[str, int]) -> None:
    select = replace(selector(resolve_target("arm64-linux")), tuned=lambda _: decisions)
    answer = select(CONV)
    assert answer is not None
    assert answer[0] == "conv1d"


def test_records_of_another_machine_are_refused(tmp_path: Path) -> None:
    folder = _records(tmp_path / "r", resolve_target("arm64-linux"), {})
    with pytest.raises(TuneError, match="give another folder"):
        selector(resolve_target("arm64-android"), folder)


@pytest.fixture
def cpu(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Makes this machine's CPU another one."""

    def be(core: Core | None, l3_bytes: int | None) -> None:
        monkeypatch.setattr(kernel_selection, "measured_core", lambda: core)
        monkeypatch.setattr(kernel_selection, "l3_bytes", lambda: l3_bytes)

    return be


NATIVE = Target({**host_description(), "mcpu": "x86-64-v4", "mattr": ["+avx512vnni"]})
WEIGHT_BYTES = 64 * 64 * 4


@pytest.mark.parametrize(
    ("core", "l3", "policy"),
    [
        (None, 1, PrefetchPolicy.INTO_L2),
        (Core.GOLDEN_COVE, 1, PrefetchPolicy.INTO_L1),
        (Core.ZEN4, 1, PrefetchPolicy.BY_CPU),
        (Core.ZEN5, None, PrefetchPolicy.INTO_L2),
        (Core.ZEN5, WEIGHT_BYTES // 3 + 1, PrefetchPolicy.INTO_L2),
        (Core.ZEN5, WEIGHT_BYTES // 3 - 1, PrefetchPolicy.PAST_CACHES),
    ],
)
@pytest.mark.skipif(host_machine() != "x86_64", reason="no code for this machine has AVX-512")
def test_weights_are_prefetched_as_was_measured_on_the_cpu(
    cpu: Callable[..., None], core: Core | None, l3: int | None, policy: PrefetchPolicy
) -> None:
    cpu(core, l3)
    assert selector(NATIVE, mod=sparse_layer(64, 64)[0]).policy is policy
    # Nothing is known of the weights.
    known = policy is not PrefetchPolicy.PAST_CACHES
    assert selector(NATIVE).policy is (policy if known else PrefetchPolicy.INTO_L2)


@pytest.mark.parametrize("core", Core)
@pytest.mark.parametrize(
    ("other", "policy"),
    [
        ({"mtriple": "x86_64-w64-windows-gnu"}, PrefetchPolicy.INTO_L2),
        ({"mcpu": "x86-64-v3", "mattr": []}, PrefetchPolicy.INTO_L1),
    ],
    ids=["system", "vectors"],
)
@pytest.mark.skipif(host_machine() != "x86_64", reason="no code for this machine has AVX-512")
def test_only_this_machines_code_follows_its_cpu(
    cpu: Callable[..., None], core: Core, other: dict[str, Any], policy: PrefetchPolicy
) -> None:
    cpu(core, 1)
    target = Target({**NATIVE.export(), **other})
    assert selector(target, mod=sparse_layer(64, 64)[0]).policy is policy


@pytest.mark.parametrize(
    ("core", "localities"),
    [(None, {"2"}), (Core.GOLDEN_COVE, {"3"}), (Core.ZEN5, {"0"}), (Core.ZEN4, set())],
)
@pytest.mark.skipif(host_machine() != "x86_64", reason="no code for this machine has AVX-512")
def test_the_prefetches_of_a_build_follow_the_cpu(
    cpu: Callable[..., None], tmp_path: Path, core: Core | None, localities: set[str]
) -> None:
    cpu(core, 64 << 10)
    build(sparse_layer(512, 512)[0], target=NATIVE, debug_dump=tmp_path)
    text = next(tmp_path.glob("*_bind.py")).read_text()
    assert set(re.findall(r'prefetch", .*, \d, (\d), 1\)', text)) == localities
