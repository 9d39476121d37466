"""The worked example of docs/reference/format-c4n.md: document and code agree to the byte."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

from tvm_c4n.checkpoint import C4nWriter, open_checkpoint
from tvm_c4n.sparsity import DTYPES, from_dense, part_shapes, size_bytes

DOC = Path(__file__).parents[2] / "docs" / "reference" / "format-c4n.md"
WEIGHT = [
    [0, 1.5, 0, -4, 0.5, 3.5, 0, 0, 0, 0, -0.5, 2],
    [2, 1, 0, 0, 0, 0, -3, 0.5, 0, 3.5, 3, 0],
]


def blocks(language: str) -> list[str]:
    """Fenced blocks of the document's example."""
    example = DOC.read_text().partition("## A worked example")[2].partition("\n## ")[0]
    return re.findall(rf"^```{language}\n(.*?)^```", example, flags=re.MULTILINE | re.DOTALL)


def example_file() -> bytes:
    """model.safetensors as the document prints it."""
    _, header = blocks("json")
    hexes = re.findall(r"^((?:[0-9a-f]{2} +)+[0-9a-f]{2})$", DOC.read_text(), flags=re.MULTILINE)
    length, data = (bytes.fromhex(text) for text in hexes)
    return length + header.replace("\n", "").encode() + b" " + data


def test_the_writer_writes_the_example(tmp_path: Path) -> None:
    scales = np.full((2, 1), 0.5, np.float16)
    with C4nWriter(tmp_path / "out") as writer:
        writer.add_json("config.json", {"model_type": "mamba"})
        writer.add_dense("norm", np.array([1, -2], np.float16))
        writer.add_weight("w", from_dense(np.array(WEIGHT), 2, "int4", scales=scales))
    assert (tmp_path / "out/model.safetensors").read_bytes() == example_file()
    assert (tmp_path / "out/c4n.json").read_text() == blocks("json")[0]


def test_the_reader_reads_the_example(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"model_type": "mamba"}')
    (tmp_path / "c4n.json").write_text(blocks("json")[0])
    (tmp_path / "model.safetensors").write_bytes(example_file())
    checkpoint = open_checkpoint(tmp_path)
    assert checkpoint.names() == ["norm", "w"]
    assert checkpoint.dense("w").tolist() == WEIGHT
    assert checkpoint.dense("norm").tolist() == [1, -2]


@pytest.mark.parametrize("dtype", DTYPES)
def test_the_table_of_sizes(dtype: str) -> None:
    row = re.search(rf"^\| {dtype} \| ([\d.| ]+) \|$", DOC.read_text(), flags=re.MULTILINE)
    assert row is not None
    for removed, bits in enumerate(row[1].split(" | ")):
        shapes = part_shapes(4, 1024, removed, dtype, 64 if dtype.startswith("int") else 0)
        scales = 16 / 64 if shapes.scales else 0
        assert 8 * size_bytes(4, 1024, removed, dtype) / 4096 == float(bits) + scales
