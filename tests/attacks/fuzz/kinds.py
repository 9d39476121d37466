"""The kinds of files: which of them are spoiled, and which verbs then read them."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from random import Random

from tests.attacks.fuzz.good import Good
from tests.attacks.fuzz.mutations import spoil

# One thread and as little work as there can be.
_PRUNE = "prune hf -o out --samples 2 --calibration words.jsonl"
_HEAL = (
    "heal n2 -o healed --teacher hf --data {data} --device cpu --tokens 384 --batch 2 --window 16 "
    "--held-out 4 --save-steps 5"
)
_RUN = "run {model} -p w1 -n 3 -t 1"
_CHAT = "run {0} --chat -p w1 -n 3 -t 1"
_PROMPTS = "run art --jsonl prompts.jsonl -n 3 -t 1"
_EVAL = "eval {model} --text {text} --window 16 --max-windows 2"
_TORCH = _EVAL + " --backend torch"
_TASKS = "eval {model} --tasks tasks.jsonl -t 1"
_ARTIFACT = (
    _RUN.format(model="art"),
    "run art -p w1 -n 3 -t 2 --temp 0.8",
    "inspect art",
    _EVAL.format(model="art", text="words.txt") + " -t 1",
    "bench art -t 1 --n-prompt 4 --n-gen 2 -r 1 -o json",
    "deploy art --device rpc://127.0.0.1:1 -p w1",
)


@dataclass(frozen=True)
class Kind:
    """A kind of file.

    Attributes
    ----------
    name : str
    needs : tuple of str
        Names in `tests.attacks.fuzz.good`: what lies in the folder in which the verb runs.
    spoiled : tuple of str
        Patterns of the files, one of which is spoiled.
    verbs : tuple of str
        Command lines, one of which is run. One that does not start with a verb is a program.
    weight : int
        How often the kind is taken.
    """

    name: str
    needs: tuple[str, ...]
    spoiled: tuple[str, ...]
    verbs: tuple[str, ...]
    weight: int


_ART = ("art/manifest.json", "art/manifest.json", "art/weights.bin", "art/model-*.so")
_TEXT_FILES = ("{}/tokenizer.json", "{}/config.json", "{}/*_config.json", "{}/chat_*")
_HF_VERBS = ("inspect {0}", "inspect {0}", _TORCH.format(model="{0}", text="words.txt"))


def _of(folder: str, patterns: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(pattern.format(folder) for pattern in patterns)


KINDS = (
    Kind(
        "model",
        ("hf", "words.jsonl", "words.txt"),
        _of("hf", (*_TEXT_FILES, "{}/model.safetensors", "{}/model.safetensors")),
        (*_of("hf", _HF_VERBS), _PRUNE, _PRUNE, "compile hf -o out", *_of("hf", (_CHAT,))),
        16,
    ),
    Kind(
        "shards",
        ("sharded", "words.txt"),
        ("sharded/*.safetensors", "sharded/*.index.json"),
        _of("sharded", _HF_VERBS),
        8,
    ),
    Kind(
        "original",
        ("original", "codestral"),
        ("original/config.json", "original/pytorch_model.bin", "codestral/*.*"),
        ("convert original -o out", "convert codestral -o out", "inspect original"),
        6,
    ),
    Kind("gguf", ("m.gguf",), ("m.gguf",), ("convert m.gguf -o out", "inspect m.gguf"), 6),
    Kind(
        "c4n",
        ("n2", "hf", "words.txt", "tokens.u16"),
        _of("n2", (*_TEXT_FILES, "{}/c4n.json", "{}/c4n.json", "{}/model.safetensors")),
        (*_of("n2", _HF_VERBS), "compile n2 -o out", _HEAL.format(data="tokens.u16")),
        14,
    ),
    Kind(
        "artifact",
        ("art", "words.txt"),
        (*_ART, *_ART, "art/tokenizer.json", "art/chat_template.jinja"),
        (*_ARTIFACT, *_of("art", (_CHAT,))),
        16,
    ),
    Kind(
        "artifact, c4n_run",
        ("art", "runner"),
        _ART,
        ("runner/c4n_run art -n 3 -t 1", "runner/c4n_run art --bench -p 3 -g 2 -r 1 -t 1"),
        14,
    ),
    Kind(
        "text, c4n_run",
        ("spoken", "runner", "c4n.state"),
        ("spoken/tokenizer.json", "spoken/tokenizer.json", "c4n.state"),
        (
            "runner/c4n_run spoken -p the -n 3 -t 1",
            "runner/c4n_run spoken -p and -n 3 -t 1 --load-state c4n.state",
        ),
        8,
    ),
    Kind(
        "cache",
        ("cache", "n2"),
        ("cache/tvm-c4n/artifacts/*/n2/*",),
        (_RUN.format(model="n2"),),
        2,
    ),
    Kind(
        "records",
        ("records", "n2"),
        ("records/manifest.json", "records/best.json", "records/confirmations.json"),
        ("records records", "records records --export out", "compile n2 -o out --records records"),
        6,
    ),
    Kind(
        "database",
        ("records",),
        ("records/database_*.json", "records/confirmations.json"),
        ("records records --merge-into all", "records records --merge-into records"),
        8,
    ),
    Kind(
        "recipe",
        ("recipe.yaml", "recipe.json", "hf", "words.jsonl"),
        ("recipe.yaml", "recipe.json"),
        tuple(
            f"prune hf {rest} --recipe recipe.{name}"
            for name in ("yaml", "json")
            for rest in ("--show-recipe", "--show-recipe", "-o out --calibration words.jsonl")
        ),
        6,
    ),
    Kind(
        "reports",
        ("reported",),
        ("reported/report.json", "reported/allocation.json"),
        ("inspect reported --html page.html",),
        4,
    ),
    Kind(
        "latency table",
        ("latency.json", "hf", "words.jsonl"),
        ("latency.json",),
        (f"{_PRUNE} --latency 100us --latency-table latency.json",),
        5,
    ),
    Kind(
        "unfinished prune",
        ("layers", "hf", "words.jsonl"),
        ("layers/*.json", "layers/*.safetensors"),
        (f"{_PRUNE} --size 22KB --resume layers",),
        8,
    ),
    Kind(
        "unfinished heal",
        ("healed.healing.safetensors", "n2", "hf", "tokens.u16"),
        ("healed.healing.safetensors",),
        (_HEAL.format(data="tokens.u16"),),
        6,
    ),
    Kind(
        "text",
        ("words.jsonl", "words.txt", "hf", "n2"),
        ("words.jsonl", "words.txt"),
        (
            _PRUNE,
            _PRUNE.replace("jsonl", "txt"),
            _TORCH.format(model="hf", text="words.txt"),
            _TORCH.format(model="hf", text="words.jsonl"),
            _HEAL.format(data="words.jsonl"),
        ),
        8,
    ),
    Kind(
        "state",
        ("text.state.safetensors", "art"),
        ("text.state.safetensors",),
        (
            _RUN.format(model="art") + " --load-state text.state.safetensors",
            "run art --chat -p w1 -n 3 -t 1 --load-state text.state.safetensors",
            "chat art -n 3 -t 1 --load-state text.state.safetensors",
        ),
        8,
    ),
    Kind("prompts", ("prompts.jsonl", "art"), ("prompts.jsonl",), (_PROMPTS,), 5),
    Kind("tasks", ("tasks.jsonl", "art"), ("tasks.jsonl",), (_TASKS.format(model="art"),), 6),
    Kind(
        "tokens",
        ("tokens.u16", "tokens.u16.bz2", "n2", "hf"),
        ("tokens.u16", "tokens.u16.bz2"),
        (_HEAL.format(data="tokens.u16"), _HEAL.format(data="tokens.u16.bz2")),
        5,
    ),
    Kind(
        "library",
        ("runner",),
        ("runner/libtvm_*.so",),
        ("runner -o out --runtime runner",),
        1,
    ),
)


@dataclass(frozen=True)
class Input:
    """One input: a folder with a spoiled file, and what is run in it.

    Attributes
    ----------
    kind, spoiled, mutation : str
        What was spoiled, and how.
    command : tuple of str
    """

    kind: str
    spoiled: str
    mutation: str
    command: tuple[str, ...]


def draw(random: Random, good: Good, folder: Path, kinds: tuple[Kind, ...] = KINDS) -> Input:
    """Make an input in an empty folder."""
    kind = random.choices(kinds, [kind.weight for kind in kinds])[0]
    for need in kind.needs:
        _copy(good.path(need), folder / need)
    pattern = random.choice([p for p in kind.spoiled if any(folder.glob(p))])
    victim = random.choice(sorted(folder.glob(pattern)))
    command = tuple(random.choice(kind.verbs).split())
    return Input(kind.name, str(victim.relative_to(folder)), spoil(victim, random), command)


def _copy(source: Path, target: Path) -> None:
    if source.is_dir():
        shutil.copytree(source, target)
    else:
        shutil.copy2(source, target)


def files_under(folder: Path) -> Iterator[Path]:
    """Everything in a folder and its folders, without following links."""
    for entry in sorted(folder.iterdir()):
        yield entry
        if entry.is_dir() and not entry.is_symlink():
            yield from files_under(entry)
