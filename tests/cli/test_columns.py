"""What goes to stdout fits 80 columns, for each verb."""

from __future__ import annotations

import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.cli.test_tune import write_records
from tvm_c4n.compile.target import resolve_target
from tvm_c4n.tuning.tasks import tasks_of

COLUMNS = 80
PRUNE = "prune model -o out --calibration longer.jsonl --samples 4"
HEAL = "heal pruned -o out --teacher model --data text.jsonl --device cpu"
COMMANDS = [
    f"{PRUNE} --removed in_proj=3,out_proj=1 --dtype int8",
    pytest.param(f"{PRUNE} --sparsity 0.3", marks=pytest.mark.slow),
    pytest.param(f"{PRUNE} --ppl-ratio 1.5", marks=pytest.mark.slow),
    f"{HEAL} --tokens 1280 --batch 8 --window 16 --held-out 8",
    "inspect model",
    "inspect pruned",
    "inspect model.art",
    "inspect mamba-19m-s30-int4",
    pytest.param("compile pruned -o out", marks=pytest.mark.slow),
    pytest.param("compile pruned -o out --target arm64-linux", marks=pytest.mark.slow),
    "run pruned -n 4",
    "eval model.art --text text.jsonl --window 64",
    "eval model.art --tasks blimp --max-items 4",
    pytest.param(
        "bench model.art pruned model -t 1,2 --n-prompt 4 --n-gen 4 -r 2", marks=pytest.mark.slow
    ),
    pytest.param("bench --profile pruned -t 1", marks=pytest.mark.slow),
]


def longest(text: str) -> str:
    return max(text.splitlines(), key=len)


@pytest.mark.parametrize("command", COMMANDS)
def test_stdout_fits(
    command: str,
    furnished: Path,
    call: Callable[..., Any],
    monkeypatch: pytest.MonkeyPatch,
    request: pytest.FixtureRequest,
) -> None:
    if "arm64" in command:
        request.getfixturevalue("arm_linker")
    monkeypatch.setenv("COLUMNS", str(COLUMNS))
    result = call(*shlex.split(command))
    assert result.code == 0, result.err
    assert len(longest(result.out)) <= COLUMNS, longest(result.out)


@pytest.mark.slow
@pytest.mark.parametrize("options", [[], ["--target", "arm64-linux", "--runtime"]])
def test_what_runner_says_fits(
    options: list[str],
    furnished: Path,
    host_compiler: None,
    call: Callable[..., Any],
    request: pytest.FixtureRequest,
) -> None:
    if options:
        options = [*options, str(request.getfixturevalue("phone_folder") / "bin")]
    result = call("runner", "-o", "runner", *options)
    assert result.code == 0, result.err
    assert result.out.startswith("runner:        runner/run.sh\n")
    assert len(longest(result.out)) <= COLUMNS, longest(result.out)


@pytest.mark.phone
def test_what_deploy_says_fits(
    furnished: Path, phone: Any, arm_artifact: Path, call: Callable[..., Any]
) -> None:
    (furnished / "arm.art").symlink_to(arm_artifact)
    device = f"rpc://127.0.0.1:{phone.tracker.port}/phone"
    deploy = ["deploy", "arm.art", "--device", device, "-t", "1"]
    for options in ("--bench --n-prompt 4 --n-gen 4 -r 2", "-p w3 -n 2"):
        result = call(*deploy, *options.split())
        assert result.code == 0, result.err
        assert len(longest(result.out)) <= COLUMNS, longest(result.out)


@pytest.mark.slow
@pytest.mark.phone
def test_what_deploy_over_adb_says_fits(
    furnished: Path,
    adb: Path,
    arm_artifact: Path,
    arm_runner: Path,
    call: Callable[..., Any],
) -> None:
    (furnished / "arm.art").symlink_to(arm_artifact)
    deploy = ["deploy", "arm.art", "--device", "adb:phone1", "--runner", arm_runner, "-t", "1"]
    for options in ("--bench --n-prompt 4 --n-gen 4 -r 2", "-p w3 -n 2"):
        result = call(*deploy, *options.split())
        assert result.code == 0, result.err
        assert len(longest(result.out)) <= COLUMNS, longest(result.out)


def test_what_tune_and_records_show_fits(furnished: Path, call: Callable[..., Any]) -> None:
    write_records(furnished / "r", tasks_of("mamba-19m-s30-int4", resolve_target("host")))
    result = call("records", "r")
    assert "prefetch_distance=" in result.out
    assert len(longest(result.out)) <= COLUMNS, longest(result.out)
