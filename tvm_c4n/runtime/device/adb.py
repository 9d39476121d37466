"""An Android device behind `adb`: push a runner and an artifact, run, read what it says.

The runner is `c4n_run` (`tvm_c4n.compile.native`); the device needs no other software.
"""

from __future__ import annotations

import shlex
import shutil
import subprocess
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tvm_c4n.checkpoint.json_reading import parse_value
from tvm_c4n.errors import ArtifactError, C4nError, DeviceError, shown
from tvm_c4n.runtime.artifact import MANIFEST, WEIGHTS, Artifact

# Where Android lets a shell user put and start programs.
FOLDER = "/data/local/tmp/tvm_c4n"

_PUSH_SECS, _SHELL_SECS = 3600, 30
_GLIBC_LOADER = "ld-linux-aarch64.so.1"
# Degrees that count for nothing between two looks at a device that cools.
_NEAR, _LOOK_SECS = 2.0, 5.0
_ABOUT = {
    "model": "getprop ro.product.model",
    "soc": "getprop ro.soc.model",
    "android": "getprop ro.build.version.release",
    "kernel": "uname -srm",
}
# One line of "name value" each; a file that is not there is left out.
_CONDITIONS = (
    "for f in /sys/devices/system/cpu/cpu[0-9]*/cpufreq/scaling_governor "
    "/sys/devices/system/cpu/cpu[0-9]*/cpufreq/cpuinfo_max_freq; do "
    '[ -r "$f" ] && echo "$f $(cat "$f")"; done; '
    "for z in /sys/class/thermal/thermal_zone*; do "
    '[ -r "$z/temp" ] && echo "$z/temp $(cat "$z/type") $(cat "$z/temp")"; done; true'
)


@dataclass(frozen=True)
class Conditions:
    """What a measurement depends on apart from the program.

    Attributes
    ----------
    governors : tuple of str
        The frequency governors of the cores, each once.
    big_cores : int
        Cores of the highest frequency; 0 where the system does not say.
    max_ghz : float
        That frequency.
    celsius : dict of str to float
        Temperatures by the name of their zone.
    """

    governors: tuple[str, ...] = ()
    big_cores: int = 0
    max_ghz: float = 0.0
    celsius: dict[str, float] = field(default_factory=dict)

    def __str__(self) -> str:
        parts = []
        if self.governors:
            parts.append(f"governor {'/'.join(self.governors)}")
        if self.big_cores:
            parts.append(f"{self.big_cores} big cores of {self.max_ghz:.2f} GHz")
        cpu = {k: v for k, v in self.celsius.items() if "cpu" in k.lower()} or self.celsius
        if cpu:
            parts.append(f"hottest zone {max(cpu.values()):.1f} C")
        return ", ".join(parts) or "the device does not tell governor, cores and temperature"


def parse_conditions(text: str) -> Conditions:
    """Read what the shell command of this module prints."""
    governors: set[str] = set()
    kilohertz: list[int] = []
    celsius: dict[str, float] = {}
    for line in text.splitlines():
        path, _, value = line.partition(" ")
        words = value.split()
        if path.endswith("scaling_governor") and words:
            governors.add(words[0])
        elif path.endswith("cpuinfo_max_freq") and value.strip().isdigit():
            kilohertz.append(int(value))
        elif path.endswith("/temp") and len(words) == 2 and words[1].lstrip("-").isdigit():
            # Thousandths of a degree; a few old kernels say whole degrees.
            number = int(words[1])
            celsius[words[0]] = number / 1000 if abs(number) > 200 else float(number)
    top = max(kilohertz, default=0)
    return Conditions(tuple(sorted(governors)), kilohertz.count(top), top / 1e6, celsius)


