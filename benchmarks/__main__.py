"""The command line: ``python -m benchmarks VERB``.

Models, artifacts and programs are made once and kept in build/bench; with ``--save`` results go to
this machine's folder in benchmarks/results. Needs the extra [prune]; frontier, decode and prefill
also [bench] and llama.cpp (`make bench-llama`); any-module needs [dev].
"""

from __future__ import annotations

import sys
from importlib import import_module

import typer

from tvm_c4n.errors import C4nError

# Verb: module and function. Only the module of the verb that is called is imported.
VERBS = {
    "demo": "demo:demo",
    "demo-full": "demo:demo_full",
    "decode": "speed:decode",
    "prefill": "speed:prefill",
    "make": "speed:make",
    "report": "speed:report",
    "busy": "contention:busy",
    "uneven": "uneven:uneven",
    "latency": "latency:latency",
    "phone": "phone:phone",
    "arm": "arm.run:arm",
    "frontier": "frontier:frontier",
    "pruning": "pruning:pruning",
    "tasks": "tasks:tasks",
    "any-module": "modules:any_module",
    "results": "results:results",
}


def app(verbs: list[str]) -> typer.Typer:
    """Return the command line with some of the `VERBS`."""
    found = typer.Typer(
        no_args_is_help=True, add_completion=False, rich_markup_mode=None, help=__doc__
    )
    found.callback()(lambda: None)  # typer makes a lone command the whole program without it
    for verb in verbs:
        module, function = VERBS[verb].split(":")
        found.command(verb)(getattr(import_module(f"benchmarks.{module}"), function))
    return found


def main() -> int:
    """Run the command line."""
    called = sys.argv[1:2]
    try:
        app(called if called and called[0] in VERBS else list(VERBS))()
    except C4nError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
