"""Real lm-eval tasks on the plugin: its figures are those of our own harness."""

import importlib
import json
import logging
import runpy
import shutil
import sys

import numpy as np
import pytest

from tvm_c4n.errors import C4nError
from tvm_c4n.evaluate.scoring import scorer
from tvm_c4n.evaluate.tasks import Item, continuation, run_task

lm_eval = pytest.importorskip("lm_eval", reason="pip install 'tvm-c4n[lm-eval]'")

ITEMS = 20
TASK = """
task: c4n_pairs
dataset_path: json
dataset_kwargs: {{data_files: {{test: {file}}}}}
test_split: test
output_type: multiple_choice
doc_to_text: context
doc_to_choice: options
doc_to_target: answer
target_delimiter: " "
metric_list: [{{metric: acc}}]
"""


@pytest.mark.parametrize(
    ("model", "backend", "words"),
    [("small_model", "torch", 0), ("hybrid_artifact", "compiled", 70)],
)
def test_lm_eval_scores_what_the_harness_scores(
    model, backend, words, request, tmp_path, monkeypatch
):
    """The harness's choice between two texts is the answer: lm-eval must make it each time.

    The hybrid reads 64 tokens: fewer than the contexts have words.
    """
    from lm_eval.api.registry import get_model
    from lm_eval.tasks import TaskManager

    from tvm_c4n.evaluate.lm_eval_model import C4nLM

    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
    monkeypatch.setenv("HF_DATASETS_OFFLINE", "1")
    model = request.getfixturevalue(model)
    score, tokenizer, limit = scorer(model, backend)
    rng = np.random.default_rng(3)
    lines = []
    for _ in range(ITEMS):
        options = tuple(" ".join(f"w{i}" for i in rng.integers(1, 96, 8)) for _ in range(2))
        context = " ".join(f"w{i}" for i in rng.integers(1, 96, words))
        item = Item((context, context), options, 0)
        first = run_task("pairs", [item], score, tokenizer, context=limit).accuracy == 1
        line = {"context": context, "options": options, "answer": 0 if first else 1}
        lines.append(json.dumps(line))
    (tmp_path / "pairs.jsonl").write_text("\n".join(lines))
    (tmp_path / "pairs.yaml").write_text(TASK.format(file=tmp_path / "pairs.jsonl"))
    assert get_model("tvm-c4n") is C4nLM
    found = lm_eval.simple_evaluate(
        model="tvm-c4n",
        model_args={"path": str(model), "backend": backend},
        tasks=["c4n_pairs"],
        task_manager=TaskManager(include_path=str(tmp_path), include_defaults=False),
        bootstrap_iters=0,
    )
    assert found["results"]["c4n_pairs"]["acc,none"] == 1
    assert len({json.loads(line)["answer"] for line in lines}) == 2


def asked(kind, *texts):
    from lm_eval.api.instance import Instance

    return [Instance(kind, {}, texts, 0)]


def text_of(ids):
    return " ".join(f"w{i}" for i in ids)


def test_what_is_longer_than_a_hybrids_context_is_read_as_lm_eval_does(hybrid_artifact, caplog):
    """A context loses its start; a whole text is read in windows."""
    from tvm_c4n.evaluate.lm_eval_model import C4nLM

    model, score = C4nLM(str(hybrid_artifact)), scorer(hybrid_artifact).score
    ids = np.random.default_rng(4).integers(1, 96, 150).tolist()
    with caplog.at_level(logging.WARNING):
        context, answer = text_of(ids[:100]), " " + text_of(ids[100:110])
        found = model.loglikelihood(asked("loglikelihood", context, answer), disable_tqdm=True)
    assert found == [continuation(score, [0, *ids[46:100]], ids[100:110])]
    assert caplog.messages == ["1 of 1 contexts were too long and lost their start"]
    windows = [([0], ids[:64]), (ids[63:64], ids[64:128]), (ids[85:128], ids[128:])]
    whole = asked("loglikelihood_rolling", text_of(ids))
    expected = sum(continuation(score, start, targets)[0] for start, targets in windows)
    assert model.loglikelihood_rolling(whole) == [pytest.approx(expected)]
    fits = asked("loglikelihood", text_of(ids[:1]), " " + text_of(ids[1:65]))
    assert model.loglikelihood(fits, disable_tqdm=True) == [continuation(score, [0], ids[1:65])]
    over = asked("loglikelihood", text_of(ids[:1]), " " + text_of(ids[1:66]))
    with pytest.raises(C4nError, match="an answer of 65 tokens: the model reads 64 at most"):
        model.loglikelihood(over, disable_tqdm=True)


def test_a_shorter_limit_may_be_chosen(hybrid_artifact, small_model):
    from tvm_c4n.evaluate.lm_eval_model import C4nLM

    ids = np.random.default_rng(5).integers(1, 96, 9).tolist()
    score = scorer(small_model, "torch").score
    model = C4nLM(str(small_model), backend="torch", max_length=4)
    question = asked("loglikelihood", text_of(ids[:7]), " " + text_of(ids[7:]))
    expected = continuation(score, [0, *ids[5:7]], ids[7:])
    assert model.loglikelihood(question, disable_tqdm=True)[0] == pytest.approx(expected)
    with pytest.raises(C4nError, match=r"max_length=65: .* reads texts of 2 to 64 tokens"):
        C4nLM(str(hybrid_artifact), max_length=65)


def test_prompts_are_continued_within_the_context(hybrid_artifact, small_model):
    from tvm_c4n import generate, load
    from tvm_c4n.evaluate.lm_eval_model import C4nLM

    model, engine = C4nLM(str(hybrid_artifact)), load(hybrid_artifact)
    ids = np.random.default_rng(6).integers(1, 96, 100).tolist()
    expected = "".join(generate(engine, ids[46:], 10))
    assert len(expected) > 20
    stop = expected[12:15]
    for until, text in ([[], expected], [["", stop], expected[: expected.index(stop)]]):
        asked_for = asked("generate_until", text_of(ids), {"until": until, "max_gen_toks": 10})
        assert model.generate_until(asked_for) == [text]
    drawn = asked("generate_until", text_of(ids[46:]), {"temperature": 0.8, "max_gen_toks": 10})
    assert model.generate_until(drawn) == ["".join(generate(engine, ids[46:], 10, temperature=0.8))]
    with pytest.raises(C4nError, match="max_gen_toks=256: the model reads 64 tokens at most"):
        model.generate_until(asked("generate_until", "w1", {"until": ["w2"]}))
    with pytest.raises(C4nError, match="torch generates no text"):
        C4nLM(str(small_model), backend="torch").generate_until(asked_for)


def test_a_chat_is_written_by_the_model_s_template(small_model, tmp_path):
    from tvm_c4n.evaluate.lm_eval_model import C4nLM

    folder = shutil.copytree(small_model, tmp_path / "model")
    template = "{% for m in messages %}w1 {{ m.content }} {% endfor %}"
    (folder / "chat_template.jinja").write_text(template)
    model = C4nLM(str(folder), backend="torch")
    assert (model.chat_template(False), model.chat_template(True)) == (None, template)
    assert model.apply_chat_template([{"role": "user", "content": "w2"}]) == "w1 w2 "
    with pytest.raises(C4nError, match="has no chat template"):
        C4nLM(str(small_model), backend="torch").chat_template(True)


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
