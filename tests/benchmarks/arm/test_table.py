"""The table of Arm instruction counts."""

from benchmarks.arm.table import tables


def test_a_count_is_given_as_a_part_of_ggmls():
    rows = [
        {"engine": "tvm_c4n", "row": "C4n int4 n=2", "level": "dotprod", "insns": 46, "stages": []},
        {"engine": "llama.cpp", "row": "llama.cpp Q4_0", "level": "dotprod", "insns": 100},
        {"engine": "llama.cpp", "row": "llama.cpp Q4_0", "level": "i8mm", "insns": 110},
    ]
    rows[1]["functions"] = rows[2]["functions"] = {"ggml_gemv": 90}
    text = tables({"size": "130m", "qemu": "7", "llvm": "22", "rows": rows})
    cells = [[cell.strip() for cell in line.split("|")] for line in text.splitlines()]
    parts = {(row[1], row[2]): row[4] for row in cells if len(row) == 6}
    assert parts["C4n int4 n=2", "dotprod"] == "0.460"
    assert parts["llama.cpp Q4_0", "i8mm"] == "1.100"
