"""A plan from a config alone."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from tests.models import HF, HYBRID
from tvm_c4n.errors import C4nError, CheckpointError
from tvm_c4n.model.families import describe_model
from tvm_c4n.plan.prediction import PROCESS_BYTES, Predictor, plan_model
from tvm_c4n.pruning.recipe import Recipe


@pytest.mark.slow
def test_more_layers_take_longer() -> None:
    recipe = Recipe(removed=2, dtype="int8")
    few = Predictor(describe_model(HF), 1)
    many = Predictor(describe_model({**HF, "num_hidden_layers": 200}), 1)
    assert many.secs(recipe) > 10 * few.secs(recipe) > 0
    assert many.moved(many.sizes(recipe)) > 10 * few.moved(few.sizes(recipe))


@pytest.mark.slow
@pytest.mark.parametrize("given", ["folder", "file"])
def test_a_plan_has_a_line_for_each_n_and_dtype(given: str, tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps(HYBRID))
    told: list[tuple[str, int, int]] = []
    plan = plan_model(
        tmp_path if given == "folder" else tmp_path / "config.json",
        threads=1,
        progress=lambda *step: told.append(step),
    )
    rows = [(option.removed, option.dtype) for option in plan.options]
    assert rows == [(n, d) for n in range(4) for d in ("float16", "int8", "int4", "int3", "int2")]
    assert (plan.family, plan.context, plan.threads) == ("granitemoehybrid", 64, 1)
    assert plan.kv_bytes == 2 * 64 * 2 * 8 * 2  # float16, as compiled models have them
    disk = {(o.removed, o.dtype): o.disk_bytes for o in plan.options}
    assert disk[3, "int4"] < disk[2, "int4"] < disk[2, "int8"] < disk[0, "float16"]
    for option in plan.options:
        assert option.memory_bytes > PROCESS_BYTES + plan.kv_bytes + plan.state_bytes
        assert option.limit == pytest.approx(plan.bandwidth / option.token_bytes)
        assert option.tokens_per_sec > 0
    assert told[-1] == ("timed", 20, 20)


def test_what_is_no_model_is_refused(tmp_path: Path, small_artifact: Path) -> None:
    shutil.copytree(small_artifact, tmp_path / "art")
    with pytest.raises(CheckpointError, match="a compiled model; give the folder"):
        plan_model(tmp_path / "art")
    with pytest.raises(CheckpointError, match=r"config\.json: missing file"):
        plan_model(tmp_path)
    (tmp_path / "config.json").write_text(json.dumps(HF))
    with pytest.raises(C4nError, match="this model has no attention"):
        plan_model(tmp_path, context=64)
    with pytest.raises(C4nError, match="threads is 0"):
        plan_model(tmp_path, threads=0)
