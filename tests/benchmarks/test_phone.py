"""A phone is measured from here: ours under qemu, behind a stand-in for adb."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmarks import phone as module
from tvm_c4n.errors import C4nError


@pytest.mark.slow
@pytest.mark.phone
def test_all_that_was_measured_is_in_one_file(
    adb: Path, arm_runner: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys
) -> None:
    monkeypatch.setattr(module, "runner", lambda: arm_runner)  # else it would get TVM's by pip
    file = tmp_path / "phone.json"
    sizes = {"sizes": "mamba-19m", "formats": "int4-n2,int4-n3", "baselines": ""}
    module.phone(**sizes, rounds=2, n_prompt=8, n_gen=4, pause=0, out=file)
    found = json.loads(file.read_text())
    rows = [(one["row"], one["test"], one["threads"]) for one in found["samples"]]
    a, b = ("C4n int4 n=2", "pp8", 1), ("C4n int4 n=3", "pp8", 1)  # one big core
    c, d = ("C4n int4 n=2", "tg4", 1), ("C4n int4 n=3", "tg4", 1)
    assert rows == [a, b, c, d, b, c, d, a]
    assert all(one["secs"] > 0 for one in found["samples"])
    assert all(
        one[when]["celsius"] == {"cpu-1-0": 41.3}
        for one in found["samples"]
        for when in ("before", "after")
    )
    assert "Linux" in found["phone"]["kernel"] and "processor" in found["phone"]["cpuinfo"]
    assert found["run"]["version"]
    assert found["built"]["level"] in ("dotprod", "i8mm")
    assert str(file) in capsys.readouterr().out


def test_llama_cpp_is_built_where_it_is_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    script = tmp_path / "install.sh"
    script.write_text('[ "$1" = --arm ] && touch "$2/bench"\n')
    monkeypatch.setattr(module, "_INSTALL", script)
    monkeypatch.setenv("LLAMA_CPP", str(tmp_path))
    assert module.build(tmp_path / "bench", "--arm").is_file()
    with pytest.raises(C4nError, match=r"cannot build .*/other: .*install.sh says what it"):
        module.build(tmp_path / "other")
    script.write_text("exit 1\n")
    assert module.build(tmp_path / "bench", "--arm").is_file()
