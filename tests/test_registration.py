"""TVM knows what is ours, whichever package was imported first, or TVM alone."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest


@pytest.mark.parametrize(
    "imports",
    [
        "import tvm",
        pytest.param("import tvm, tvm_c4n", marks=pytest.mark.slow),
        pytest.param("import tvm_c4n, tvm", marks=pytest.mark.slow),
        pytest.param("import tvm_c4n._tvm", marks=pytest.mark.slow),
        pytest.param(
            "import os; os.environ['TVM_DEVICE_BACKEND_AUTOLOAD'] = '0'; import tvm, tvm_c4n",
            marks=pytest.mark.slow,
        ),
    ],
)
def test_the_name_is_known_when_both_packages_are_there(imports: str) -> None:
    program = f"""
{imports}
from tvm import relax
from tvm.relax.backend.pattern_registry import get_pattern
from tvm.target import Target
print(relax.get_pipeline("c4n").info.name, get_pattern("c4n.linear").name)
print(Target("c4n/cortex-x4").attrs["model"])
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.stdout == "c4n c4n.linear\ncortex-x4\n", done.stderr


def test_it_takes_less_than_5_ms_of_an_import_of_tvm() -> None:
    """The best of five times: the first one may compile our modules, and others use the cores."""
    program = """
import sys, time, tvm
from tvm.relax.pipeline import PIPELINE_MAP
seconds = []
for _ in range(5):
    for name in [name for name in sys.modules if name.split(".")[0] == "tvm_c4n"]:
        del sys.modules[name]
    PIPELINE_MAP.pop("c4n", None)
    start = time.process_time()
    from tvm_c4n._registration import register_with_tvm
    register_with_tvm()
    seconds.append(time.process_time() - start)
print(min(seconds), len([name for name in sys.modules if name.split(".")[0] == "tvm_c4n"]))
"""
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, env=environment
    )
    seconds, modules = done.stdout.split()
    assert 0 < float(seconds) < 0.005
    assert int(modules) == 5  # the package, its version, and what registers
