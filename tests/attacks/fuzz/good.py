"""Good files of every kind, as small as they can be: what the fuzz copies and spoils.

Each is made when it is first asked for, in a process of its own: the fuzz forks, so it may have no
threads, and torch and TVM start some as soon as they compute.
"""

from __future__ import annotations

import bz2
import json
import os
import shutil
import subprocess
import traceback
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np

from tests.models import HF, write_byte_tokenizer, write_model, write_tokenizer, write_words

Maker = Callable[[Path], None]
MAKERS: dict[str, Maker] = {}


class Good:
    """The good files in a folder, by name."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def path(self, name: str) -> Path:
        """Make the file or folder of a name, unless it is there, and return it."""
        path = self.folder / name
        if not path.exists():
            process = os.fork()
            if process == 0:
                try:
                    MAKERS[name](path)
                except BaseException:
                    traceback.print_exc()
                    os._exit(1)
                os._exit(0)
            if os.waitpid(process, 0)[1] or not path.exists():
                raise RuntimeError(f"the good {name} could not be made")
        return path


def maker(name: str, *needs: str) -> Callable[[Maker], Maker]:
    """Register what makes the file of a name, after others that it needs beside it."""

    def register(make: Maker) -> Maker:
        def first(path: Path) -> None:
            for need in needs:
                Good(path.parent).path(need)
            make(path)

        MAKERS[name] = first
        return make

    return register


@maker("hf")
def _(path: Path) -> None:
    """A Hugging Face folder with all small files that are read."""
    write_model(path, {**HF, "eos_token_id": 0})
    write_tokenizer(path)
    _write(path / "generation_config.json", {"bos_token_id": 0, "eos_token_id": [0]})
    _write(path / "tokenizer_config.json", {"bos_token": "<|endoftext|>", "eos_token": None})
    (path / "chat_template.jinja").write_text(
        "{% for m in messages %}{{ bos_token ~ m.content | trim }}{% endfor %}"
    )


@maker("m.gguf", "hf")
def _(path: Path) -> None:
    """The same in one file of llama.cpp's, with a vocabulary of bytes."""
    from gguf import GGMLQuantizationType

    from tests.frontend.gguf.made import write_gguf

    write_gguf(path.with_name("hf"), path, GGMLQuantizationType.Q8_0, vocabulary=True)


@maker("sharded", "hf")
def _(path: Path) -> None:
    """The same in two shards behind an index."""
    from safetensors.numpy import load_file, save_file

    hf = path.with_name("hf")
    shutil.copytree(hf, path, ignore=shutil.ignore_patterns("*.safetensors"))
    tensors = sorted(load_file(hf / "model.safetensors").items())
    where = {}
    for number, part in enumerate((tensors[::2], tensors[1::2]), 1):
        name = f"model-{number:05d}-of-00002.safetensors"
        save_file(dict(part), path / name, metadata={"format": "pt"})
        where |= dict.fromkeys(dict(part), name)
    _write(path / "model.safetensors.index.json", {"weight_map": where})


@maker("original")
def _(path: Path) -> None:
    """A folder as state-spaces publishes it, its weights in a pickle."""
    from tests.frontend.original.made import MAMBA2, write_original

    write_original(path, MAMBA2)


@maker("codestral")
def _(path: Path) -> None:
    """A folder as Mistral publishes it."""
    from tests.frontend.original.made import CODESTRAL, write_original

    write_original(path, CODESTRAL)


@maker("words.jsonl")
def _(path: Path) -> None:
    write_words(path, documents=6)


@maker("words.txt", "words.jsonl")
def _(path: Path) -> None:
    lines = path.with_suffix(".jsonl").read_text().splitlines()
    path.write_text("\n<|endoftext|>\n".join(json.loads(line)["text"] for line in lines))


@maker("tasks.jsonl")
def _(path: Path) -> None:
    items: list[dict[str, Any]] = [
        {"context": "w1 w2", "options": ["w3", "w4 w5"], "answer": 1},
        {"context": ["w6", "w7"], "options": ["w8", "w9"], "answer": 0},
        {"context": "", "options": ["w10"], "answer": 0},
    ]
    path.write_text("".join(json.dumps(item) + "\n" for item in items))


@maker("tokens.u16")
def _(path: Path) -> None:
    np.random.default_rng(1).integers(0, 96, 600).astype("<u2").tofile(path)


@maker("tokens.u16.bz2", "tokens.u16")
def _(path: Path) -> None:
    path.write_bytes(bz2.compress(path.with_suffix("").read_bytes()))


@maker("n2", "hf", "words.jsonl")
def _(path: Path) -> None:
    """A C4n folder."""
    from tvm_c4n.pruning import Recipe, prune

    recipe = Recipe(removed=2, dtype="int8", samples=4, sample_tokens=32)
    beside = path.parent
    prune(beside / "hf", path, recipe, calibration=beside / "words.jsonl", dense_export=False)


@maker("art", "n2")
def _(path: Path) -> None:
    """An artifact."""
    from tvm_c4n.compile.artifact import compile_model

    compile_model(path.with_name("n2"), path)


@maker("spoken", "art")
def _(path: Path) -> None:
    """An artifact whose tokenizer the runner without Python reads."""
    shutil.copytree(path.with_name("art"), path)
    write_byte_tokenizer(path)


@maker("c4n.state", "spoken", "runner")
def _(path: Path) -> None:
    """A state that the runner saved."""
    command = [path.with_name("runner") / "c4n_run", path.with_name("spoken"), "-p", "the"]
    subprocess.run([*command, "--save-state", path], check=True, capture_output=True)


