"""Result files: what made them, where they belong, and a README in each folder that says so."""

from __future__ import annotations

import json
import os
import platform
import shlex
import subprocess
import sys
import textwrap
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from benchmarks.host import RESULTS, results_folder, this_machine
from benchmarks.machine import CACHE
from benchmarks.models import compiler_digest
from tvm_c4n import __version__
from tvm_c4n.checkpoint.files import write_atomically
from tvm_c4n.runtime.describe import cpu_model, cpu_name

README = "README.md"
# A command's lines have two columns in front and two behind.
WRAP = textwrap.TextWrapper(116, break_long_words=False, break_on_hyphens=False)
Run = dict[str, Any]


def command() -> str:
    """Return the command line that is running: a verb, or one of the tools."""
    program = Path(sys.argv[0])
    start = f"tools/{program.name}" if program.parent.name == "tools" else "-m benchmarks"
    return f"python {start} {shlex.join(sys.argv[1:])}"


def run_info() -> Run:
    """Describe this run: command, time (UTC), version, commit, compiler sources and machine."""
    return {
        "command": command(),
        "time": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "version": __version__,
        "commit": _commit(),
        "compiler": compiler_digest(),
        "cpu": cpu_name(),
        "cpu_model": cpu_model(),
        "machine": this_machine(),
        "cores": os.cpu_count(),
        "kernel": platform.release(),
    }


def place(name: str, save: bool) -> Path:
    """Return where a result goes: this machine's results folder, or build/bench without `save`."""
    return (results_folder() if save else CACHE) / name


def newest(name: str) -> Path:
    """Return the newest saved file of a name; this machine's path where there is none."""
    found = sorted(RESULTS.glob(f"*/{name}"))
    return found[-1] if found else place(name, save=True)


def write_result(file: Path, content: dict[str, Any]) -> None:
    """Write ``{"run": ..., **content}`` and bring the folder's README up to date."""
    file.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(file, json.dumps({"run": run_info(), **content}, indent=1) + "\n")
    update_readme(file)


def update_readme(file: Path) -> None:
    """Bring the README beside a result file up to date, if it lies in a results folder."""
    if file.parent.parent == RESULTS:
        write_atomically(file.parent / README, readme(file.parent))


def readme(folder: Path) -> str:
    """Describe the files of a results folder: machine, and command and version of each."""
    runs = {file.name: runs_of(file) for file in sorted(folder.iterdir()) if file.name != README}
    machines = sorted({_machine(run) for found in runs.values() for run in found})
    lines = [f"# Results: {folder.name}", "", *machines, ""]
    for name, found in runs.items():
        commands = dict.fromkeys(run["command"] for run in found)
        versions = ". ".join(dict.fromkeys(_version(run) for run in found))
        notes = [f" {run['note']}" for run in found if "note" in run]
        lines += [f"## {name}", "", "```", *(" \\\n  ".join(WRAP.wrap(c)) for c in commands), "```"]
        lines += ["", WRAP.fill(f"{versions}.{''.join(notes)}"), ""]
    return "\n".join(lines).rstrip("\n") + "\n"


def runs_of(file: Path) -> list[Run]:
    """Return the runs that a result file (JSON, or JSON lines) comes from."""
    text = file.read_text("utf-8")
    if file.suffix == ".jsonl":
        lines = [json.loads(line) for line in text.splitlines()]
        return [line for line in lines if line["type"] == "run"]
    return [json.loads(text)["run"]]


def _machine(run: Run) -> str:
    cores = f", {run['cores']} cores" if run.get("cores") else ""
    return f"{run['cpu']}{cores}{', Linux ' + run['kernel'] if run.get('kernel') else ''}"


def _version(run: Run) -> str:
    commit = f", commit {run['commit']}" if run.get("commit") else ""
    compiler = f", compiler sources {run['compiler']}" if run.get("compiler") else ""
    return f"{run['time'][:10]}, version {run['version']}{commit}{compiler}"


def _commit() -> str:
    git = ["git", "rev-parse", "--short", "HEAD"]
    try:
        done = subprocess.run(git, cwd=RESULTS, capture_output=True, text=True, check=False)
    except OSError:
        return ""
    return done.stdout.strip()


def results() -> None:
    """Write the README of every results folder."""
    for folder in sorted(path for path in RESULTS.iterdir() if path.is_dir()):
        write_atomically(folder / README, readme(folder))
        print(folder.name)
