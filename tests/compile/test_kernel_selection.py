"""The selector: tuned records, the size of the weights, and who gets which kernels."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest

from schedules import intrinsics_of
from tests.layers import sparse_layer
from tvm_c4n._tvm import Target
from tvm_c4n.compile.build import build
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
from tvm_c4n.ops.host import host_description
from tvm_c4n.ops.isa import isa_of
from tvm_c4n.ops.spec import ConvSpec

BYPASSED_CACHE = "tvm_c4n.compile.kernel_selection.bypassed_cache_bytes"
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


@pytest.mark.parametrize(
    ("size", "cache_bytes", "non_temporal"),
    [(64, None, False), (64, 64 * 64 * 4 // 3 + 1, False), (64, 64 * 64 * 4 // 3 - 1, True)],
)
def test_weights_of_three_caches_bypass_them(
    monkeypatch: pytest.MonkeyPatch, size: int, cache_bytes: int | None, non_temporal: bool
) -> None:
    monkeypatch.setattr(BYPASSED_CACHE, lambda: cache_bytes)
    target = resolve_target("host")
    assert selector(target, mod=sparse_layer(size, size)[0]).non_temporal is non_temporal
    assert selector(target).non_temporal is False  # nothing is known of the weights


def test_only_this_machines_cache_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(BYPASSED_CACHE, lambda: 1)
    other = Target({**host_description(), "mtriple": "x86_64-w64-windows-gnu"})
    assert selector(other, mod=sparse_layer(64, 64)[0]).non_temporal is False


@pytest.mark.skipif(
    not intrinsics_of(isa_of(resolve_target("host"))).prefetches_rows, reason="prefetches nothing"
)
@pytest.mark.parametrize(("cache_kib", "locality"), [(1 << 20, "2"), (64, "0")])
def test_the_prefetches_of_a_build_follow_the_cache(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, cache_kib: int, locality: str
) -> None:
    monkeypatch.setattr(BYPASSED_CACHE, lambda: cache_kib << 10)
    build(sparse_layer(512, 512)[0], debug_dump=tmp_path)
    text = next(tmp_path.glob("*_bind.py")).read_text()
    assert set(re.findall(r'prefetch", .*, \d, (\d), 1\)', text)) == {locality}
