"""Any Relax module, its dense layers sparse: `python examples/tvm_module.py`.

Shows `tvm_c4n.build`, which prunes the layers by a recipe and compiles C4n kernels, and the same as
a pipeline of `relax.build`. Both give the same numbers.
"""

from __future__ import annotations

import numpy as np
import tvm
from tvm import relax
from tvm.relax.frontend import nn

import tvm_c4n

WIDTH, HIDDEN = 256, 512


class Mlp(nn.Module):
    """Two dense layers with an activation between them."""

    def __init__(self) -> None:
        self.up = nn.Linear(WIDTH, HIDDEN, bias=False)
        self.down = nn.Linear(HIDDEN, WIDTH, bias=False)

    def forward(self, x: nn.Tensor) -> nn.Tensor:
        """Return the layers' output, of the shape of `x`."""
        return self.down(nn.op.silu(self.up(x)))


def main() -> None:
    """Build the module dense and sparse, run all, and compare."""
    spec = {"forward": {"x": nn.spec.Tensor((1, WIDTH), "float32")}}
    mod, parameters = Mlp().export_tvm(spec)
    rng = np.random.default_rng(0)
    params = {
        name: rng.normal(0, 0.05, parameter.shape).astype("float32")
        for name, parameter in parameters
    }
    x = rng.normal(size=(1, WIDTH)).astype("float32")

    def run(executable: relax.VMExecutable) -> np.ndarray:
        machine = relax.VirtualMachine(executable, tvm.cpu())
        return machine["forward"](tvm.runtime.tensor(x)).numpy()

    dense = run(tvm_c4n.build(mod, params=params))
    recipe = tvm_c4n.Recipe(removed=1, method="magnitude", dtype="float16")
    sparse = run(tvm_c4n.build(mod, params=params, recipe=recipe))
    change = np.abs(sparse - dense).mean() / np.abs(dense).mean()
    print(f"1 of every 4 weights removed: the output changes by {change:.0%}")

    # The same in TVM's own build: there the weights are bound as constants first.
    bound = relax.transform.BindParams("forward", params)(mod)
    target = tvm.target.Target("llvm")
    with target:
        executable = relax.build(bound, target, relax_pipeline=tvm_c4n.pipeline(recipe=recipe))
    same = np.allclose(run(executable), sparse, atol=1e-3)
    print(f"relax.build with tvm_c4n.pipeline: {'the same' if same else 'other'} numbers")


if __name__ == "__main__":
    main()
