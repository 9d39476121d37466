"""TVM knows our pipeline by its name, whichever package was imported first, or TVM alone."""

from __future__ import annotations

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
    program = f"{imports}; from tvm import relax; print(relax.get_pipeline('c4n').info.name)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.stdout == "c4n\n", done.stderr
