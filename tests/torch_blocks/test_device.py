"""Devices by name, and the line that a user reads when there is none or it is too small."""

import pytest
import torch

from tvm_c4n.errors import C4nError, RecipeError
from tvm_c4n.torch_blocks.device import find_device, memory_errors


@pytest.mark.parametrize("name", ["tpu", "", "cuda:x", "mps"])
def test_other_devices_are_refused(name):
    with pytest.raises(RecipeError, match="is not cpu or cuda"):
        find_device(name)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU here")
def test_without_a_gpu_there_is_the_cpu():
    assert find_device("cpu") == torch.device("cpu")
    with pytest.raises(RecipeError, match="finds no GPU here; use --device cpu"):
        find_device("cuda")


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU that torch can use")
def test_gpus_are_counted():
    assert find_device("cuda") == torch.device("cuda:0")
    with pytest.raises(RecipeError, match=r"torch finds \d+ GPU\(s\) here"):
        find_device("cuda:99")


def test_a_full_memory_is_one_line():
    device = torch.device("cuda:1")
    with (
        pytest.raises(C4nError, match=r"^device cuda:1: its free memory does not suffice; rest$"),
        memory_errors(device, "rest"),
    ):
        raise torch.OutOfMemoryError("CUDA out of memory.\nTried to allocate ...")
