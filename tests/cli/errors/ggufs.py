"""Error lines about GGUF files."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from tests.cli.errors.case import Case


def written(change: Callable[[bytes], bytes] = bytes, **more: object) -> Callable[[Path], object]:
    """Write ``m.gguf``, of ``model``, with keys beside its own and a change to its bytes."""

    def write(folder: Path) -> None:
        from tests.frontend.gguf.made import write_gguf

        path = write_gguf(folder / "model", folder / "m.gguf", more=more)
        path.write_bytes(change(path.read_bytes()))

    return write


def quantised(folder: Path) -> None:
    """Write ``m.gguf`` with a tensor of another type."""
    import gguf
    import numpy as np

    writer = gguf.GGUFWriter(folder / "m.gguf", "mamba")
    kind = gguf.GGMLQuantizationType.Q4_K
    blocks = b"\0" * 144
    writer.add_tensor("token_embd.weight", np.frombuffer(blocks, np.uint8)[None], raw_dtype=kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def convert(wrong: str, line: str, spoil: Callable[[Path], object]) -> Case:
    """Convert ``m.gguf``."""
    return Case(wrong, "convert m.gguf -o out", line, spoil=spoil)


AGAIN = "download the file again"
GGUF = [
    Case(
        "not converted yet",
        "prune m.gguf -o out",
        "m.gguf: a GGUF file of llama.cpp; convert it with `tvm-c4n convert m.gguf -o m-hf`, then "
        "give m-hf",
        spoil=written(),
    ),
    convert("no such file", "m.gguf: missing file; give a GGUF file", lambda folder: None),
    convert(
        "another file",
        f"m.gguf: does not begin with 'GGUF', so this is no GGUF file; {AGAIN}",
        lambda folder: (folder / "m.gguf").write_text("a text"),
    ),
    convert(
        "half a file",
        "m.gguf: truncated: tensor 'blk.0.ssm_out.weight' ends after the file; " + AGAIN,
        written(lambda data: data[: len(data) // 2]),
    ),
    convert(
        "numbers that are wrong",
        f"m.gguf: 4294967318 entries are more than any model has; {AGAIN}",
        written(lambda data: data[:12] + b"\1" + data[13:]),
    ),
    convert(
        "another architecture",
        "m.gguf: has a model of architecture 'llama', supported: mamba, mamba2, granitehybrid, "
        "falcon-h1, lfm2",
        written(lambda data: data.replace(b"\5\0\0\0\0\0\0\0mamba", b"\5\0\0\0\0\0\0\0llama", 1)),
    ),
    convert(
        "a quantisation that is not read",
        "m.gguf: tensor 'token_embd.weight' is Q4_K; files of F32, F16, BF16, Q8_0 are read: take "
        "such a file of this model, or the one that it was quantised from",
        quantised,
    ),
    convert(
        "a part of a model",
        "m.gguf: one of 3 parts; join them with llama.cpp's `llama-gguf-split --merge FIRST OUT`",
        written(**{"split.count": 3}),
    ),
    Case(
        "no gguf",
        "convert m.gguf -o out",
        "reading m.gguf needs gguf: pip install 'tvm-c4n[gguf]'",
        spoil=written(),
        missing="gguf",
    ),
]
