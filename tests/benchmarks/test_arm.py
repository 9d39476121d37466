"""Finding loops in a disassembly, and the bars of the Arm table."""

from benchmarks.arm.counts import Instruction
from benchmarks.arm.mca import hottest_loop
from benchmarks.arm.stages import joined
from benchmarks.arm.table import tables


def code(lines):
    """``[(text, runs), ...]`` from address 0x1000."""
    return [Instruction(0x1000 + 4 * i, "f", text, runs) for i, (text, runs) in enumerate(lines)]


def test_the_hottest_loop_is_the_innermost_one():
    found = hottest_loop(
        code(
            [
                ("mov x0, x1", 10),
                ("ldr q0, [x0], #16", 1000),
                ("ldr q1, [sp, #32]", 1000),
                ("sdot v2.4s, v0.16b, v1.16b", 1000),
                ("fmla v3.4s, v2.4s, v4.4s", 1000),
                ("b.ne 1004 <f+0x4>", 1000),
                ("b.ne 1000 <f>", 10),
            ]
        )
    )
    assert found is not None
    assert (len(found.body), found.turns) == (5, 1000)
    assert (found.dots, found.loads, found.spills) == (1, 1, 1)


def test_code_without_a_loop_has_none():
    assert hottest_loop(code([("mov x0, x1", 1), ("b.ne 1010 <f+0x10>", 1)])) is None


def test_the_bar_is_a_part_of_ggmls_instructions():
    rows = [
        {"engine": "tvm_c4n", "row": "C4n int4 n=2", "level": "dotprod", "insns": 46, "stages": []},
        {"engine": "tvm_c4n", "row": "C4n int4 n=3", "level": "dotprod", "insns": 35, "stages": []},
        {"engine": "llama.cpp", "row": "llama.cpp Q4_0", "level": "dotprod", "insns": 100},
    ]
    rows[2]["functions"] = {"ggml_gemv": 90}
    text = tables({"size": "130m", "qemu": "7", "llvm": "22", "rows": rows})
    cells = [[cell.strip() for cell in line.split("|")] for line in text.splitlines()]
    bars = {row[1]: row[4:7] for row in cells if len(row) > 6}
    assert bars["C4n int4 n=2"] == ["0.460", "0.45", "no"]
    assert bars["C4n int4 n=3"] == ["0.350", "0.35", "yes"]


def test_kernels_that_share_a_loop_share_a_name():
    step = ["rms_norm", "quantize", "in_proj", "conv1d", "quantize", "x_proj", "head"]
    assert joined(step) == ["rms_norm+quantize", "in_proj+conv1d+quantize", "x_proj", "head"]


def test_a_rotated_loop_ends_with_the_copy_out_of_it():
    step = ["copy", "rms_norm", "in_proj", "conv1d", "out_proj", "copy", "rms_norm", "head"]
    assert joined(step, rotated=True) == [
        "copy",
        "rms_norm",
        "in_proj+conv1d",
        "out_proj+copy",
        "rms_norm",
        "head",
    ]
