"""C4n GEMV against float64, on shapes that do not fit the panels; its prefetch distances."""

from __future__ import annotations

import re
from typing import Any

import pytest

import schedules
from tests.schedules.linear_cases import Case, check_against_float64
from tvm_c4n._tvm import IRModule, Target, tvm
from tvm_c4n.compile.target import NAMED
from tvm_c4n.ops.isa import AVX512, NEON
from tvm_c4n.ops.repack import PrefetchPolicy
from tvm_c4n.ops.spec import LinearSpec
from tvm_c4n.sparsity import default_scale_group

CASES = [
    Case(),
    *(Case(removed=n) for n in (0, 1, 3)),
    *(Case(rows=rows) for rows in (1, 3, 17, 56, 255)),
    *(Case(cols=cols, removed=n) for cols in (4, 68, 100, 384) for n in (0, 1, 2, 3)),
    *(Case(cols=cols, removed=0) for cols in (1, 24, 67, 193, 260)),
    *(Case(rows=rows, cols=260, removed=0) for rows in (1, 17, 255)),
    *(Case(cols=cols, removed=0, scale_group=g) for g in (32, 128) for cols in (48, 160)),
    *(Case(scale_group=g, cols=256, removed=n) for g in (32, 128) for n in (0, 1, 2, 3)),
    Case(bias=True, rows=37, factor=-4.0),
    Case(residual=True, rows=37),
]


@pytest.mark.parametrize("every", [3, pytest.param(1, marks=pytest.mark.slow)])
@pytest.mark.parametrize(
    "dtype",
    [
        "float16",
        "int8",
        "int4",
        "int3",
        *(pytest.param(dtype, marks=pytest.mark.slow) for dtype in ("float32", "int2")),
    ],
)
def test_it_matches_float64(machine: Any, dtype: str, every: int) -> None:
    check_against_float64(machine, CASES[::every], dtype, "c4n_gemv")


def default_distance(rows: int, dtype: str) -> int:
    spec = LinearSpec(False, rows, 1024, 2, dtype, 64 if dtype == "int4" else 0, 16, 1024)
    return schedules.space_of(spec, AVX512)["prefetch_distance"][0]


def test_short_streams_are_prefetched_less_far_ahead() -> None:
    # A row has 416 bytes: two int4 and two codes per group, and 16 scales.
    assert default_distance(240, "int4") == 6144  # 16.25 distances
    assert default_distance(224, "int4") == 4096
    assert default_distance(64, "int4") == 2048
    assert default_distance(16, "float16") == 0


def test_prefetches_follow_what_is_decided() -> None:
    def found(
        isa: Any, *, policy: PrefetchPolicy = PrefetchPolicy.INTO_L2, **decisions: int
    ) -> set[str]:
        spec = LinearSpec(False, 1024, 1024, 2, "int4", 64, isa.lanes, 1024)
        space = schedules.space_of(spec, isa, policy)
        default = {name: choices[0] for name, choices in space.items()}
        answer = schedules.choose(spec, isa, lambda _: default | decisions, policy=policy)
        assert answer is not None
        text = str(answer[1].prim_func().script())
        return set(re.findall(r"prefetch\(.*, \d, (\d), 1\)", text))

    assert found(NEON) == set()
    assert found(NEON, prefetch_distance=4096) == {"2"}
    assert found(AVX512) == {"2"}
    assert found(AVX512, policy=PrefetchPolicy.INTO_L1) == {"3"}
    assert found(AVX512, policy=PrefetchPolicy.PAST_CACHES) == {"0"}
    assert found(AVX512, policy=PrefetchPolicy.BY_CPU) == set()
    assert found(AVX512, policy=PrefetchPolicy.BY_CPU, prefetch_distance=4096) == {"2"}
    assert found(AVX512, prefetch_distance=0) == set()


def arm_loops(removed: int, dtype: str) -> list[list[str]]:
    """The instructions of the loops with dot products of a GEMV for phones."""
    group = default_scale_group(removed)
    spec = LinearSpec(False, 256, 1024, removed, dtype, group, NEON.lanes, 1024)
    answer = schedules.choose(spec, NEON)
    assert answer is not None
    kernel = answer[1].prim_func().with_attr("global_symbol", "gemv")
    target = Target(NAMED["arm64-android"])
    lines = tvm.compile(IRModule({"gemv": kernel}), target).mod.inspect_source("asm").splitlines()
    starts = {line.split(":")[0]: at for at, line in enumerate(lines) if line.startswith(".LBB")}
    found = []
    for end, line in enumerate(lines):
        back = re.match(r"\s+(?:b\.|cbn?z|tbn?z).*(\.LBB\w+)$", line)
        start = starts.get(back[1], end) if back else end
        body = [text.strip() for text in lines[start + 1 : end + 1]]
        if any(text.startswith("sdot") for text in body):
            found.append([text for text in body if text[0] not in "./"])
    return found


@pytest.mark.parametrize(
    ("dtype", "most"),
    [
        ("int8", (2.0, 4.1, 4.6, 5.6)),
        ("int4", (2.3, 4.8, 5.1, 5.8)),
        ("int3", (3.7, 6.1, 6.6, 7.1)),
        ("int2", (3.8, 6.3, 6.8, 7.4)),
    ],
)
@pytest.mark.parametrize("removed", range(4))
def test_what_a_chunk_takes_on_arm(removed: int, dtype: str, most: tuple[float, ...]) -> None:
    loops = arm_loops(removed, dtype)
    assert loops
    assert not [text for body in loops for text in body if "[sp" in text]
    # The innermost loop: a k-block of the panels in flight with its scales, or a slice of it.
    body = min(loops, key=len)
    dots = sum(text.startswith("sdot") for text in body)
    assert len(body) / dots <= most[removed]
