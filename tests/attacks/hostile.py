"""Folders that a hostile or broken program could hand over; each function spoils a good folder.

The docstring of each function says in a sentence what the attack is. A function returns the name
of the file that the error must blame.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

Attack = Callable[[Path], str]
HF: list[Attack] = []
C4N: list[Attack] = []
EXPERTS: list[Attack] = []
MODEL = "model.safetensors"
INDEX = "model.safetensors.index.json"


def hf(attack: Attack) -> Attack:
    HF.append(attack)
    return attack


def c4n(attack: Attack) -> Attack:
    C4N.append(attack)
    return attack


def experts(attack: Attack) -> Attack:
    EXPERTS.append(attack)
    return attack


def both(attack: Attack) -> Attack:
    return c4n(hf(attack))


def split(path: Path) -> tuple[dict[str, Any], bytes]:
    """Header and data of a safetensors file."""
    data = path.read_bytes()
    length = int.from_bytes(data[:8], "little")
    return json.loads(data[8 : 8 + length]), data[8 + length :]


def join(path: Path, header: dict[str, Any] | bytes, data: bytes) -> str:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    path.write_bytes(len(text).to_bytes(8, "little") + text + data)
    return path.name


def change(folder: Path, edit: Callable[[dict[str, Any]], object]) -> str:
    """Edit the header of model.safetensors; the data stay."""
    header, data = split(folder / MODEL)
    edit(header)
    return join(folder / MODEL, header, data)


def edit_json(path: Path, edit: Callable[[dict[str, Any]], object]) -> str:
    value = json.loads(path.read_text())
    edit(value)
    path.write_text(json.dumps(value))
    return path.name


def shard(folder: Path) -> dict[str, Any]:
    """Turn a single file into two equal shards and return an index that is right so far."""
    header, _ = split(folder / MODEL)
    (folder / "two.safetensors").write_bytes((folder / MODEL).read_bytes())
    (folder / MODEL).rename(folder / "one.safetensors")
    return {"weight_map": {name: "one.safetensors" for name in header if name[:2] != "__"}}


def put_index(folder: Path, index: object) -> str:
    (folder / INDEX).write_text(json.dumps(index))
    return INDEX


# Files


@both
def config_missing(folder: Path) -> str:
    """Without config.json nobody knows what the tensors are."""
    (folder / "config.json").unlink()
    return "config.json"


@both
def config_not_json(folder: Path) -> str:
    """A Python dict printed into config.json is not JSON, and must not be evaluated."""
    (folder / "config.json").write_text("{'model_type': __import__('os').system('true')}")
    return "config.json"


@both
def config_is_a_list(folder: Path) -> str:
    """JSON that is not an object has no keys to ask for."""
    (folder / "config.json").write_text("[1, 2]")
    return "config.json"


@both
def config_not_utf8(folder: Path) -> str:
    """Bytes that are no text must not raise UnicodeDecodeError."""
    (folder / "config.json").write_bytes(b'{"model_type": "\xff\xfe"}')
    return "config.json"


@both
def config_huge(folder: Path) -> str:
    """A config.json of megabytes would fill the memory before anyone looks at it."""
    (folder / "config.json").write_text('{"model_type": "mamba"}' + " " * (1 << 21))
    return "config.json"


@both
def config_nested(folder: Path) -> str:
    """Deep nesting exhausts the stack of a recursive parser."""
    (folder / "config.json").write_text('{"a":' + "[" * 200_000)
    return "config.json"


@both
def config_long_number(folder: Path) -> str:
    """Integers of many digits take quadratic time to parse."""
    (folder / "config.json").write_text('{"model_type": "mamba", "a": ' + "9" * 100_000 + "}")
    return "config.json"


@both
def config_twice(folder: Path) -> str:
    """A key given twice means one thing to one program and another to the next."""
    (folder / "config.json").write_text('{"model_type": "mamba", "model_type": "gpt2"}')
    return "config.json"


@both
def config_pipe(folder: Path) -> str:
    """A named pipe in place of a file makes the reader wait for ever."""
    (folder / "config.json").unlink()
    os.mkfifo(folder / "config.json")
    return "config.json"


@both
def config_no_model_type(folder: Path) -> str:
    """The original state-spaces repositories have another config.json and other tensor names."""
    return edit_json(folder / "config.json", lambda c: (c.pop("model_type"), c.update(ssm_cfg={})))


@both
def config_other_architecture(folder: Path) -> str:
    """A Mamba-2 model has the same kind of files and other mathematics."""
    return edit_json(folder / "config.json", lambda c: c.update(model_type="mamba3"))


@both
def config_model_type_is_a_list(folder: Path) -> str:
    """A list where a string belongs cannot be hashed, and may not raise TypeError."""
    return edit_json(folder / "config.json", lambda c: c.update(model_type=["mamba"]))


@both
def config_model_type_breaks_lines(folder: Path) -> str:
    """Control characters in a name would forge lines of the terminal or the log."""
    return edit_json(folder / "config.json", lambda c: c.update(model_type="x\n\x1b[2J\ud800"))


@both
def model_is_a_folder(folder: Path) -> str:
    """A folder in place of the weights is not a file to open."""
    (folder / MODEL).unlink()
    (folder / MODEL).mkdir()
    return MODEL


@both
def model_dangling_link(folder: Path) -> str:
    """A link into a cache that was cleaned leads nowhere."""
    (folder / MODEL).unlink()
    (folder / MODEL).symlink_to("../gone")
    return MODEL


@both
def model_empty(folder: Path) -> str:
    """An interrupted download leaves a file of no bytes."""
    (folder / MODEL).write_bytes(b"")
    return MODEL


@both
def model_truncated(folder: Path) -> str:
    """An interrupted copy lacks the end of the last tensor."""
    data = (folder / MODEL).read_bytes()
    (folder / MODEL).write_bytes(data[:-1])
    return MODEL


@both
def model_trailing(folder: Path) -> str:
    """Bytes after the last tensor can hide another file in this one."""
    (folder / MODEL).write_bytes((folder / MODEL).read_bytes() + b"PK\x03\x04")
    return MODEL


@both
def model_is_git_lfs_pointer(folder: Path) -> str:
    """A clone without git-lfs holds pointers of 130 bytes in place of weights."""
    (folder / MODEL).write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\n")
    return MODEL


@both
def model_is_a_web_page(folder: Path) -> str:
    """A download of the page that shows a file holds HTML in place of weights."""
    (folder / MODEL).write_text("<!doctype html><html><head><title>Sign in</title></head></html>")
    return MODEL


@both
def config_is_git_lfs_pointer(folder: Path) -> str:
    """Some repositories keep every file in Git LFS."""
    (folder / "config.json").write_text("version https://git-lfs.github.com/spec/v1\n")
    return "config.json"
