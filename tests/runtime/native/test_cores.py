"""The runner's cores are those of Python, and the count of threads that nobody gave is chosen."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from tests.once import made_once
from tests.runtime.test_cores import PHONE, sysfs
from tvm_c4n.compile.native import RUNTIME, SOURCES, package_folder
from tvm_c4n.runtime.cores import find_cores


def program(tmp_path_factory: pytest.TempPathFactory, name: str, *sources: str) -> Path:
    """Compile a program of this folder, with every warning as an error."""

    def make(out: Path) -> None:
        homes = [package_folder(package) / "lib" for package in ("tvm", "tvm_ffi")]
        libraries = [str(home / file) for home, file in zip(homes, RUNTIME, strict=True)]
        command = [*os.environ.get("CXX", "c++").split(), "-std=c++17", "-O1", "-Wall", "-Wextra"]
        command += ["-Werror", "-isystem", str(package_folder("tvm_ffi") / "include")]
        command += [f"-I{SOURCES}", str(Path(__file__).with_name(f"{name}.cpp"))]
        command += [str(SOURCES / f"{source}.cpp") for source in sources]
        if "threads" in sources:
            command += ["-Wl,--no-as-needed", *libraries]
            command += [f"-Wl,-rpath,{home}" for home in homes]
        subprocess.run([*command, "-o", str(out)], check=True)

    return made_once(tmp_path_factory, name, make)


@pytest.fixture(scope="module")
def cores(host_compiler: None, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return program(tmp_path_factory, "cores", "cores")


@pytest.mark.parametrize(
    ("files", "allowed"),
    [
        ({"capacity": PHONE}, {1, 2, 4, 5, 7}),
        ({"capacity": [1024], "frequency": [2000, 3000]}, {0, 1}),
        ({"frequency": [5500, 5700, 5500, 4300]}, {0, 1, 2, 3}),
        ({"frequency": ["fast", "slow"]}, {0, 1}),
        ({}, set()),
    ],
)
def test_the_order_is_that_of_python(
    cores: Path, tmp_path: Path, files: dict[str, list[int]], allowed: set[int]
) -> None:
    expected = find_cores(sysfs(tmp_path, **files), allowed or None)
    numbers = [str(number) for number in sorted(allowed)]
    done = subprocess.run([cores, tmp_path, *numbers], capture_output=True, text=True, check=True)
    order, counts, two = ([int(n) for n in line.split()[1:]] for line in done.stdout.splitlines())
    assert (tuple(order), tuple(counts)) == expected
    assert tuple(two) == expected.for_threads(2)


@pytest.mark.slow
@pytest.mark.skipif((os.cpu_count() or 1) < 2, reason="one core: there is nothing to choose")
def test_the_fastest_count_is_chosen_and_threads_stay_on_its_cores(
    host_compiler: None, tmp_path_factory: pytest.TempPathFactory
) -> None:
    chooser = program(tmp_path_factory, "threads", "threads")
    for slow, expected in ((1, 2), (2, 1)):
        done = subprocess.run([chooser, str(slow)], capture_output=True, text=True, check=True)
        assert done.stdout.splitlines() == [str(expected), "1 1"]


@pytest.mark.slow
def test_even_cores_have_a_thread_each_unless_the_environment_says(
    host_compiler: None, tmp_path_factory: pytest.TempPathFactory
) -> None:
    chooser = program(tmp_path_factory, "threads", "threads")
    telling = ("TVM_NUM_THREADS", "OMP_NUM_THREADS")
    told_nothing = {name: value for name, value in os.environ.items() if name not in telling}
    for told, expected in (({}, "2"), *(({name: "1"}, "0") for name in telling)):
        command, env = [chooser, "0"], told_nothing | told
        done = subprocess.run(command, capture_output=True, text=True, check=True, env=env)
        assert done.stdout.split() == [expected]
