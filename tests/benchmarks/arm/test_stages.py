"""Names of the stages of a step that kernels share."""

from benchmarks.arm.stages import joined


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
