"""Error lines of the verbs that make models: prune, heal, inspect, compile."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from safetensors.numpy import load_file, save_file

from tests.cli.errors.case import Case

NO_FOLDER = (
    "none: no such folder; pass a folder with config.json and model.safetensors (download one with "
    "`hf download state-spaces/mamba-130m-hf --local-dir DIR`)"
)
COMPILED = "model.art: a compiled model; give the folder it was compiled from"
PRUNED = "give the model that it was made from, or train this one on with tvm-c4n heal"
NUMBER = "use a number, or in_proj=2,out_proj=1"


def prune(wrong: str, options: str, line: str) -> Case:
    """Prune ``model`` to ``out`` with more options."""
    return Case(wrong, f"prune model -o out {options}", line)


def heal(wrong: str, options: str, line: str) -> Case:
    """Heal ``pruned`` to ``out`` on the CPU with more options."""
    start = "heal pruned -o out --teacher model --data text.jsonl --device cpu"
    return Case(wrong, f"{start} {options}".strip(), line)


def recipe(wrong: str, text: str, line: str) -> Case:
    """Prune ``model`` by a file with a text."""
    return Case(
        wrong,
        "prune model -o out --recipe r.yaml",
        f"r.yaml: {line}",
        spoil=lambda folder: (folder / "r.yaml").write_text(text),
    )


def turn(folder: Path) -> None:
    """Make ``model`` one that was rotated."""
    config = json.loads((folder / "model/config.json").read_text())
    (folder / "model/config.json").write_text(json.dumps({**config, "c4n_head_map": True}))
    file, width = folder / "model/model.safetensors", config["hidden_size"]
    head_map = {"head_map.weight": np.eye(width, dtype=np.float16)}
    save_file({**load_file(file), **head_map}, file)


SHOWN = "`tvm-c4n prune MODEL --show-recipe` prints a recipe"
PRUNE = [
    Case("no such model", "prune none -o out", NO_FOLDER),
    Case(
        "a file",
        "prune text.jsonl -o out",
        "text.jsonl: not a folder; pass the folder that holds config.json",
    ),
    Case("an artifact", "prune model.art -o out", COMPILED),
    prune("no such device to prune on", "--device tpu", "device 'tpu' is not cpu or cuda"),
    Case(
        "pruned already",
        "prune pruned -o out",
        f"pruned: pruned or quantised already (n=0 int8, n=2 int8); {PRUNED}",
    ),
    Case(
        "a pruned model's dense export",
        "prune pruned/dense -o out",
        f"pruned/dense: pruned or quantised already (n=2); {PRUNED}",
    ),
    Case(
        "OUT is there",
        "prune model -o pruned",
        "HERE/pruned: not empty; pick another folder, or replace it with --overwrite",
    ),
    Case(
        "OUT is a file",
        "prune model -o text.jsonl",
        "HERE/text.jsonl: is a file; name a folder to write",
    ),
    Case(
        "OUT is another kind of folder",
        "prune model -o model.art --overwrite",
        "HERE/model.art: holds something else than what is written here, so it is not "
        "overwritten; empty it or pick another folder",
    ),
    Case("OUT is the root", "prune model -o /", "/: cannot be replaced; name a folder to write"),
    prune("n above 3", "--removed 4", "removed=4: 0, 1, 2 or 3 of every 4 can be removed"),
    prune("n is a word", "--removed two", f"--removed: 'two' is not a number; {NUMBER}"),
    prune(
        "a projection without n",
        "--removed in_proj=2,",
        f"--removed in_proj=2,: cannot read ''; {NUMBER}",
    ),
    prune(
        "no projection",
        "--removed lm_head=1",
        "removed: 'lm_head' names no projection; use in_proj, x_proj, dt_proj, out_proj or "
        "layers.3.out_proj",
    ),
    prune(
        "no such layer",
        "--removed layers.9.in_proj=1",
        "removed: 'layers.9.in_proj': the model has 2 layers",
    ),
    prune(
        "no such method",
        "--method best",
        "method='best': Input should be 'obs', 'sparsegpt', 'wanda' or 'magnitude'",
    ),
    prune(
        "no such dtype",
        "--dtype int5",
        "dtype='int5': Input should be 'float16', 'int8', 'int4', 'int3' or 'int2'",
    ),
    prune(
        "no such part of the method",
        "--without magic",
        "without='magic': Input should be 'permute', 'corrected_target', 'rms', 'joint', 'refit', "
        "'reselect', 'error_feedback' or 'scales'",
    ),
    prune(
        "parts of another method", "--method wanda --without rms", "--without needs --method obs"
    ),
    prune("a repair of another method", "--method wanda --repair 8", "--repair needs --method obs"),
    prune(
        "a repair of what is only rounded",
        "--removed 0 --dtype int8 --repair 8 --samples 4 --calibration text.jsonl",
        "repair: the recipe removes nothing and leaves 8 bits or more, which is rounded without "
        "calibration; set repair to 0",
    ),
    Case(
        "a rotation of a rotated model",
        "prune model -o out --rotate --samples 4 --calibration text.jsonl",
        "model: is rotated already; set rotate to false",
        spoil=turn,
    ),
    prune("no windows", "--samples 0", "samples=0: Input should be greater than or equal to 1"),
    prune("a sparsity above 3/4", "--sparsity 0.9", "sparsity 0.9: use a value in (0, 0.75]"),
    prune("two budgets", "--sparsity 0.3 --size 1MB", "--sparsity, --size: one budget at a time"),
    prune("a size without a unit", "--size 9", "--size 9: use a number and KB, MB, GB"),
    prune(
        "a size that no recipe reaches",
        "--size 1KB --samples 4 --calibration text.jsonl",
        "size 0.001MB: the smallest is 0.01MB",
    ),
    prune(
        "a latency without a device",
        "--latency 8ms",
        "--latency needs the table of a device: --latency-table DIR",
    ),
    prune(
        "no such latency table",
        "--latency 8ms --latency-table nowhere",
        "nowhere: missing file; measure it again with `tvm-c4n tune --latency-table`",
    ),
    prune(
        "a latency of nobody knows what",
        "--latency 8ms:512+128 --latency-table nowhere",
        "--latency 8ms:512+128: cannot read '512'; after the colon say what takes that time: "
        "pp512+tg128 (a prompt of 512 tokens, 128 generated ones), or one of both",
    ),
    prune("a table for nothing", "--latency-table nowhere", "--latency-table needs --latency"),
    prune("better than dense", "--ppl-ratio 0.9", "ppl-ratio 0.9: use a value in (1, 1e+06]"),
    prune(
        "a pattern and a budget",
        "--removed 2 --size 1MB",
        "--removed and --size exclude each other: both say how much goes; give one of them",
    ),
    prune(
        "a pattern and a sparsity",
        "--removed 2 --sparsity 0.3",
        "--removed and --sparsity exclude each other: both say how much goes; give one of them",
    ),
    prune(
        "a dtype and a budget that chooses it",
        "--dtype int8 --ppl-ratio 1.1",
        "--dtype and --ppl-ratio exclude each other: the budget chooses the dtype too; give one of "
        "them",
    ),
    prune("no such text", "--calibration none.txt", "none.txt: missing file; give a text file"),
    prune(
        "too little text",
        "--calibration text.jsonl",
        "text.jsonl: 4040 tokens are too few for 128 windows of 256; give more text or set samples "
        "to at most 15",
    ),
    prune(
        "too little text to measure a ratio on",
        "--ppl-ratio 1.1 --samples 4 --calibration text.jsonl",
        "text.jsonl: 4040 tokens are too few for 4 windows of 256 and 16 more to measure on; give "
        "more text",
    ),
    prune(
        "a folder of something else to resume from",
        "--resume model",
        "model: holds other files; give an empty or a new folder",
    ),
    prune("no such recipe", "--recipe none.yaml", f"none.yaml: missing file; {SHOWN}"),
    recipe(
        "a recipe with a key that there is not: `sampels: 4`",
        "sampels: 4",
        "sampels=4: a recipe has no such key; the nearest is samples",
    ),
    recipe(
        "a recipe with a wrong value: `dtypes: {in_proj: int5}`",
        "dtypes: {in_proj: int5}",
        "dtypes.in_proj='int5': Input should be 'float16', 'int8', 'int4', 'int3' or 'int2'",
    ),
    recipe(
        "a recipe that is no YAML",
        "removed: [2",
        "not valid YAML (line 1: while parsing a flow sequence, expected ',' or ']', but got "
        f"'<stream end>'); {SHOWN}",
    ),
    prune(
        "a recipe, and an option that says the same",
        "--recipe r.yaml --dtype int4",
        "--recipe and --dtype exclude each other: the file says that; give one of them",
    ),
    prune(
        "a recipe to be shown, and a folder to write",
        "--show-recipe",
        "--show-recipe and --out exclude each other: it writes no model; give one of them",
    ),
    Case(
        "nowhere to write",
        "prune model",
        "give --out FOLDER to write to, or --show-recipe",
    ),
]

HEAL = [
    Case(
        "not a pruned model",
        "heal model -o out --teacher model --data text.jsonl --device cpu",
        "model: not a pruned folder; make one with tvm-c4n prune",
    ),
    heal("no such text", "--data none.txt", "none.txt: missing file; give a text file"),
    heal(
        "a text to judge by without a name",
        "--judge text.jsonl",
        "--judge text.jsonl: give NAME=FILE, for example books=books.txt",
    ),
    heal(
        "two of a name",
        "--judge a=text.jsonl --judge a=none.txt",
        "--judge a=none.txt: the name a is given twice",
    ),
    heal(
        "no such text to judge by",
        "--window 16 --batch 2 --held-out 2 --tokens 64 --judge a=none.txt",
        "none.txt: missing file; give a text file",
    ),
    heal("no such device", "--device tpu", "device 'tpu' is not cpu or cuda"),
    heal(
        "parts of a batch",
        "--accumulate 3",
        "a batch of 64 has no 3 equal parts, for 1 process(es) that accumulate 3; change batch or "
        "accumulate",
    ),
    heal(
        "shards of one process",
        "--shard",
        "shard needs torchrun: torchrun --nproc-per-node 2 --no-python tvm-c4n heal ...",
    ),
    heal("less than a step", "--tokens 10", "tokens is 10, less than one step of 64 x 1024"),
    heal("an odd window", "--window 7", "window=7: Input should be a multiple of 4"),
    heal("no learning", "--lr 0", "lr=0.0: Input should be greater than 0"),
    heal("no share", "--label-loss 2", "label_loss=2.0: Input should be less than or equal to 1"),
    heal("empty steps", "--batch 0", "batch=0: Input should be greater than or equal to 1"),
    heal(
        "too little text",
        "",
        "the text has 4040 tokens, 3 windows of 1024; 128 are needed (batch and held_out): give "
        "more text or smaller settings",
    ),
    heal(
        "another model as the teacher",
        "--teacher pruned",
        "pruned: is pruned itself; the teacher is the dense model that was pruned",
    ),
]

PLAN = [
    Case("no such model", "plan none", NO_FOLDER),
    Case("an artifact", "plan model.art", COMPILED),
    Case(
        "another file",
        "plan text.jsonl",
        "text.jsonl: not a folder; pass the folder that holds config.json",
    ),
    Case(
        "a limit of texts where there is none",
        "plan model/config.json --context 4096",
        "context 4096: this model has no attention, so it reads texts of any length; leave it out",
    ),
    Case(
        "more threads than cores",
        "plan model --threads 64",
        "threads is 64; this machine takes 1 to 2",
    ),
]

INSPECT = [
    Case("no such model", "inspect none", NO_FOLDER),
    Case(
        "a file",
        "inspect text.jsonl",
        "text.jsonl: not a folder; pass the folder that holds config.json",
    ),
    Case("measuring for nothing", "inspect pruned --measure", "--measure needs --html"),
    Case(
        "a damaged report",
        "inspect pruned --html page.html",
        "pruned/report.json: JSON is not an object; prune again, or remove it",
        spoil=lambda folder: (folder / "pruned" / "report.json").write_text("[]"),
    ),
    Case(
        "nowhere to write a page",
        "inspect pruned --html none/page.html",
        "none/page.html: cannot write: No such file or directory",
    ),
]

COMPILE = [
    Case("an artifact", "compile model.art -o out", COMPILED),
    Case(
        "no such target",
        "compile model -o out --target vax",
        "unknown target 'vax'; known are host, arm64-linux, arm64-android, arm64-linux-i8mm, "
        "adreno, tags such as c4n/cortex-x4, or pass a tvm.target.Target",
    ),
    Case(
        "no such dtype",
        "compile model -o out --dtype int1",
        "dtype is 'int1'; known are float16, float32",
    ),
    Case(
        "a limit of texts where there is none",
        "compile model -o out --context 4096",
        "context 4096: this model has no attention, so it reads texts of any length; leave it out",
    ),
    Case(
        "a dtype of states that are not there",
        "compile model -o out --kv-dtype float16",
        "kv dtype float16: this model (mamba) has no attention; leave it out",
    ),
    Case(
        "no such records",
        "compile model -o out --records none",
        "none/manifest.json: missing file; 'tvm-c4n tune' makes folders of records: give one, or "
        "delete it and tune again",
    ),
    Case(
        "OUT is there",
        "compile model -o model.art",
        "HERE/model.art: not empty; pick another folder, or replace it with --overwrite",
    ),
]
