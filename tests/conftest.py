"""Fixtures for every test folder."""

from __future__ import annotations

import gc
import importlib.util
import inspect
import io
import os
import shutil
import signal
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, settings

from tests.once import made_once, shared_folder

if TYPE_CHECKING:
    from tests.hub import Hub

# How long an example takes says how busy the machine is.
settings.register_profile("house", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("house")


def _near_frames(context: int = 1) -> list[inspect.FrameInfo]:
    """Return the frames up to the import that runs them, innermost first."""
    found, frame = [], inspect.currentframe()
    while (frame := frame and frame.f_back) and not frame.f_code.co_filename.startswith("<frozen"):
        found.append(inspect.FrameInfo(frame, *inspect.getframeinfo(frame, context)))
    return found


# Each TVMScript decorator asks for all frames with their sources, and looks at the nearest. Those
# of the import system have no source: each is looked for in all modules, for half the collection.
inspect.stack = _near_frames


def pytest_collection_finish() -> None:
    """Keep what is there by now out of garbage collections: it stays, and there is a lot of it."""
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="session")
def small_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Hugging Face folder with two layers, random weights and a tokenizer of 96 words."""
    from tests.models import write_model, write_tokenizer  # most tests do without

    folder = write_model(tmp_path_factory.mktemp("model") / "small")
    write_tokenizer(folder)
    return folder


@pytest.fixture
def hub(small_model: Path, tmp_path: Path) -> Iterator[Hub]:
    """A hub that has the small model as ``org/small``, beside files that are nothing to us."""
    from tests.hub import hub_of  # most tests do without

    folder = tmp_path / "served"
    shutil.copytree(small_model, folder)
    (folder / "modeling_small.py").write_text("raise SystemExit('code of a stranger')\n")
    (folder / "pytorch_model.bin").write_bytes(b"a pickle")
    (folder / "README.md").write_text("---\nlicense: apache-2.0\n---\n# small\n")
    with hub_of({"org/small": folder}, tmp_path / "home" / "hub") as found:
        yield found


@pytest.fixture(scope="session")
def small_artifact(small_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The small model, compiled for this machine. Tests change copies."""
    from tvm_c4n.compile.artifact import compile_model  # most tests do without

    return made_once(tmp_path_factory, "small/art", lambda out: compile_model(small_model, out))


@pytest.fixture(scope="session")
def hybrid_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder like `small_model` with attention: it reads texts of 64 tokens."""
    from tests.models import HYBRID, write_model, write_tokenizer  # most tests do without

    folder = write_model(tmp_path_factory.mktemp("model") / "hybrid", HYBRID)
    write_tokenizer(folder)
    return folder


@pytest.fixture(scope="session")
def hybrid_artifact(hybrid_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The model with attention, compiled for this machine. Tests change copies."""
    from tvm_c4n.compile.artifact import compile_model  # most tests do without

    return made_once(tmp_path_factory, "hybrid/art", lambda out: compile_model(hybrid_model, out))


@pytest.fixture(scope="session")
def words(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """4000 words of the small model's vocabulary in 40 documents."""
    from tests.models import write_words

    return write_words(tmp_path_factory.mktemp("text") / "words.jsonl")


@dataclass(frozen=True)
class Result:
    """What a call of the command line left."""

    code: int
    out: str
    err: str


@pytest.fixture
def call(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> Iterator[Callable[..., Result]]:
    """``call("prune", model, ...) -> Result``: the command line, in this process.

    ``stdin`` is what is piped in.
    """
    from tvm_c4n.cli.app import main  # most tests do without

    handlers = {n: signal.getsignal(n) for n in (signal.SIGTERM, signal.SIGINT)}

    def run(*args: object, stdin: bytes = b"") -> Result:
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(stdin)))
        monkeypatch.setattr(sys, "argv", ["tvm-c4n", *map(str, args)])
        code = 0
        try:
            main()
        except SystemExit as left:
            code = int(left.code or 0)
        captured = capsys.readouterr()
        return Result(code, captured.out, captured.err)

    yield run
    for number, handler in handlers.items():
        signal.signal(number, handler)


