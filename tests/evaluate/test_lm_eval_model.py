"""Real lm-eval tasks on the plugin: its figures are those of our own harness."""

import json

import pytest

from tvm_c4n.assets import task_file
from tvm_c4n.evaluate.scoring import torch_score
from tvm_c4n.evaluate.tasks import read_items, run_task
from tvm_c4n.model.tokenizer import load_tokenizer

lm_eval = pytest.importorskip("lm_eval", reason="pip install 'tvm-c4n[lm-eval]'")

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


def test_lm_eval_scores_what_the_harness_scores(tmp_path, monkeypatch):
    from lm_eval.api.registry import get_model
    from lm_eval.tasks import TaskManager

    from tvm_c4n.assets import resolve
    from tvm_c4n.evaluate.lm_eval_model import C4nLM

    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
    monkeypatch.setenv("HF_DATASETS_OFFLINE", "1")
    items = read_items(task_file("blimp"), 10)
    lines = [json.dumps({"options": list(i.options), "answer": i.answer}) for i in items]
    (tmp_path / "pairs.jsonl").write_text("\n".join(lines))
    (tmp_path / "pairs.yaml").write_text(TASK.format(file=tmp_path / "pairs.jsonl"))
    assert get_model("tvm-c4n") is C4nLM
    found = lm_eval.simple_evaluate(
        model="tvm-c4n",
        model_args={"path": "mamba-19m", "backend": "torch"},
        tasks=["c4n_pairs"],
        task_manager=TaskManager(include_path=str(tmp_path), include_defaults=False),
        bootstrap_iters=0,
    )
    ours = run_task("pairs", items, torch_score("mamba-19m"), load_tokenizer(resolve("mamba-19m")))
    assert found["results"]["c4n_pairs"]["acc,none"] == pytest.approx(ours.accuracy)
    assert ours.accuracy > 0.5
