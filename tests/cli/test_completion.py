"""The Tab key, in a bash that has read what `--show-completion` prints."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tvm_c4n.assets import MODELS
from tvm_c4n.cli.completion import bundled

ROOT = Path(__file__).parents[2]


def test_names_are_those_of_bundled_models() -> None:
    assert bundled("") == list(MODELS)
    assert bundled("mamba-19m-n") == ["mamba-19m-n2-int4", "mamba-19m-n3-int4"]
    assert bundled("pruned") == []


@pytest.mark.parametrize(
    ("typed", "offered"),
    [
        ("tvm-c4n ru", ["run", "runner"]),
        ("tvm-c4n chat mamba-19m-n", ["mamba-19m-n2-int4", "mamba-19m-n3-int4"]),
        ("tvm-c4n bench mamba-19m mamba-19m-s", ["mamba-19m-s30-int4"]),
        ("tvm-c4n run --repeat-", ["--repeat-penalty", "--repeat-last-n"]),
        # Files are bash's own business: it offers them where nothing else fits.
        ("tvm-c4n run ./", []),
    ],
)
def test_bash_offers_what_may_follow(tmp_path: Path, typed: str, offered: list[str]) -> None:
    if (bash := shutil.which("bash")) is None:
        pytest.skip("no bash here")
    command = tmp_path / "tvm-c4n"
    command.write_text(
        f"#!{sys.executable}\nimport sys\nsys.path.insert(0, {str(ROOT)!r})\n"
        "from tvm_c4n.cli.app import main\nmain()\n"
    )
    command.chmod(0o755)
    words = typed.split(" ")
    script = (
        f"PATH={tmp_path}:$PATH\n"
        "source <(_TVM_C4N_COMPLETE=source_bash tvm-c4n)\n"
        f"COMP_WORDS=({typed}); COMP_CWORD={len(words) - 1}\n"
        "complete -p tvm-c4n >&2\n"
        "_tvm_c4n_completion tvm-c4n\n"
        'printf "%s\\n" "${COMPREPLY[@]}"\n'
    )
    done = subprocess.run(
        [bash, "--norc", "-c", script], capture_output=True, text=True, check=True, timeout=200
    )
    assert "complete -o default -F _tvm_c4n_completion tvm-c4n" in done.stderr
    assert done.stdout.split() == offered
