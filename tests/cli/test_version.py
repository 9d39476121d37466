"""The versions in one line, without what takes seconds to load."""

from __future__ import annotations

import json
import subprocess
import sys
from importlib.metadata import version

from tvm_c4n._tvm import compiler_version
from tvm_c4n._version import __version__
from tvm_c4n.cli.version import version_line
from tvm_c4n.compile.target import resolve_target
from tvm_c4n.ops.isa import isa_of


def test_the_line_says_what_the_compiler_says() -> None:
    assert version_line() == (
        f"tvm-c4n {__version__}, TVM {version('apache-tvm')}, "
        f"LLVM {compiler_version()}, kernels: {isa_of(resolve_target('host')).name}"
    )


def test_neither_tvm_nor_torch_is_imported_for_it() -> None:
    program = (
        "import json, sys\n"
        "from tvm_c4n.cli.version import version_line\n"
        "version_line()\n"
        "print(json.dumps(sorted({'tvm', 'torch', 'tokenizers'} & set(sys.modules))))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=200
    )
    assert json.loads(done.stdout) == []
