"""Time one client of `tvm-c4n serve` beside several, interleaved.

    python tools/time_server.py mamba-19m-n2-int4 130m:int8-n2 --threads 2 --out FILE.jsonl

MODEL is a name, a folder, or like ``130m:int8-n2`` a published size with random weights. Each runs
in a server process of its own; clients read greedy streams. FILE gets every sample: clients, tokens
and seconds from the first request to the last answer.
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPConnection
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from time import perf_counter
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks.random_models import Format, write_random
from benchmarks.results import run_info, update_readme


def main() -> None:
    """Measure the models and print a line for each."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("models", nargs="+", metavar="MODEL")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--clients", type=int, default=8)
    parser.add_argument("--tokens", type=int, default=128, help="of an answer")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    lines: list[dict[str, Any]] = [{"type": "run", **run_info()}]
    for model in args.models:
        rates: dict[int, list[float]] = {1: [], args.clients: []}
        with TemporaryDirectory() as folder, served(model, Path(folder), args.threads) as port:
            for number in range(-1, args.rounds):
                for clients in rates:
                    began = perf_counter()
                    tokens = ask(port, clients, args.tokens)
                    secs = perf_counter() - began
                    if number >= 0:  # what comes before is warm-up
                        rates[clients].append(tokens / secs)
                        sample = {"clients": clients, "tokens": tokens, "secs": secs}
                        about = {"model": model, "threads": args.threads, "round": number}
                        lines.append({"type": "serve", **about, **sample})
        one, many = (median(found) for found in rates.values())
        print(f"{model}: {one:.0f} tokens/s, {args.clients} clients {many:.0f}: {many / one:.2f}x")
    if args.out is not None:
        args.out.write_text("".join(json.dumps(line) + "\n" for line in lines))
        update_readme(args.out.resolve())


@contextmanager
def served(model: str, folder: Path, threads: int) -> Iterator[int]:
    """Run a server; yields its port."""
    size, _, form = model.partition(":")
    name = str(write_random(size, Format.parse(form), folder / "random")) if form else model
    program = "from tvm_c4n.cli.app import main; main()"
    server = subprocess.Popen(
        [sys.executable, "-c", program, "serve", name, "--port", "0", "-t", str(threads)],
        stderr=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).parents[1],
    )
    try:
        said = ""
        while not (found := re.search(r"http://[^ ]*:(\d+) ", said)):
            line = server.stderr.readline() if server.stderr else ""
            if not line:
                raise RuntimeError(said)
            said += line
        yield int(found[1])
    finally:
        server.terminate()
        server.wait()


def ask(port: int, clients: int, tokens: int) -> int:
    """Let clients ask at once; returns how many tokens they got together."""
    counts: list[int] = []

    def one(number: int) -> None:
        body = {
            "prompt": [11 + number, 500 + number, 77, 123],
            "max_tokens": tokens,
            "temperature": 0,
            "stream": True,
            "stream_options": {"include_usage": True},
        }
        connection = HTTPConnection("127.0.0.1", port, timeout=600)
        connection.request("POST", "/v1/completions", json.dumps(body))
        *_, last, _ = connection.getresponse().read().decode().split("data: ")
        counts.append(json.loads(last)["usage"]["completion_tokens"])

    threads = [threading.Thread(target=one, args=(number,)) for number in range(clients)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return sum(counts)


if __name__ == "__main__":
    main()
