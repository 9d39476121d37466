"""llama.cpp as a baseline: its files made from the same weights, its speed by its own llama-bench.

`install.sh` builds it into a folder, the prefix: ``$LLAMA_CPP`` or build/llama.cpp.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
from pathlib import Path
from typing import NamedTuple

from benchmarks.machine import CACHE
from benchmarks.models import model_folder
from benchmarks.random_models import Format
from tvm_c4n.checkpoint.files import atomic_output
from tvm_c4n.errors import C4nError

# llama-quantize chooses the types of single tensors by itself.
TYPES = ("F16", "Q8_0", "Q4_0", "IQ4_NL", "Q4_K_M", "Q3_K_M", "Q2_K")


def prefix() -> Path:
    """Return the folder that `install.sh` filled."""
    return Path(os.environ.get("LLAMA_CPP") or CACHE.parent / "llama.cpp")


def version() -> str:
    """Return the version of the llama-cpp-python that is built; "" where nothing says so."""
    about = prefix() / "src" / "PKG-INFO"
    text = about.read_text("utf-8") if about.is_file() else ""
    found = re.search(r"^Version: (\S+)", text, re.M)
    return found[1] if found else ""


def program(name: str) -> Path:
    """Return one of llama.cpp's programs.

    Raises
    ------
    C4nError
        It is not built.
    """
    path = prefix() / "build" / "bin" / name
    if not path.is_file():
        raise C4nError(f"{path} is missing: make bench-llama builds it, or set LLAMA_CPP=PREFIX")
    return path


def gguf_file(size: str, kind: str) -> Path:
    """Return the GGUF file of a dense model in one of the `TYPES`; makes it where it is missing."""
    if kind not in TYPES:
        raise C4nError(f"llama.cpp's type is {kind!r}; known are {', '.join(TYPES)}")
    out = CACHE / "gguf" / f"{size}-{kind}.gguf"
    if out.is_file():
        return out
    if kind == "F16":
        from benchmarks.llama_cpp.to_gguf import write_gguf

        return write_gguf(model_folder(size, Format("float16", 0)), out)
    source = gguf_file(size, "F16")
    with atomic_output(out) as temporary:
        command = [str(program("llama-quantize")), str(source), str(temporary), kind]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            raise C4nError(f"llama-quantize {source.name} {kind}: {done.stderr.strip()[-200:]}")
    return out


def tensor_bytes(file: Path, name: str) -> int:
    """Return the bytes of a tensor of a GGUF file."""
    from gguf import GGUFReader

    return next(int(tensor.n_bytes) for tensor in GGUFReader(file).tensors if tensor.name == name)


class Run(NamedTuple):
    """What one llama-bench process found: seconds of the test, bytes of the model's tensors."""

    secs: float
    weight_bytes: int


def run(file: Path, threads: int, n_prompt: int, n_gen: int) -> Run:
    """Measure a file once, after a short warm-up inside the same process.

    Parameters
    ----------
    file : Path
    threads : int
    n_prompt, n_gen : int
        One of them is 0.

    Raises
    ------
    C4nError
        llama-bench fails.
    """
    tests = ["-p", f"16,{n_prompt}", "-n", "0"] if n_prompt else ["-p", "0", "-n", f"2,{n_gen}"]
    command = [str(program("llama-bench")), "-m", str(file), "-t", str(threads), *tests]
    command += ["-r", "1", "--no-warmup", "-o", "json"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        said = done.stderr.strip()[-200:]
        raise C4nError(f"llama-bench {file.name}: exit {done.returncode}: {said}")
    return read(done.stdout, n_prompt, n_gen)


def read(text: str, n_prompt: int, n_gen: int) -> Run:
    """Read what llama-bench, or `bench.cpp`, says of a test."""
    rows = json.loads(text)
    row = next(r for r in rows if (r["n_prompt"], r["n_gen"]) == (n_prompt, n_gen))
    return Run(row["avg_ns"] / 1e9, row["model_size"])