@pytest.fixture(scope="session", autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A cache of compiled models for this run of the tests: the user's is neither used nor filled.

    All processes of the run share it, and programs that tests start see it, too.
    """
    before = os.environ.get("XDG_CACHE_HOME")
    folder = shared_folder(tmp_path_factory) / "cache"
    os.environ["XDG_CACHE_HOME"] = str(folder)
    yield folder / "tvm-c4n"
    if before is None:
        del os.environ["XDG_CACHE_HOME"]
    else:
        os.environ["XDG_CACHE_HOME"] = before


@pytest.fixture(scope="session", autouse=True)
def fast_builds() -> Iterator[None]:
    """C++ is compiled for a short compilation: what tests run of it takes no time."""
    before = os.environ.get("CXXFLAGS")
    os.environ["CXXFLAGS"] = "-O0" if before is None else before
    yield
    if before is None:
        del os.environ["CXXFLAGS"]


def _missing(remedy: str) -> None:
    # A build that is meant to run these tests may not lose them without a word.
    (pytest.fail if os.environ.get("CI") == "true" else pytest.skip)(remedy)


@pytest.fixture(scope="session")
def lld() -> None:
    """Skip where nothing links for every ELF target, among them Android's."""
    from tvm_c4n.compile.linker import find_lld

    if find_lld() is None:
        _missing("apt-get install lld, or pip install ziglang")


@pytest.fixture(scope="session")
def arm_linker() -> None:
    """Skip where nothing links for arm64 Linux."""
    from tvm_c4n.compile.linker import find_lld

    if not shutil.which("aarch64-linux-gnu-gcc") and find_lld() is None:
        _missing("apt-get install lld or gcc-aarch64-linux-gnu, or pip install ziglang")


@pytest.fixture(scope="session")
def host_compiler() -> None:
    """Skip where nothing compiles C++ for this machine."""
    if not any(shutil.which(name) for name in ("c++", "g++", "clang++")):
        _missing("apt-get install g++")


@pytest.fixture(scope="session")
def host_runner(host_compiler: None, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The runner for this machine."""
    from tvm_c4n.compile.native import LAUNCHER, build_runner

    return made_once(tmp_path_factory, "host-runner", build_runner) / LAUNCHER


@pytest.fixture(scope="session")
def curl() -> str:
    """The program, or skip where there is none."""
    found = shutil.which("curl")
    if found is None:
        _missing("apt-get install curl")
    return str(found)


def _load_emulator() -> ModuleType:
    # By path: with --import-mode=importlib no test folder is on sys.path. Only when a test asks for
    # it: it imports tvm, and most tests do without.
    name = "tvm_c4n_phone_emulator"
    if name not in sys.modules:
        path = Path(__file__).parent / "phone" / "emulator.py"
        spec = importlib.util.spec_from_file_location(name, path)
        assert spec
        assert spec.loader
        sys.modules[name] = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(sys.modules[name])
    return sys.modules[name]


def _start(**options: Any) -> Iterator[Any]:
    emulator = _load_emulator()
    try:
        with emulator.emulated_phone(**options) as running:
            yield running
    except emulator.MissingTools as error:
        _missing(str(error))


@pytest.fixture(scope="session")
def phone() -> Iterator[Any]:
    """An emulated phone like a Cortex-A78; `tests/phone/emulator.py` has its methods."""
    yield from _start()


@pytest.fixture(scope="session")
def phone_max() -> Iterator[Any]:
    """An emulated phone with every feature that qemu knows, among them i8mm and SVE."""
    yield from _start(cpu="max")


@pytest.fixture
def own_phone() -> Iterator[Any]:
    """An emulated phone that a test may kill."""
    yield from _start(threads=1)


@pytest.fixture
def two_phones() -> Iterator[Any]:
    """Two emulated phones at one tracker."""
    yield from _start(threads=1, count=2)


@pytest.fixture
def adb(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A stand-in for adb on PATH; returns the device's folder."""
    root, tools = tmp_path / "device", tmp_path / "tools"
    cpu = root / "sys/devices/system/cpu"
    zone = root / "sys/class/thermal/thermal_zone3"
    for folder in (root / "data", tools, zone):
        folder.mkdir(parents=True)
    for core, kilohertz in enumerate([1800000, 1800000, 2840000]):
        frequency = cpu / f"cpu{core}/cpufreq"
        frequency.mkdir(parents=True)
        (frequency / "scaling_governor").write_text("schedutil\n")
        (frequency / "cpuinfo_max_freq").write_text(f"{kilohertz}\n")
    (zone / "type").write_text("cpu-1-0\n")
    (zone / "temp").write_text("41300\n")
    fake = Path(__file__).with_name("fake_adb.py")
    (tools / "adb").write_text(f'#!/bin/sh\nexec {sys.executable} {fake} "$@"\n')
    (tools / "adb").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tools}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("FAKE_ADB_ROOT", str(root))
    return root


@pytest.fixture(scope="session")
def phone_folder() -> Path:
    """What the emulated phone runs on: ``bin`` has TVM's runtime libraries for arm64 Linux."""
    emulator = _load_emulator()
    try:
        return Path(emulator.build_phone())
    except emulator.MissingTools as error:
        _missing(str(error))
        raise


@pytest.fixture(scope="session")
def arm_runner(phone_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the runner for arm64 Linux."""
    from tvm_c4n.compile.native import build_runner

    def make(out: Path) -> None:
        build_runner(out, "arm64-linux", runtime=phone_folder / "bin")

    return made_once(tmp_path_factory, "arm64-runner", make)
