"""Build wheel and sdist, check them, and run a bundled model from each: ``python tools/dist.py``.

Everything lands in ``dist/``. The environment that the model runs in is new and has what the wheel
asks for, so no torch; its text is compared with that of the checkout. Needs the extra ``dist``, and
a package index for the dependencies (300 MB).
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
import venv
from pathlib import Path

ROOT = Path(__file__).parents[1]
DIST = ROOT / "dist"
MOST_BYTES = 100_000_000  # of a file that package indexes take without asking
PACKAGES = ("tvm_c4n", "schedules", "relay_passes")
SDIST_HAS = {*PACKAGES, "CHANGELOG.md", "LICENSE", "PKG-INFO", "README.md", "pyproject.toml"}
# What hatchling adds by itself.
SDIST_ADDS = {".gitignore"}
RUN = ("run", "mamba-19m-n2-int4", "-p", "The old bridge", "-n", "24", "--quiet")


def call(*command: str | Path, folder: Path = ROOT, **variables: str) -> str:
    """Run a program and return what it prints; its errors are shown."""
    env = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(
        [str(word) for word in command],
        cwd=folder,
        env={**env, **variables},
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    return done.stdout


def build() -> tuple[Path, Path]:
    """Build both, the wheel from the sdist; returns wheel and sdist."""
    shutil.rmtree(DIST, ignore_errors=True)
    call(sys.executable, "-m", "build", "--outdir", DIST, ROOT)
    (wheel,), (sdist,) = DIST.glob("*.whl"), DIST.glob("*.tar.gz")
    return wheel, sdist


def check(wheel: Path, sdist: Path) -> None:
    """Raise if a file is too large, holds what it should not, or one of the checkers objects."""
    for file in (wheel, sdist):
        size_bytes = file.stat().st_size
        print(f"{file.name}: {size_bytes / 1e6:.1f} MB")
        if size_bytes >= MOST_BYTES:
            raise SystemExit(f"{file}: larger than {MOST_BYTES / 1e6:.0f} MB")
    with tarfile.open(sdist) as archive:
        found = {Path(name).parts[1] for name in archive.getnames() if len(Path(name).parts) > 1}
    if found - SDIST_ADDS != SDIST_HAS:
        raise SystemExit(f"{sdist}: differs in {sorted(found - SDIST_ADDS ^ SDIST_HAS)}")
    programs = Path(sys.executable).parent
    for command in (
        ["twine", "check", "--strict", wheel, sdist],
        ["check-wheel-contents", wheel],
        ["validate-pyproject", ROOT / "pyproject.toml"],
        ["deptry", *PACKAGES],
    ):
        print(f"{command[0]}: {call(programs / str(command[0]), *command[1:]).strip() or 'OK'}")


def run(wheel: Path, sdist: Path) -> None:
    """Install wheel and unpacked sdist in an empty environment; raise if a text differs."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        # Both compile the model anew, and once for both: their sources are the same.
        cache = {"XDG_CACHE_HOME": str(folder / "cache")}
        module = ("-m", "tvm_c4n.cli.app")
        expected = call(sys.executable, *module, *RUN, XDG_CACHE_HOME=str(folder / "own"))
        venv.create(folder / "env", with_pip=True)
        python = folder / "env/bin/python"
        pip = (python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check")
        call(*pip, wheel)
        if "torch" in call(python, "-m", "pip", "list", "--disable-pip-version-check"):
            raise SystemExit(f"{wheel}: brings torch along")
        with tarfile.open(sdist) as archive:
            archive.extractall(folder, filter="data")
        unpacked = folder / sdist.name.removesuffix(".tar.gz")
        for source in (wheel, unpacked):
            if source is unpacked:
                call(*pip, "--no-deps", "--force-reinstall", unpacked)
            found = call(folder / "env/bin/tvm-c4n", *RUN, folder=folder, **cache)
            if found != expected:
                raise SystemExit(f"{source.name}: wrote {found!r}, the checkout {expected!r}")
            print(f"{source.name}: runs without torch, with the same text")


def main() -> None:
    """Build, check, and unless told otherwise run."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--no-run", action="store_true", help="build and check only")
    options = parser.parse_args()
    wheel, sdist = build()
    check(wheel, sdist)
    if not options.no_run:
        run(wheel, sdist)


if __name__ == "__main__":
    main()
