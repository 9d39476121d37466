"""Every hostile folder gives one CheckpointError line that names the file; nothing else happens."""

from __future__ import annotations

import importlib.util
import json
import random
import sys
import tracemalloc
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import save_file

from tvm_c4n.checkpoint import C4nWriter, open_checkpoint
from tvm_c4n.errors import CheckpointError
from tvm_c4n.sparsity import StackedWeight, from_dense, mask_from_scores


def _load(name: str) -> ModuleType:
    # By path: with --import-mode=importlib no test folder is on sys.path.
    spec = importlib.util.spec_from_file_location(name, Path(__file__).with_name(f"{name}.py"))
    assert spec is not None
    assert spec.loader is not None
    module = sys.modules[name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


hostile = _load("hostile")
for _name in ("hostile_header", "hostile_hf", "hostile_c4n", "hostile_experts"):
    _load(_name)


def good_hf(folder: Path) -> Path:
    folder.mkdir()
    (folder / "config.json").write_text('{"model_type": "mamba"}')
    arrays = {"a": np.ones((2, 4), np.float16), "b": np.zeros(8, np.float16)}
    save_file(arrays, folder / "model.safetensors", metadata={"format": "pt"})
    return folder


EACH = (2, 1, 2)  # n of the experts, where there are any


def _mask(weight: Any, removed: int) -> Any:
    return mask_from_scores(np.abs(weight), removed)


def good_c4n(folder: Path, *, experts: bool = False) -> Path:
    weight = np.random.default_rng(0).standard_normal((2, 20))
    mask = _mask(weight, 2)
    with C4nWriter(folder, producer={"name": "t", "version": "1"}) as writer:
        writer.add_json("config.json", {"model_type": "mamba"})
        writer.add_weight("w", from_dense(weight, 2, "int4", mask=mask, scale_group=4))
        writer.add_dense("norm", np.ones(8, np.float32))
        if experts:
            each = [
                from_dense(weight, n, "int4", mask=_mask(weight, n), scale_group=4) for n in EACH
            ]
            writer.add_weight("e.each_3_rows_0_2", StackedWeight.of(each))
    return folder


def read_all(folder: Path) -> None:
    """Open a checkpoint and read every tensor in every way."""
    checkpoint = open_checkpoint(folder)
    for name in checkpoint.names():
        assert checkpoint.dense(name).shape == checkpoint.shape(name)
        checkpoint.weight(name)
    checkpoint.extra_files()


def test_the_folders_are_good_before_they_are_spoiled(tmp_path: Path) -> None:
    read_all(good_hf(tmp_path / "hf"))
    read_all(good_c4n(tmp_path / "c4n"))
    read_all(good_c4n(tmp_path / "experts", experts=True))
    assert len(hostile.HF) > 40
    assert len(hostile.C4N) > 50


CASES = [
    pytest.param(good, attack, id=f"{kind}-{attack.__name__}")
    for kind, good, attacks in (
        ("hf", good_hf, hostile.HF),
        ("c4n", good_c4n, hostile.C4N),
        ("experts", partial(good_c4n, experts=True), hostile.EXPERTS),
    )
    for attack in attacks
]


@pytest.mark.parametrize(("good", "attack"), CASES)
def test_attack(good, attack, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    assert attack.__doc__
    folder = good(tmp_path / "victim")
    blamed = attack(folder)
    tracemalloc.start()
    try:
        with pytest.raises(CheckpointError) as caught:
            read_all(folder)
        peak_bytes = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    message = str(caught.value)
    assert blamed in message
    assert message.isprintable(), "one line, and safe for a terminal"
    assert len(message) < 1000
    message.encode()
    assert peak_bytes < 8 << 20


@pytest.mark.parametrize("attack", ["other_dtype", "other_removed", "huge_matrix"])
def test_shapes_are_compared_on_opening(attack: str, tmp_path: Path) -> None:
    """A folder whose parts do not fit is refused at once, not when its 500th tensor is read."""
    folder = good_c4n(tmp_path / "victim")
    getattr(sys.modules["hostile_c4n"], f"manifest_{attack}")(folder)
    with pytest.raises(CheckpointError, match=r"model\.safetensors: tensor 'w"):
        open_checkpoint(folder)


def test_extra_files_may_not_lead_out_of_the_folder(tmp_path: Path) -> None:
    """A tokenizer.json that links to a private file would be copied into the output."""
    secret = tmp_path / "secret"
    secret.write_text("private")
    folder = good_hf(tmp_path / "hf")
    (folder / "tokenizer.json").symlink_to(secret)
    checkpoint = open_checkpoint(folder)
    with pytest.raises(CheckpointError, match=r"tokenizer\.json: a link that leaves"):
        checkpoint.extra_files()


def test_other_files_are_not_copied(tmp_path: Path) -> None:
    """Code that comes with a model (modeling_x.py) stays where it is."""
    folder = good_hf(tmp_path / "hf")
    (folder / "modeling_mamba.py").write_text("raise SystemExit")
    (folder / "tokenizer.json").write_text("{}")
    assert [path.name for path in open_checkpoint(folder).extra_files()] == ["tokenizer.json"]


@pytest.mark.parametrize("path", ["missing", "x" * 5000, "file", "null\0byte"])
def test_paths_that_are_no_folder(path: str, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(CheckpointError):
        open_checkpoint(tmp_path / path)


def mutate(data: bytes, rng: random.Random) -> bytes:
    """Flip, insert, delete or repeat a few bytes."""
    result = bytearray(data)
    for _ in range(rng.randint(1, 4)):
        at = rng.randrange(len(result)) if result else 0
        kind = rng.randrange(4)
        if kind == 0 and result:
            result[at] = rng.choice([rng.randrange(256), *b'0123456789-",:{}[]e.'])
        elif kind == 1:
            result.insert(at, rng.choice(b'0123456789-",:{}[]e. \\u'))
        elif kind == 2:
            del result[at : at + rng.randint(1, 6)]
        else:
            result[at:at] = result[at : at + rng.randint(1, 30)]
    return bytes(result)


@pytest.mark.parametrize(
    ("kind", "target"),
    [
        ("hf", "model.safetensors"),
        ("hf", "config.json"),
        ("hf", "index"),
        ("c4n", "model.safetensors"),
        ("c4n", "config.json"),
        ("c4n", "c4n.json"),
    ],
)
def test_random_mutations(kind: str, target: str, tmp_path: Path) -> None:
    """A few hundred mutations of each file are read as valid or refused by CheckpointError."""
    folder = (good_hf if kind == "hf" else good_c4n)(tmp_path / "victim")
    if target == "index":
        index = hostile.shard(folder)
        target = hostile.put_index(folder, index)
    path = folder / target
    original = path.read_bytes()
    rng = random.Random(7)
    refused = 0
    for _ in range(300):
        path.write_bytes(mutate(original, rng))
        try:
            read_all(folder)
        except CheckpointError as error:
            refused += 1
            assert str(error).isprintable()
            str(error).encode()
    assert refused > 30, "the mutations do not reach what is checked"


@pytest.mark.parametrize("kind", ["hf", "c4n"])
def test_every_truncation(kind: str, tmp_path: Path) -> None:
    """The weights cut off after any number of bytes are refused."""
    folder = (good_hf if kind == "hf" else good_c4n)(tmp_path / "victim")
    data = (folder / "model.safetensors").read_bytes()
    for length in range(len(data)):
        (folder / "model.safetensors").write_bytes(data[:length])
        with pytest.raises(CheckpointError, match=r"model\.safetensors"):
            read_all(folder)


def test_every_flipped_bit_of_positions_is_valid_or_refused(tmp_path: Path) -> None:
    """Whatever the positions say, the mask that comes out has two kept weights per group."""
    folder = good_c4n(tmp_path / "victim")
    header, data = hostile.split(folder / "model.safetensors")
    begin, end = header["w.positions"]["data_offsets"]
    valid = 0
    for bit in range(8 * begin, 8 * end):
        changed = bytearray(data)
        changed[bit // 8] ^= 1 << bit % 8
        hostile.join(folder / "model.safetensors", header, bytes(changed))
        checkpoint = open_checkpoint(folder)
        try:
            weight = checkpoint.weight("w")
        except CheckpointError as error:
            assert "ascend" in str(error) or "padding" in str(error)
            continue
        assert weight is not None
        assert (weight.mask().reshape(2, 5, 4).sum(axis=2) == 2).all()
        valid += 1
    assert valid


def test_many_tensors_take_little_time_and_memory(tmp_path: Path) -> None:
    """A header at the limit of its size, full of small entries, is parsed in linear time."""
    folder = good_hf(tmp_path / "victim")
    names = (f'"{i:x}":0' for i in range(300_000))
    text = ("{" + ",".join(names) + ',"0":0}').encode()
    hostile.join(folder / "model.safetensors", text, b"")
    with pytest.raises(CheckpointError, match="300001 keys, more than 100000"):
        read_all(folder)


def test_the_index_may_not_be_huge(tmp_path: Path) -> None:
    """An index of many megabytes is refused by its size, before it is parsed."""
    folder = good_hf(tmp_path / "victim")
    index = hostile.shard(folder)
    hostile.put_index(folder, index)
    with (folder / hostile.INDEX).open("a") as stream:
        stream.write(" " * (1 << 23))
    json.loads((folder / hostile.INDEX).read_text())
    with pytest.raises(CheckpointError, match="too large"):
        read_all(folder)
