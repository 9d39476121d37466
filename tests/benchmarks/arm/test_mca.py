"""Finding hot loops in a disassembly."""

from benchmarks.arm.counts import Instruction
from benchmarks.arm.mca import hottest_loop


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
