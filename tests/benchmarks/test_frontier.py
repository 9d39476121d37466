"""The frontier: which points beat which, and what is read back from llama.cpp's files."""

import numpy as np
import pytest

pytest.importorskip("gguf", reason="pip install 'tvm-c4n[bench]'")

from benchmarks.frontier import draw, expanded, measured, table
from tvm_c4n.checkpoint import open_checkpoint


def samples(row, engine, secs, weight_bytes=2_000_000):
    """One of a generation and one of a prompt, ten times faster."""
    both = {"type": "sample", "row": row, "engine": engine, "weight_bytes": weight_bytes}
    generation = both | {"test": "tg100", "tokens": 100, "secs": secs}
    return [generation, both | {"test": "pp100", "tokens": 100, "secs": secs / 10}]


def test_a_point_is_beaten_by_what_is_faster_and_no_worse():
    perplexities = {
        "C4n int4 n=2, healed": {"ppl": 20.0, "stderr": 0.1},
        "llama.cpp Q8_0": {"ppl": 19.0, "stderr": 0.1},
        "llama.cpp Q2_K": {"ppl": 21.0, "stderr": 0.1},
        "llama.cpp Q4_0": {"ppl": 20.0, "stderr": 0.1},
    }
    ours = "C4n int4 n=2, healed"
    lines = [{"type": "run"}]
    for secs in (0.1, 0.11, 0.5):
        lines += samples(ours, "tvm_c4n", secs)
    lines += samples("llama.cpp Q8_0", "llama.cpp", 1.0)
    lines += samples("llama.cpp Q2_K", "llama.cpp", 1.0)
    lines += samples("llama.cpp Q4_0", "llama.cpp", 0.05)
    lines += samples("llama.cpp Q2_K_S", "llama.cpp", 1.0, weight_bytes=1_900_000)
    perplexities["llama.cpp Q2_K_S"] = perplexities["llama.cpp Q2_K"]
    rows = table(measured(perplexities, lines)).splitlines()[2:]
    cells = [[cell.strip() for cell in row.strip("|").split("|")] for row in rows]
    # Better, smaller or as large, and faster; not where the other is faster, better or smaller.
    assert [row[-1] for row in cells] == ["", "", ours, "", ""]
    assert cells[0][3] == "909 (200 to 1000)"
    assert cells[0][4] == "9091 (2000 to 10000)"
    assert cells[0][1] == "2.0"


@pytest.mark.parametrize("against", ["generation", "prompt", "size"])
def test_the_picture_is_drawn_from_a_saved_result(tmp_path, against):
    lines = samples("C4n float16 dense", "tvm_c4n", 0.1)
    lines += samples("llama.cpp F16", "llama.cpp", 1.0)
    found = measured({line["row"]: {"ppl": 20.0, "stderr": 0.1} for line in lines}, lines)
    draw(found, against, {"machine": "epyc-zen5"}, 2, tmp_path / "picture.png")
    assert (tmp_path / "picture.png").read_bytes().startswith(b"\x89PNG")


def test_a_gguf_file_is_read_back_as_the_weights_that_went_in(tmp_path):
    from benchmarks.llama_cpp.to_gguf import write_gguf

    read = expanded(write_gguf("mamba-19m", tmp_path / "m.gguf"))
    dense = open_checkpoint("mamba-19m")
    assert read.names() == dense.names()
    for name in dense.names():
        np.testing.assert_array_equal(read.dense(name), dense.dense(name))
