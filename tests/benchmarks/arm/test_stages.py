"""Names of the stages of a step that kernels share."""

from benchmarks.arm.stages import fits, joined


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
