"""The scan of a GPU, here on the CPU, against the compiled one, which has an oracle."""

import torch

from tvm_c4n.pruning.calibration import compiled_scan, step_scan


def test_both_scans_are_the_same():
    generator = torch.Generator().manual_seed(0)
    x, dt, z = torch.randn(3, 2, 9, 20, generator=generator)
    bc = torch.randn(2, 9, 2 * 4, generator=generator)
    a = -torch.rand(4, 20, generator=generator)
    bias, skip = torch.randn(2, 20, generator=generator)
    given = [x, dt, bc, z, a, bias, skip]
    before = [value.clone() for value in given]
    found = step_scan.selective_scan(*given)
    torch.testing.assert_close(found, compiled_scan.selective_scan(*given), rtol=1e-4, atol=1e-5)
    assert all(map(torch.equal, given, before))