class AdbDevice:
    """An arm64 device that `adb` reaches.

    Parameters
    ----------
    serial : str, optional
        As `adb devices` shows it; default: the only device.

    Raises
    ------
    C4nError
        `adb` is not installed; DeviceError: there is no such device, or it is no arm64 machine.
    """

    def __init__(self, serial: str | None = None) -> None:
        path = shutil.which("adb")
        if path is None:
            raise C4nError("adb is not installed: on Debian, apt-get install adb")
        self._adb = [path, *(["-s", serial] if serial else [])]
        machine = self.shell("uname -m")
        if machine != "aarch64":
            raise DeviceError(f"the device is {machine!r}; the runner needs aarch64")

    def shell(self, command: str) -> str:
        """Return what a shell command on the device prints."""
        return self._run(["shell", command], _SHELL_SECS).strip()

    def conditions(self) -> Conditions:
        """Read governor, cores and temperatures."""
        return parse_conditions(self.shell(_CONDITIONS))

    def describe(self) -> dict[str, str]:
        """Return what the device says of itself: names, version of Android, kernel, and CPU."""
        asked = (f'echo "{name} $({command} 2>/dev/null)"' for name, command in _ABOUT.items())
        told = (line.partition(" ") for line in self.shell("; ".join(asked)).splitlines())
        about = {name: value.strip() for name, _, value in told}
        return {**about, "cpuinfo": self.shell("cat /proc/cpuinfo")}

    def cool(self, first: Conditions, limit_secs: float) -> Conditions:
        """Wait until the device is as warm as it was, or for some seconds; returns what it is."""
        end = time.monotonic() + limit_secs
        while True:
            now = self.conditions()
            near = now.celsius and max(now.celsius.values()) <= max(first.celsius.values()) + _NEAR
            if near or time.monotonic() >= end:
                return now
            time.sleep(min(_LOOK_SECS, limit_secs))

    def push(self, artifact: Artifact, runner: Path) -> list[str]:
        """Send what the device does not have yet.

        Parameters
        ----------
        artifact : Artifact
            Compiled for an arm64 target.
        runner : Path
            Folder of `tvm-c4n runner` for the same system.

        Returns
        -------
        list of str
            The command, in the device's shell, that runs the artifact.

        Raises
        ------
        ArtifactError
            Artifact and runner do not fit each other.
        DeviceError
            adb fails.
        """
        if not (runner / "run.sh").is_file():
            raise ArtifactError(f"{runner} is no runner: make one with 'tvm-c4n runner'")
        system = "arm64-linux" if (runner / _GLIBC_LOADER).is_file() else "arm64-android"
        manifest = artifact.manifest
        fits = ("android" in manifest.triple) == (system == "arm64-android")
        if not fits or not manifest.triple.startswith("aarch64"):
            raise ArtifactError(
                f"{artifact.path} is compiled for {manifest.triple}, the runner in {runner} for "
                f"{system}: compile with --target {system}"
            )
        artifact.verify()
        # Named by content: an artifact that is compiled again does not meet its older files.
        there = f"{FOLDER}/{manifest.library_sha256[:12]}-{manifest.weights_sha256[:12]}"
        programs = f"{FOLDER}/runner-{system}"
        files = [artifact.path / name for name in (manifest.library, WEIGHTS, MANIFEST)]
        self.send(files, there)
        own = sorted(path for path in runner.iterdir() if path.is_file())
        self.send(own, programs, start=("run.sh", "c4n_run", _GLIBC_LOADER))
        return [f"{programs}/run.sh", there]

    def send(self, files: Sequence[Path], folder: str, *, start: Sequence[str] = ()) -> None:
        """Send files to a folder of the device, those that changed; `start` are programs."""
        self.shell(shlex.join(["mkdir", "-p", folder]))
        self._run(["push", "--sync", *map(str, files), folder], _PUSH_SECS)
        programs = [f"{folder}/{file.name}" for file in files if file.name in start]
        if programs:
            self.shell(shlex.join(["chmod", "755", *programs]))

    def output(self, command: Sequence[str]) -> str:
        """Return what a program on the device prints, however long it runs."""
        return self._run(["shell", shlex.join(command)], _PUSH_SECS)

    def generate(
        self,
        command: Sequence[str],
        prompt: Sequence[int],
        limit: int,
        *,
        ends: Sequence[int],
        threads: int,
    ) -> Iterator[int]:
        """Yield the tokens that follow a prompt as the device chooses them.

        Raises
        ------
        DeviceError
            The runner fails; its message is passed on.
        """
        options = ["-n", str(limit), "--ends", ",".join(map(str, ends)), "-t", str(threads)]
        started = [*self._adb, "shell", shlex.join([*command, *options])]
        with subprocess.Popen(  # noqa: S603 - a list, never a shell of this machine
            started,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        ) as running:
            assert running.stdin and running.stdout and running.stderr  # noqa: S101 - pipes
            running.stdin.write(" ".join(map(str, prompt)) + "\n")
            running.stdin.close()
            try:
                for line in running.stdout:
                    yield int(line)
            finally:
                running.stdout.close()
                self.said = running.stderr.read().strip()
        if running.returncode:
            raise DeviceError(f"the device's runner failed: {self.said or running.returncode}")

    def bench(
        self, command: Sequence[str], *, n_prompt: int, n_gen: int, reps: int, threads: int
    ) -> list[dict[str, Any]]:
        """Measure with llama-bench's tests; returns the runner's objects, one for each test."""
        sizes = ["-p", str(n_prompt), "-g", str(n_gen), "-r", str(reps), "-t", str(threads)]
        text = self.output([*command, "--bench", *sizes])
        found = parse_value(text, "the device's runner", "send the runner again", DeviceError)
        if not isinstance(found, list):
            raise DeviceError(f"the device's runner said {shown(text)}, not a list of results")
        return found

    def _run(self, arguments: list[str], limit_secs: float) -> str:
        command = [*self._adb, *arguments]
        try:
            done = subprocess.run(  # noqa: S603 - a list, never a shell of this machine
                command,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                check=False,
                timeout=limit_secs,
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            raise DeviceError(f"adb {arguments[0]}: {error}") from error
        if done.returncode:
            said = (done.stderr.strip() or done.stdout.strip()).splitlines()
            raise DeviceError(f"adb {arguments[0]}: {said[-1] if said else done.returncode}")
        return done.stdout
