"""The latency table with a device whose times are made up: what is added up, and how."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.models import EXPERTS, write_model
from tvm_c4n.checkpoint import open_checkpoint
from tvm_c4n.errors import DeviceError, TuneError
from tvm_c4n.model.families import describe_model
from tvm_c4n.ops.spec import LinearSpec, OpSpec, QuantizeSpec
from tvm_c4n.pruning.allocation.latency import LatencyTable
from tvm_c4n.pruning.recipe import Choice

pytest.importorskip("xgboost", reason="pip install 'tvm-c4n[tune]'")

from tests.tuning.fake_device import FakeDevice
from tvm_c4n.tuning.latency import ROUNDS, write_table


def micros(spec: OpSpec, *_: Any) -> float:
    """A linear kernel takes 2 us, a quantize 1 us."""
    return {LinearSpec: 2e-6, QuantizeSpec: 1e-6}[type(spec)]


def table_of(
    model: Path, out: Path, step_secs: float, device: FakeDevice | None = None
) -> tuple[LatencyTable, list[Any]]:
    """Return the table, and the manifests of the artifacts whose step was timed."""
    manifests = []

    def time_step(artifact: Any) -> list[float]:
        manifests.append(artifact.manifest)
        return [step_secs]

    measurer: Any = device or FakeDevice(micros)
    write_table(model, "host", out, measurer=measurer, time_step=time_step, threads=2)
    return LatencyTable.read(out), manifests


def test_the_overhead_is_what_a_step_takes_beyond_its_layers(
    small_model: Path, tmp_path: Path
) -> None:
    table, (manifest,) = table_of(small_model, tmp_path, 1e-3)
    config = describe_model(open_checkpoint(small_model).config)
    assert table.seconds(128, 32, Choice(2, "int4")) == pytest.approx(3e-6)
    assert table.seconds(128, 32, Choice(2, "float16")) == pytest.approx(2e-6)
    # Two layers and the head; dt_proj and this small head take floats, the others int8.
    inside = 2 * (3 + 3 + 2 + 3) + 2
    assert table.outside(config) == pytest.approx(1e-3 - inside * 1e-6)
    forms = {name.split(".")[-2]: p for name, p in manifest.projections.items()}
    assert (forms["in_proj"].removed, forms["in_proj"].dtype) == (3, "int4")


def test_a_model_with_experts_is_refused(tmp_path: Path) -> None:
    write_model(tmp_path / "model", EXPERTS)
    with pytest.raises(TuneError, match="model: a latency table has no experts; prune this"):
        table_of(tmp_path / "model", tmp_path / "out", 1e-3)
    assert not (tmp_path / "out").exists()


def test_there_is_always_some_overhead(small_model: Path, tmp_path: Path) -> None:
    """A step that is faster than its layers by themselves."""
    config = describe_model(open_checkpoint(small_model).config)
    table, _ = table_of(small_model, tmp_path, 1e-6)
    assert table.outside(config) == pytest.approx(1e-8)


def test_kernels_are_timed_interleaved(small_model: Path, tmp_path: Path) -> None:
    device = FakeDevice(micros)
    table_of(small_model, tmp_path, 1e-3, device)
    timed = [spec for spec, _ in device.log]
    once = timed[: len(timed) // ROUNDS]
    assert len(set(once)) == len(once)
    assert timed == once * ROUNDS


def test_a_kernel_that_does_not_run_is_named(small_model: Path, tmp_path: Path) -> None:
    with pytest.raises(DeviceError, match="linear did not run on the device: unplugged"):
        table_of(small_model, tmp_path, 1e-3, FakeDevice(lambda *_: None))
    assert not (tmp_path / "latency.json").exists()
