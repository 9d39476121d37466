"""Text that losses are measured on: long, and not what weights were fitted to."""

import pytest
import torch

from tvm_c4n.pruning.allocation.texts import split_windows


def test_what_is_judged_is_long_and_was_not_fitted_to():
    windows = torch.arange(128 * 256).view(128, 256)
    fitted, judged = split_windows(windows)
    assert fitted.shape == (32, 256) and judged.shape == (2, 1024)
    assert fitted.max() < judged.min()
    assert torch.equal(judged.flatten(), windows[-8:].flatten())


@pytest.mark.parametrize(
    ("count", "width", "fitted", "judged"),
    [(3, 2048, 3, (2, 2048)), (8, 512, 8, (2, 1024)), (12, 48, 12, (1, 576)), (1, 8, 1, (1, 8))],
)
def test_few_or_other_windows_serve_as_far_as_they_go(count, width, fitted, judged):
    found, texts = split_windows(torch.zeros(count, width, dtype=torch.int64))
    assert (len(found), texts.shape) == (fitted, judged)
