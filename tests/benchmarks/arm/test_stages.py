"""Names of the stages of a step that kernels share."""

from pathlib import Path

import pytest

from benchmarks.arm import stages as stages_module
from benchmarks.arm.counts import Instruction
from benchmarks.arm.stages import fits, joined, stages
from tvm_c4n.compile.native import RUNTIME


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


def test_the_head_has_the_most_instructions_a_call() -> None:
    assert fits(["in_proj", "head"], [5.0, 9.0])
    assert not fits(["in_proj", "head"], [9.0, 5.0])
    assert not fits(["in_proj", "head"], [9.0])
    assert fits(["stage 0", "stage 1"], [9.0, 5.0])


def code_of(function: str, *runs: float, barriers: int) -> list[Instruction]:
    """Return code with a barrier behind each of some of its parts of 100 instructions."""
    found = []
    for place, often in enumerate(runs):
        found += [Instruction(0, function, "nop", often)] * 99
        last = "blr x8" if place < barriers else "ret"
        found.append(Instruction(0, function, last, often))
    return found


def test_parts_of_one_function_have_the_names_of_kernels() -> None:
    code = code_of("layers_compute_", 24, 1, 1, barriers=2)
    assert stages(code, ["in_proj", "head"])[1:] == [
        {"name": "head", "insns": 100, "calls": 1},
        {"name": "calls", "insns": 100},
    ]


def test_a_head_in_a_function_of_its_own_is_counted() -> None:
    code = code_of("layers_compute_", 24, 24, 1, barriers=2) + code_of(
        "region_compute_", 30, barriers=0
    )
    code += code_of("embedding_compute_", 0.1, barriers=0)
    found = {stage["name"]: stage["insns"] for stage in stages(code, ["in_proj", "head"])}
    assert found == {"layers 0": 2400, "layers 1": 2400, "region 0": 3000, "calls": 110}


def test_a_download_that_was_stopped_is_made_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stages_module, "CACHE", tmp_path)
    libraries, fetched = tmp_path / "arm64-runtime", []
    libraries.mkdir()
    monkeypatch.setattr(stages_module, "fetch_runtime", fetched.append)
    monkeypatch.setattr(stages_module, "build_runner", lambda *_, **__: None)
    stages_module.runner()
    assert fetched == [libraries]
    for name in RUNTIME:
        (libraries / name).touch()
    stages_module.runner()
    assert fetched == [libraries]
