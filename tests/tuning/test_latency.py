"""The latency table with a device whose times are made up: what is added up, and how."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby
from pathlib import Path
from typing import Any

import pytest

from tests.models import EXPERTS, write_model
from tvm_c4n.checkpoint import open_checkpoint
from tvm_c4n.errors import DeviceError, RecipeError, TuneError
from tvm_c4n.model.families import describe_model
from tvm_c4n.ops.spec import LinearSpec, OpSpec, QuantizeSpec
from tvm_c4n.pruning.allocation.latency import FILE, LatencyTable, Workload
from tvm_c4n.pruning.recipe import Choice

pytest.importorskip("xgboost", reason="pip install 'tvm-c4n[tune]'")

from tests.tuning.fake_device import FakeDevice
from tvm_c4n.tuning.latency import PARTIAL, ROUNDS, write_table
from tvm_c4n.tuning.reference_model import TokenSeconds


def micros(spec: OpSpec, *_: Any) -> float:
    """A linear kernel takes 2 us, a quantize 1 us; of a chunk, half of that for each token."""
    return {LinearSpec: 2e-6, QuantizeSpec: 1e-6}[type(spec)] * (128 if spec.dynamic else 1)


def table_of(
    model: Path, out: Path, secs: float, device: FakeDevice | None = None
) -> tuple[LatencyTable, list[Any]]:
    """Return the table, and the manifests of the artifacts that were timed.

    A generated token takes ``secs``, one of a prompt half of that.
    """
    manifests = []

    def time_models(artifacts: Sequence[Any]) -> list[TokenSeconds]:
        manifests.extend(artifact.manifest for artifact in artifacts)
        return [TokenSeconds([secs], [secs / 2]) for _ in artifacts]

    measurer: Any = device or FakeDevice(micros)
    write_table(model, "host", out, measurer=measurer, time_models=time_models, threads=2)
    return LatencyTable.read(out), manifests


def keep(out: Path, table: LatencyTable, **changes: Any) -> None:
    """Leave a table behind as a run that was stopped before the whole model does."""
    text = table.model_copy(update={"rest": (), "checks": (), **changes}).model_dump_json(
        by_alias=True
    )
    (out / PARTIAL).write_text(text)


@pytest.fixture(scope="module")
def device() -> FakeDevice:
    """The device of `whole`."""
    return FakeDevice(micros)


@pytest.fixture(scope="module")
def whole(
    small_model: Path, device: FakeDevice, tmp_path_factory: pytest.TempPathFactory
) -> tuple[LatencyTable, list[Any]]:
    """The table of a model whose generated token takes 1 ms."""
    return table_of(small_model, tmp_path_factory.mktemp("whole"), 1e-3, device)


def test_the_overhead_is_what_a_model_takes_beyond_its_layers(
    small_model: Path, whole: tuple[LatencyTable, list[Any]]
) -> None:
    table, (manifest, *_) = whole
    config = describe_model(open_checkpoint(small_model).config)
    assert table.seconds(128, 32, Choice(2, "int4")) == pytest.approx(3e-6)
    assert table.seconds(128, 32, Choice(2, "float16")) == pytest.approx(2e-6)
    # Two layers and the head; dt_proj and this small head take floats, the others int8.
    inside = 2 * (3 + 3 + 2 + 3) + 2
    assert table.outside(config) == pytest.approx(1e-3 - inside * 1e-6)
    # Of a prompt, all but the head.
    prompt = Workload(prompt=1, generated=0)
    assert table.seconds(128, 32, Choice(2, "int4"), prompt) == pytest.approx(1.5e-6)
    assert table.outside(config, prompt) == pytest.approx(5e-4 - (inside - 2) / 2 * 1e-6)
    assert table.seconds(96, 32, Choice(0, "int8"), prompt) is None
    forms = {name.split(".")[-2]: p for name, p in manifest.projections.items()}
    assert (forms["in_proj"].removed, forms["in_proj"].dtype) == (3, "int4")


def test_another_model_is_compared_with_what_the_table_says(
    small_model: Path, whole: tuple[LatencyTable, list[Any]]
) -> None:
    """Kernels take the same here whatever n is: the table says that both models are alike."""
    # Both are timed once more behind the kernels.
    table, (_, manifest, _, _) = whole
    forms = {name.split(".")[-2]: p for name, p in manifest.projections.items()}
    assert (forms["in_proj"].removed, forms["in_proj"].dtype) == (0, "int4")
    (check,) = table.checks
    assert (check.removed, check.dtype, check.threads) == (0, "int4", 2)
    assert (check.seconds.median, check.prompt_seconds.median) == (1e-3, 5e-4)
    assert check.predicted == pytest.approx(1e-3)
    assert check.prompt_predicted == pytest.approx(5e-4)
    assert table.others_cores is None


def test_a_model_with_experts_is_refused(tmp_path: Path) -> None:
    write_model(tmp_path / "model", EXPERTS)
    with pytest.raises(TuneError, match="model: a latency table has no experts; prune this"):
        table_of(tmp_path / "model", tmp_path / "out", 1e-3)
    assert not (tmp_path / "out").exists()


def test_there_is_always_some_overhead(
    small_model: Path, whole: tuple[LatencyTable, list[Any]], tmp_path: Path
) -> None:
    """A step that is faster than its layers by themselves."""
    config = describe_model(open_checkpoint(small_model).config)
    keep(tmp_path, whole[0])
    table, _ = table_of(small_model, tmp_path, 1e-6)
    assert table.outside(config) == pytest.approx(1e-8)
    assert table.outside(config, Workload(prompt=1)) == pytest.approx(1.5e-8)


@pytest.mark.usefixtures("whole")
def test_the_kernels_of_a_shape_are_timed_interleaved(device: FakeDevice) -> None:
    linear = [spec for spec, _ in device.log if isinstance(spec, LinearSpec)]
    # Before them come in_proj and out_proj of two models, of the table in either way of its.
    timed = linear[2 * 4 * ROUNDS :]
    for _, found in groupby(timed, key=lambda spec: (spec.rows, spec.cols)):
        specs = list(found)
        once = specs[: len(specs) // ROUNDS]
        assert len(set(once)) == len(once) > 1
        assert specs == once * ROUNDS


def test_a_stopped_run_goes_on_behind_its_last_shape(
    small_model: Path, whole: tuple[LatencyTable, list[Any]], tmp_path: Path
) -> None:
    def stopped(spec: OpSpec, *_: Any) -> float | None:
        last = isinstance(spec, LinearSpec) and spec.rows == 128
        return None if last else micros(spec)

    entries = whole[0].entries
    keep(tmp_path, whole[0], entries=tuple(e for e in entries if e.rows < 96))
    with pytest.raises(DeviceError):
        table_of(small_model, tmp_path, 1e-3, FakeDevice(stopped))
    assert not (tmp_path / FILE).exists()
    resumed = FakeDevice(micros)
    table, _ = table_of(small_model, tmp_path, 1e-3, resumed)
    assert {spec.rows for spec, _ in resumed.log if isinstance(spec, LinearSpec)} == {128}
    assert table == whole[0]
    assert not (tmp_path / PARTIAL).exists()


def test_what_is_kept_of_another_machine_counts_for_nothing(
    small_model: Path, whole: tuple[LatencyTable, list[Any]], tmp_path: Path
) -> None:
    keep(tmp_path, whole[0], target={"cpu": "another"})
    unplugged = FakeDevice(lambda *_: None)
    with pytest.raises(DeviceError):
        table_of(small_model, tmp_path, 1e-3, unplugged)
    assert unplugged.log
    (tmp_path / PARTIAL).write_text("{")
    with pytest.raises(RecipeError, match=f"{PARTIAL}: not valid JSON"):
        table_of(small_model, tmp_path, 1e-3)


def test_a_kernel_that_does_not_run_is_named(small_model: Path, tmp_path: Path) -> None:
    with pytest.raises(DeviceError, match="linear did not run on the device: unplugged"):
        table_of(small_model, tmp_path, 1e-3, FakeDevice(lambda *_: None))
    assert not (tmp_path / "latency.json").exists()
