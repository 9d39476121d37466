"""The frontier: which points beat which, and what is read back from llama.cpp's files."""

import numpy as np
import pytest

pytest.importorskip("gguf", reason="pip install 'tvm-c4n[bench]'")

from benchmarks.frontier import draw, expanded, measured, table
from tvm_c4n.checkpoint import open_checkpoint


def sample(row, engine, secs):
    return {
        "type": "sample", "row": row, "engine": engine, "secs": secs,
        "tokens": 100, "weight_bytes": 2_000_000,
    }  # fmt: skip


def test_a_point_is_beaten_by_what_is_faster_and_no_worse():
    perplexities = {
        "C4n int4 n=2, healed": {"ppl": 20.0, "stderr": 0.1},
        "llama.cpp Q8_0": {"ppl": 19.0, "stderr": 0.1},
        "llama.cpp Q2_K": {"ppl": 21.0, "stderr": 0.1},
        "llama.cpp Q4_0": {"ppl": 20.0, "stderr": 0.1},
    }
    lines = [{"type": "run"}]
    lines += [sample("C4n int4 n=2, healed", "tvm_c4n", secs) for secs in (0.1, 0.11, 0.5)]
    lines += [
        sample("llama.cpp Q8_0", "llama.cpp", 1.0),
        sample("llama.cpp Q2_K", "llama.cpp", 1.0),
    ]
    lines += [sample("llama.cpp Q4_0", "llama.cpp", 0.05)]
    rows = table(measured(perplexities, lines)).splitlines()[2:]
    cells = [[cell.strip() for cell in row.strip("|").split("|")] for row in rows]
    assert [row[-1] for row in cells] == ["", "", "C4n int4 n=2, healed", ""]
    assert cells[0][3] == "909 (200 to 1000)"
    assert cells[0][1] == "2.0"


def test_the_picture_is_drawn_from_a_saved_result(tmp_path):
    lines = [sample("C4n float16 dense", "tvm_c4n", 0.1), sample("llama.cpp F16", "llama.cpp", 1.0)]
    found = measured({line["row"]: {"ppl": 20.0, "stderr": 0.1} for line in lines}, lines)
    draw(found, {"machine": "epyc-zen5"}, 2, tmp_path / "picture.png")
    assert (tmp_path / "picture.png").read_bytes().startswith(b"\x89PNG")


def test_a_gguf_file_is_read_back_as_the_weights_that_went_in(tmp_path):
    from benchmarks.llama_cpp.to_gguf import write_gguf

    read = expanded(write_gguf("mamba-19m", tmp_path / "m.gguf"))
    dense = open_checkpoint("mamba-19m")
    assert read.names() == dense.names()
    for name in dense.names():
        np.testing.assert_array_equal(read.dense(name), dense.dense(name))
