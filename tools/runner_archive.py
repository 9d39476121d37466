"""Pack the runner for arm64 Linux, with its C library: ``python tools/runner_archive.py``.

``dist/c4n_run-arm64-linux.tar.xz`` starts on every arm64 Linux kernel, Android's among them, and
needs nothing of the system around it. The same sources and tools give the same bytes. What was
packed is unpacked again and run by qemu. Needs ``aarch64-linux-gnu-g++`` and ``qemu-aarch64``.
"""

from __future__ import annotations

import argparse
import hashlib
import io
import lzma
import subprocess
import tarfile
import tempfile
from pathlib import Path

from tvm_c4n.checkpoint.files import write_atomically
from tvm_c4n.compile.native import RUNTIME, build_runner, fetch_runtime

ROOT = Path(__file__).parents[1]
NAME = "c4n_run-arm64-linux"
LOADER = "ld-linux-aarch64.so.1"


def pack(folder: Path) -> bytes:
    """Return a tar of a folder, named `NAME` in it, in one order and without dates and owners."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as archive:
        for path in sorted(folder.rglob("*")):
            info = archive.gettarinfo(path, f"{NAME}/{path.relative_to(folder)}")
            info.mtime, info.uid, info.gid, info.uname, info.gname = 0, 0, 0, "", ""
            if path.is_file():
                with path.open("rb") as content:
                    archive.addfile(info, content)
            else:
                archive.addfile(info)
    return lzma.compress(packed.getvalue())


def help_of(archive: Path) -> str:
    """Unpack an archive and return what its runner says of itself, under qemu."""
    with tempfile.TemporaryDirectory() as unpacked:
        with tarfile.open(archive) as content:
            content.extractall(unpacked, filter="data")
        folder = Path(unpacked) / NAME
        # -L: nothing of this system may help.
        emulator = ["qemu-aarch64", "-L", "/nonexistent", str(folder / LOADER)]
        command = [*emulator, "--library-path", str(folder), str(folder / "c4n_run"), "-h"]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
    return done.stdout


def main() -> None:
    """Build, pack, try."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--runtime", type=Path, help="TVM's runtime libraries [fetched with pip]")
    parser.add_argument("--out", type=Path, default=ROOT / "dist" / f"{NAME}.tar.xz")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        runtime, runner = options.runtime, Path(temporary) / NAME
        if runtime is None:
            runtime = Path(temporary) / "runtime"
            fetch_runtime(runtime, RUNTIME)
        build_runner(runner, "arm64-linux", runtime=runtime)
        packed = pack(runner)
    options.out.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(options.out, packed)
    help_of(options.out)
    print(f"{options.out}: {len(packed) / 1e6:.1f} MB, runs under qemu")
    print(f"sha256 {hashlib.sha256(packed).hexdigest()}")


if __name__ == "__main__":
    main()
