"""A task of lm-eval on compiled code: `python examples/lm_eval_task.py [MODEL]`.

The task is a file of pairs, of which the model should find the first one likelier; any of lm-eval's
own tasks goes in the same way, and is downloaded. Needs `pip install 'tvm-c4n[lm-eval]'`.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

# Nothing is downloaded for a task that lies here.
os.environ.setdefault("HF_DATASETS_OFFLINE", "1")

import lm_eval
from lm_eval.tasks import TaskManager

import tvm_c4n.evaluate.lm_eval_model  # noqa: F401 - makes the model known to lm-eval

PAIRS = [
    ("The cats are asleep.", "The cats is asleep."),
    ("She has seen the river.", "She have seen the river."),
    ("The boy who knows them waits.", "The boy who knows them wait."),
    ("They were in the house.", "They was in the house."),
]
TASK = """
task: pairs
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


def main(name: str = "mamba-19m-n2-int4") -> None:
    """Write the task, and have lm-eval score it."""
    with TemporaryDirectory() as folder:
        os.environ.setdefault("HF_HOME", folder)
        lines = [json.dumps({"options": pair, "answer": 0}) for pair in PAIRS]
        data = Path(folder, "pairs.jsonl")
        data.write_text("\n".join(lines), encoding="utf-8")
        Path(folder, "pairs.yaml").write_text(TASK.format(file=data), encoding="utf-8")
        found = lm_eval.simple_evaluate(
            model="tvm-c4n",
            model_args={"path": name},
            tasks=["pairs"],
            task_manager=TaskManager(include_path=folder, include_defaults=False),
            bootstrap_iters=0,
        )
    print(f"{name}: {found['results']['pairs']['acc,none']:.0%} of {len(PAIRS)} pairs")


if __name__ == "__main__":
    main(*sys.argv[1:])
