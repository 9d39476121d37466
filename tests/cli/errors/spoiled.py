"""Error lines about what files hold, and about what is not installed."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
from safetensors.numpy import load_file, save_file

from tests.cli.errors.case import Case
from tvm_c4n.model.families import FAMILIES

Spoil = Callable[[Path], object]
LFS = "version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 5\n"
LFS_LINE = (
    "a Git LFS pointer, not the file itself; run `git lfs pull` in its repository, or download the "
    "file again"
)
ITEM = '{"context": "...", "options": ["..."], "answer": 0}'


def put(name: str, content: str | bytes) -> Spoil:
    """Write a file."""
    data = content if isinstance(content, bytes) else content.encode()
    return lambda folder: (folder / name).write_bytes(data)


def remove(name: str) -> Spoil:
    """Remove a file."""
    return lambda folder: (folder / name).unlink()


def rename(name: str, to: str) -> Spoil:
    """Rename a file."""
    return lambda folder: (folder / name).rename(folder / to)


def edit(name: str, **values: object) -> Spoil:
    """Change values of a JSON file."""

    def change(folder: Path) -> None:
        content = json.loads((folder / name).read_text())
        (folder / name).write_text(json.dumps({**content, **values}))

    return change


def cut(folder: Path) -> None:
    """Cut the end of the weights off."""
    weights = folder / "model/model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-9])


def fill(folder: Path, name: str, value: float) -> None:
    """Fill a tensor."""
    path = folder / "model/model.safetensors"
    tensors = load_file(path)
    tensors[name] = np.full_like(tensors[name], value)
    save_file(tensors, path, metadata={"format": "pt"})


def folder(wrong: str, spoil: Spoil, line: str, verb: str = "prune") -> Case:
    """Give ``model`` to a verb, with something wrong in it."""
    return Case(
        wrong, "inspect model" if verb == "inspect" else f"{verb} model -o out", line, spoil=spoil
    )


def artifact(wrong: str, spoil: Spoil, line: str) -> Case:
    """Run ``model.art`` with something wrong in it."""
    return Case(wrong, "run model.art", line, spoil=spoil)


FOLDERS = [
    folder(
        "no config.json",
        remove("model/config.json"),
        "model/config.json: missing file; save or download the model again",
    ),
    folder(
        "a config.json that Python printed",
        put("model/config.json", "{'a': 1}"),
        "model/config.json: not valid JSON (Expecting property name enclosed in double quotes: "
        "column 2); save or download the model again",
    ),
    folder(
        "a family with a similar name",
        edit("model/config.json", model_type="mamba3"),
        f"model/config.json: model_type 'mamba3' is not supported, only: {', '.join(FAMILIES)}; "
        "the nearest that works is mamba",
    ),
    folder(
        "a config.json of state-spaces",
        put("model/config.json", '{"ssm_cfg": {}}'),
        "model/config.json: in the format of its authors, not of Hugging Face; convert it with "
        "`tvm-c4n convert model -o model-hf`",
    ),
    folder(
        "a config.json of another model",
        edit("model/config.json", hidden_size=64),
        "tensor backbone.embeddings.weight has shape [96, 32]; config.json asks for [96, 64]",
    ),
    folder(
        "an end of texts that is no token",
        edit("model/config.json", eos_token_id=1000),
        "model/config.json: eos_token_id is 1000; it should be a token from 0 to 95, or a list of "
        "such",
    ),
    folder(
        "no weights",
        remove("model/model.safetensors"),
        "model: neither model.safetensors nor model.safetensors.index.json is here; download the "
        "model again",
    ),
    folder(
        "weights that would execute code",
        rename("model/model.safetensors", "model/pytorch_model.bin"),
        "model/pytorch_model.bin: only pickle weights here, and unpickling executes code from the "
        "file, so they are not read; use the `-hf` repository with safetensors, or convert with "
        "`model.save_pretrained(DIR, safe_serialization=True)`",
    ),
    folder(
        "weights that Git LFS has not fetched",
        put("model/model.safetensors", LFS),
        f"model/model.safetensors: {LFS_LINE}",
        "compile",
    ),
    folder(
        "a web page as the weights",
        put("model/model.safetensors", "<!doctype html><html>"),
        "model/model.safetensors: a web page, not the file itself; download the file, not the page "
        "that shows it",
    ),
    folder(
        "weights that were cut off",
        cut,
        "model/model.safetensors: truncated, tensors need 39872 bytes and 39863 are there; "
        "download or save the model again",
    ),
    folder(
        "weights that are no numbers",
        partial(fill, name="backbone.norm_f.weight", value=np.nan),
        "tensor backbone.norm_f.weight has nan at [0]; the model is damaged or its training "
        "diverged",
        "compile",
    ),
    folder(
        "weights of nothing",
        partial(fill, name="backbone.embeddings.weight", value=0),
        "tensor backbone.embeddings.weight is all zeros; the model was never trained",
    ),
    *(
        folder(
            "no tokenizer.json",
            remove("model/tokenizer.json"),
            "model/tokenizer.json: missing file; copy the model's tokenizer.json there",
            verb,
        )
        for verb in ("prune", "inspect", "compile")
    ),
    folder(
        "a sentencepiece tokenizer only",
        rename("model/tokenizer.json", "model/tokenizer.model"),
        "model/tokenizer.json: missing file, and tokenizer.model is not read; make it with "
        "transformers: AutoTokenizer.from_pretrained(DIR).save_pretrained(DIR)",
    ),
    folder(
        "a tokenizer that Git LFS has not fetched",
        put("model/tokenizer.json", LFS),
        f"model/tokenizer.json: {LFS_LINE}",
        "inspect",
    ),
]

ARTIFACTS = [
    *(
        Case(wrong, "run model.art --chat -p w1", f"model.art/chat_template.jinja: {said}", spoil=s)
        for wrong, s, said in (
            (
                "a chat template that refuses",
                put("model.art/chat_template.jinja", "{{ raise_exception('No users.') }}"),
                "the chat template says: No users.",
            ),
            (
                "a chat template that was cut off",
                put("model.art/chat_template.jinja", "{% if messages %}\n{{ messages"),
                "the chat template line 2: unexpected end of template, expected 'end of print "
                "statement'.",
            ),
            (
                "a chat template that eats memory",
                put("model.art/chat_template.jinja", "{{ 'a' * 10 ** 10 }}"),
                "the chat template takes too much memory",
            ),
        )
    ),
    artifact(
        "no manifest",
        remove("model.art/manifest.json"),
        "model.art/config.json: missing file; save or download the model again",
    ),
    artifact(
        "another format",
        edit("model.art/manifest.json", format=99),
        "model.art/manifest.json has format 99, this version reads 1",
    ),
    artifact(
        "compiled for another machine",
        edit("model.art/manifest.json", triple="riscv64-linux-gnu"),
        "model.art was compiled for riscv64-linux-gnu, this machine is MACHINE: compile with "
        "--target host",
    ),
    artifact(
        "compiled for a newer processor",
        edit("model.art/manifest.json", features=["amx-of-tomorrow"]),
        "model.art needs CPU features that this machine lacks (amx-of-tomorrow): compile again "
        "here",
    ),
    artifact(
        "no weights",
        remove("model.art/weights.bin"),
        "model.art/weights.bin: missing file; compile the model again",
    ),
    artifact(
        "no tokenizer",
        remove("model.art/tokenizer.json"),
        "model.art/tokenizer.json: missing file; copy the model's tokenizer.json there",
    ),
]

TEXTS = [
    Case(
        "a line without a text",
        "eval model.art --text text.jsonl",
        'text.jsonl: line 2 is not a JSON object with a "text"',
        spoil=put("text.jsonl", '{"text": "a"}\n{"txt": 1}\n'),
    ),
    Case(
        "an empty file",
        "eval model.art --text text.jsonl",
        "text.jsonl: holds no text; give a text file",
        spoil=put("text.jsonl", ""),
    ),
    Case(
        "another encoding",
        "eval model.art --text text.jsonl",
        "text.jsonl: not UTF-8 text (byte 0); give a text file",
        spoil=put("text.jsonl", b"\xff\xfe"),
    ),
    Case(
        "an item without an answer",
        "eval model.art --tasks items.jsonl",
        f"items.jsonl: line 1 is not an item; it should look like {ITEM}",
        spoil=put("items.jsonl", '{"context": "a"}\n'),
    ),
    Case(
        "half a token",
        "heal pruned -o out --teacher model --data ids.u16 --device cpu",
        "ids.u16: an odd number of bytes; it should hold 16-bit token ids",
        spoil=put("ids.u16", b"123"),
    ),
    Case(
        "tokens of another model",
        "heal pruned -o out --teacher model --data ids.u16 --device cpu",
        "ids.u16: token 65535 is beyond the vocabulary of 96",
        spoil=put("ids.u16", b"\xff\xff"),
    ),
]
