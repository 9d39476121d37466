"""The Dockerfile says what this version is called and takes; no engine runs here to build it."""

from __future__ import annotations

import json
import re
import tomllib
from pathlib import Path

import typer

from tvm_c4n.assets import MODELS
from tvm_c4n.cli.verbs import app
from tvm_c4n.server import KEY_VARIABLE

ROOT = Path(__file__).parents[1]


def instructions() -> list[tuple[str, str]]:
    """The Dockerfile's instructions with their arguments, in order, continued lines joined."""
    text = (ROOT / "Dockerfile").read_text().replace("\\\n", " ")
    lines = [line for line in text.splitlines() if line and not line.startswith("#")]
    return [(line.split(maxsplit=1)[0], line.split(maxsplit=1)[1]) for line in lines]


def values(name: str) -> list[str]:
    return [value for found, value in instructions() if found == name]


def test_it_installs_the_wheel_of_this_version_with_extras_that_exist() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    wheel = f"tvm_c4n-{project['version']}-py3-none-any.whl"
    assert values("COPY") == [f"dist/{wheel} /tmp/"]
    (extras,) = re.findall(
        rf'pip install --no-cache-dir "/tmp/{wheel}\[([\w,]+)\]"', values("RUN")[1]
    )
    assert set(extras.split(",")) <= set(project["optional-dependencies"])
    # Of all that lies here the image gets the wheel only.
    assert (ROOT / ".dockerignore").read_text() == "*\n!dist/*.whl\n"


def test_the_base_is_a_python_that_the_classifiers_name() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    (version,) = re.fullmatch(r"python:(3\.\d+)-slim", values("FROM")[0]).groups()  # type: ignore[union-attr]
    assert f"Programming Language :: Python :: {version}" in project["classifiers"]


def test_it_serves_a_bundled_model_as_another_user_than_root() -> None:
    program, verb, *options = json.loads(values("ENTRYPOINT")[0])
    assert (program, verb) == ("tvm-c4n", "serve")
    known = {
        spelling
        for param in typer.main.get_command(app).commands["serve"].params  # type: ignore[attr-defined]
        for spelling in param.opts
    }
    assert {word for word in options if word.startswith("--")} <= known
    assert set(json.loads(values("CMD")[0])) <= set(MODELS)
    names = [name for name, _ in instructions()]
    assert values("USER") == ["c4n"]
    assert names.index("USER") < names.index("ENTRYPOINT")
    assert KEY_VARIABLE in (ROOT / "Dockerfile").read_text()
    # A key is for whoever starts the server to give, never part of an image.
    assert KEY_VARIABLE not in " ".join(value for _, value in instructions())
