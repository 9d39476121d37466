"""Real lm-eval tasks on the plugin: its figures are those of our own harness."""

import importlib
import json
import runpy
import sys

import numpy as np
import pytest

from tvm_c4n.errors import C4nError
from tvm_c4n.evaluate.scoring import torch_score
from tvm_c4n.evaluate.tasks import Item, run_task
from tvm_c4n.model.tokenizer import load_tokenizer

lm_eval = pytest.importorskip("lm_eval", reason="pip install 'tvm-c4n[lm-eval]'")

ITEMS = 20
TASK = """
task: c4n_pairs
dataset_path: json
dataset_kwargs: {{data_files: {{test: {file}}}}}
test_split: test
output_type: multiple_choice
doc_to_text: ""
doc_to_choice: options
doc_to_target: answer
target_delimiter: ""
metric_list: [{{metric: acc}}]
"""


def test_lm_eval_scores_what_the_harness_scores(small_model, tmp_path, monkeypatch):
    """The harness's choice between two texts is the answer: lm-eval must make it each time."""
    from lm_eval.api.registry import get_model
    from lm_eval.tasks import TaskManager

    from tvm_c4n.evaluate.lm_eval_model import C4nLM

    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
    monkeypatch.setenv("HF_DATASETS_OFFLINE", "1")
    score, tokenizer = torch_score(str(small_model)), load_tokenizer(small_model)
    rng = np.random.default_rng(3)
    lines = []
    for _ in range(ITEMS):
        options = tuple(" ".join(f"w{i}" for i in rng.integers(1, 96, 8)) for _ in range(2))
        first = run_task("pairs", [Item(("", ""), options, 0)], score, tokenizer).accuracy == 1
        lines.append(json.dumps({"options": options, "answer": 0 if first else 1}))
    (tmp_path / "pairs.jsonl").write_text("\n".join(lines))
    (tmp_path / "pairs.yaml").write_text(TASK.format(file=tmp_path / "pairs.jsonl"))
    assert get_model("tvm-c4n") is C4nLM
    found = lm_eval.simple_evaluate(
        model="tvm-c4n",
        model_args={"path": str(small_model), "backend": "torch"},
        tasks=["c4n_pairs"],
        task_manager=TaskManager(include_path=str(tmp_path), include_defaults=False),
        bootstrap_iters=0,
    )
    assert found["results"]["c4n_pairs"]["acc,none"] == 1
    assert len({json.loads(line)["answer"] for line in lines}) == 2


def test_without_lm_eval_the_program_ends_in_one_line(monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "lm_eval", None)
    monkeypatch.delitem(sys.modules, "tvm_c4n.evaluate.lm_eval_model", raising=False)
    with pytest.raises(SystemExit) as left:
        runpy.run_module("tvm_c4n.evaluate.lm_eval_model", run_name="__main__")
    assert left.value.code == 2
    line = "error: this model of lm-eval needs lm_eval: pip install 'tvm-c4n[lm-eval]'\n"
    assert capsys.readouterr() == ("", line)
    with pytest.raises(C4nError, match="needs lm_eval"):
        importlib.import_module("tvm_c4n.evaluate.lm_eval_model")
