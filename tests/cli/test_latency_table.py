"""The latency table with a device whose times are made up: what is added up, and how."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from tvm_c4n.checkpoint import open_checkpoint
from tvm_c4n.errors import TuneError
from tvm_c4n.model.config import MambaConfig
from tvm_c4n.ops.spec import LinearSpec, QuantizeSpec
from tvm_c4n.pruning.allocation.latency import LatencyTable
from tvm_c4n.pruning.recipe import Choice

pytest.importorskip("xgboost", reason="pip install 'tvm-c4n[tune]'")


@pytest.fixture
def made(small_model, tmp_path, monkeypatch):
    """``made(step_secs)``: the table of a device where a linear kernel takes 2, a quantize 1 us."""
    from tvm_c4n.tuning.latency import write_table
    from tvm_c4n.tuning.metaschedule import ms
    from tvm_c4n.tuning.meter import Built, Meter

    monkeypatch.setattr(Meter, "build", lambda _self, kernel, _library: Built(kernel.spec, 1))
    artifacts = []

    def run(wanted):
        (spec,) = wanted
        secs = {LinearSpec: 2e-6, QuantizeSpec: 1e-6}[type(spec)]
        result = ms.runner.RunnerResult([secs], None)
        return [SimpleNamespace(done=lambda: True, result=lambda: result)]

    def make(step_secs):
        def step(artifact):
            artifacts.append(artifact.manifest)
            return [step_secs]

        runner = SimpleNamespace(run=run)
        write_table(small_model, "host", tmp_path, runner=runner, step=step, threads=2)
        return LatencyTable.read(tmp_path)

    make.artifacts = artifacts
    return make


def test_the_rest_is_what_a_whole_step_takes_beyond_its_layers(made, small_model):
    table = made(1e-3)
    config = MambaConfig.from_hf(open_checkpoint(small_model).config)
    assert table.seconds(128, 32, Choice(2, "int4")) == pytest.approx(3e-6)
    assert table.seconds(128, 32, Choice(2, "float16")) == pytest.approx(2e-6)
    # Two layers and the head; dt_proj and this small head take floats, the others int8.
    inside = 2 * (3 + 3 + 2 + 3) + 2
    assert table.outside(config) == pytest.approx(1e-3 - inside * 1e-6)
    (manifest,) = made.artifacts
    forms = {name.split(".")[-2]: p for name, p in manifest.projections.items()}
    assert (forms["in_proj"].removed, forms["in_proj"].dtype) == (3, "int4")


def test_a_rest_is_never_nothing(made, small_model):
    """A step that is faster than its layers by themselves."""
    config = MambaConfig.from_hf(open_checkpoint(small_model).config)
    assert made(1e-6).outside(config) == pytest.approx(1e-8)


def test_a_kernel_that_does_not_run_is_named(small_model, tmp_path, monkeypatch):
    from tvm_c4n.tuning.latency import write_table
    from tvm_c4n.tuning.metaschedule import ms
    from tvm_c4n.tuning.meter import Built, Meter

    monkeypatch.setattr(Meter, "build", lambda _self, kernel, _library: Built(kernel.spec, 1))
    result = ms.runner.RunnerResult(None, "Traceback\nunplugged")
    future = SimpleNamespace(done=lambda: True, result=lambda: result)
    runner = SimpleNamespace(run=lambda _: [future])
    with pytest.raises(TuneError, match="linear did not run on the device: unplugged"):
        write_table(small_model, "host", tmp_path, runner=runner, step=lambda _: [], threads=1)
    assert not (tmp_path / "latency.json").exists()
