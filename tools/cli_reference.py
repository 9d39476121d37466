"""Write docs/reference/cli.md from the options of `tvm-c4n`, as its --help shows them.

Run it after a change of an option; `tests/docs/test_cli_reference.py` fails where it was forgotten.
The page is made from typer's parameters and not from the text of --help, whose form changes with
typer's version.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

import typer  # noqa: E402

from tvm_c4n.cli.verbs import app  # noqa: E402

PAGE = ROOT / "docs" / "reference" / "cli.md"
HEAD = """# Command line

*Every verb and option.* This page is generated: `python tools/cli_reference.py` makes it from what
`--help` shows.

Results go to stdout, progress and speed to stderr. An error is one line with cause and remedy;
`tvm-c4n --debug VERB ...` shows the traceback. [Error lines](errors.md),
[exit codes](python.md#errors).

| verb | |
|---|---|
"""


def page() -> str:
    """Return the whole page."""
    verbs = {
        name: command
        for name, command in typer.main.get_command(app).commands.items()
        if not command.hidden
    }
    contents = "".join(f"| [{name}](#{name}) | {_text(verbs[name].help)} |\n" for name in verbs)
    return HEAD + contents + "".join(_section(name, verbs[name]) for name in verbs)


def _section(name: str, command: Any) -> str:
    shown = [param for param in command.params if not getattr(param, "hidden", False)]
    arguments = [param for param in shown if param.param_type_name == "argument"]
    options = [param for param in shown if param.param_type_name == "option"]
    usage = " ".join(["tvm-c4n", name, *map(_metavar, arguments), "[OPTIONS]" if options else ""])
    rows = [(f"`{_metavar(param)}`", "", _text(param.help)) for param in arguments]
    rows += [(_spelling(param), _default(param), _text(param.help)) for param in options]
    table = "".join(f"| {first} | {second} | {third} |\n" for first, second, third in rows)
    head = "| argument, option | default | |\n|---|---|---|\n"
    return f"\n## {name}\n\n{_text(command.help)}\n\n```\n{usage.strip()}\n```\n\n{head}{table}"


def _metavar(argument: Any) -> str:
    name = argument.name.rstrip("_").upper()
    return f"{name}..." if argument.nargs == -1 or argument.multiple else name


def _spelling(option: Any) -> str:
    names = sorted([*option.opts, *option.secondary_opts], key=lambda name: name.startswith("--"))
    value = "" if option.is_flag else f" {option.name.rstrip('_').upper()}"
    return ", ".join(f"`{name}{value}`" for name in names)


def _default(option: Any) -> str:
    if option.required:
        return "required"
    if option.is_flag:
        return f"`{option.opts[0]}`" if option.secondary_opts and option.default else ""
    return "" if option.default in (None, "") else f"`{option.default}`"


def _text(text: str | None) -> str:
    """Return a help text in one line of a table."""
    return " ".join((text or "").split()).replace("|", r"\|").replace("<", "&lt;")


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