@maker("text.state.safetensors", "art")
def _(path: Path) -> None:
    """The state of a chat."""
    from tvm_c4n.runtime.engine import Engine
    from tvm_c4n.runtime.prefix_cache import Kept
    from tvm_c4n.runtime.saved_state import save_state

    engine, ids = Engine.load(path.with_name("art"), threads=1), [0, 1, 2, 3]
    logits = engine.prefill(ids)
    messages = [{"role": "user", "content": "w1"}, {"role": "assistant", "content": "w2"}]
    save_state(path, ids, Kept(engine.state(), logits), engine.config, messages)


@maker("prompts.jsonl")
def _(path: Path) -> None:
    lines: list[dict[str, Any]] = [
        {"prompt": "w1 w2", "id": 1},
        {"messages": [{"role": "user", "content": "w1"}]},
    ]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))


@maker("cache", "n2")
def _(path: Path) -> None:
    """A cache of compiled models with one entry."""
    from tvm_c4n.compile.cache import cached_artifact

    os.environ["XDG_CACHE_HOME"] = str(path)
    cached_artifact(path.with_name("n2"))


@maker("runner")
def _(path: Path) -> None:
    """The runner without Python."""
    from tvm_c4n.compile.native import build_runner

    build_runner(path)


@maker("records", "n2")
def _(path: Path) -> None:
    """Records of tuning with MetaSchedule's database and a comparison."""
    from tvm_c4n.tuning.run import tune
    from tvm_c4n.tuning.runners import kill_workers, local_runner

    runner = local_runner(1, timeout_secs=120, samples=1)
    tune(path.with_name("n2"), runner=runner, records=path, trials=2, batch=2, cold_bytes=0)
    kill_workers(runner)


@maker("latency.json")
def _(path: Path) -> None:
    """A latency table of the small model, with invented times."""
    from tvm_c4n.model.families import describe_model
    from tvm_c4n.pruning.allocation.latency import Rest

    config = describe_model(HF)
    named = config.tensor_shapes()
    shapes = {named[name] for name in config.weights()}
    secs = {"min": 1e-6, "median": 1e-6, "max": 2e-6}
    both = {"seconds": secs, "prompt_seconds": secs}
    rows = [
        {"rows": r, "cols": c, "removed": n, "dtype": d, "threads": 1, **both}
        for r, c in sorted(shapes)
        for n in range(4)
        for d in ("int2", "int3", "int4", "int8", "float16")
    ]
    rest = {**Rest.sizes_of(config), "threads": 1, **both}
    check = {"removed": 0, "dtype": "int4", "threads": 1, **both}
    check |= {"predicted": 2e-5, "prompt_predicted": 2e-5}
    table = {"format": 3, "target": {}, "emulated": False, "rows": rows, "rest": [rest]}
    _write(path, table | {"checks": [check], "others_cores": 0.0})


@maker("recipe.json")
def _(path: Path) -> None:
    """A recipe with exceptions."""
    from tvm_c4n.pruning import Recipe

    removed = {"in_proj": 2, "layers.1.out_proj": 1}
    recipe = Recipe(removed=removed, dtype="int4", dtypes={"head": "int8"}, samples=2)
    _write(path, recipe.model_dump(mode="json"))


@maker("recipe.yaml", "recipe.json")
def _(path: Path) -> None:
    """The same in YAML."""
    from tvm_c4n.pruning import Recipe

    path.write_text(Recipe.from_file(path.with_suffix(".json")).to_yaml())


@maker("reported", "hf", "words.jsonl")
def _(path: Path) -> None:
    """A C4n folder that was made to a size, with both reports."""
    from tvm_c4n.pruning import Recipe, prune
    from tvm_c4n.pruning.allocation.budget import Budget

    text, budget = path.with_name("words.jsonl"), Budget("size", 22e3)
    prune(path.with_name("hf"), path, Recipe(samples=2), budget=budget, calibration=text)


@maker("layers", "hf", "words.jsonl")
def _(path: Path) -> None:
    """What a prune keeps that was stopped after its first layer."""
    from tvm_c4n.pruning import Recipe, prune
    from tvm_c4n.pruning.allocation.budget import Budget
    from tvm_c4n.pruning.resume import ResumeFolder

    keep = ResumeFolder.keep

    def keep_and_stop(self: ResumeFolder, layer: Any) -> None:
        keep(self, layer)
        raise KeyboardInterrupt

    ResumeFolder.keep = keep_and_stop  # type: ignore[method-assign]
    beside = path.parent
    out, text = beside / "unfinished", beside / "words.jsonl"
    budget = Budget("size", 22e3)
    with suppress(KeyboardInterrupt):
        prune(beside / "hf", out, Recipe(samples=2), budget=budget, calibration=text, resume=path)


@maker("healed.healing.safetensors", "n2", "hf", "tokens.u16")
def _(path: Path) -> None:
    """The state of a healing that was stopped at its tenth step."""
    from tvm_c4n.healing import HealSettings, heal

    def stop(what: str, done: int, total: int) -> None:
        if what.startswith("loss") and done >= 10:
            raise KeyboardInterrupt

    beside = path.parent
    settings = HealSettings(tokens=12 * 32, batch=2, window=16, held_out=4, save_steps=5)
    data = [beside / "tokens.u16"]
    with suppress(KeyboardInterrupt):
        heal(beside / "n2", beside / "healed", beside / "hf", data, settings, progress=stop)


def _write(path: Path, value: object) -> None:
    path.write_text(json.dumps(value))
