"""Run the fuzz: ``python -m tests.attacks.fuzz --inputs 2000 --seed 0``."""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from random import Random

from tests.attacks.fuzz.forked import run, warm
from tests.attacks.fuzz.good import Good
from tests.attacks.fuzz.kinds import KINDS, Input, draw, files_under
from tests.attacks.fuzz.verdict import verdict


def main(arguments: list[str]) -> int:
    """Run the inputs, print what is wrong and a table; returns how many inputs went wrong."""
    parser = argparse.ArgumentParser(prog="python -m tests.attacks.fuzz", description=__doc__)
    parser.add_argument("--inputs", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--first", type=int, default=0, help="number of the first input")
    parser.add_argument("--kinds", default="", help=f"of {', '.join(k.name for k in KINDS)}")
    parser.add_argument("--keep", type=Path, help="folder for the good files, made if missing")
    options = parser.parse_args(arguments)
    names = options.kinds.split(",") if options.kinds else [kind.name for kind in KINDS]
    kinds = tuple(kind for kind in KINDS if kind.name in names)
    warm()
    began, wrong, ended = time.monotonic(), 0, Counter[tuple[str, str]]()
    with tempfile.TemporaryDirectory() as temporary:
        good = Good(options.keep or Path(temporary, "good"))
        good.folder.mkdir(parents=True, exist_ok=True)
        for number in range(options.first, options.first + options.inputs):
            random = Random(f"{options.seed} {number}")
            home = Path(temporary, "input")
            folder, beside = home / "in", home / "beside"
            folder.mkdir(parents=True)
            beside.mkdir()
            given = draw(random, good, folder, kinds)
            before = set(files_under(folder))
            outcome = run(given.command, folder, beside)
            left = [*set(files_under(folder)).difference(before), *(beside / "tmp").iterdir()]
            found = verdict(outcome, left)
            ended[given.kind, "wrong" if found else "refused" if outcome.code else "done"] += 1
            if found:
                wrong += 1
                _report(number, given, found, outcome.err)
            shutil.rmtree(home)
            if sum(ended.values()) % 100 == 0:
                print(f"{sum(ended.values())} inputs, {wrong} wrong", file=sys.stderr)
    _summary(ended, time.monotonic() - began)
    return wrong


def _report(number: int, given: Input, found: str, said: str) -> None:
    print(
        f"input {number}: {found}\n  {given.spoiled}: {given.mutation}; {' '.join(given.command)}\n"
        f"  {said.strip()[-600:]}",
        flush=True,
    )


def _summary(ended: Counter[tuple[str, str]], secs: float) -> None:
    print(f"{'kind':20}{'inputs':>8}{'done':>8}{'refused':>9}{'wrong':>7}")
    for name in dict.fromkeys(kind for kind, _ in sorted(ended)):
        counts = [ended[name, how] for how in ("done", "refused", "wrong")]
        print(f"{name:20}{sum(counts):8}{counts[0]:8}{counts[1]:9}{counts[2]:7}")
    total = sum(ended.values())
    wrong = sum(count for (_, how), count in ended.items() if how == "wrong")
    print(f"{total} inputs in {secs:.0f} s: {wrong} wrong")


if __name__ == "__main__":
    sys.exit(min(main(sys.argv[1:]), 1))
