"""What `run` says of a text: a JSON object, or a line of figures on stderr."""

from __future__ import annotations

import json
import resource
import sys
from typing import TYPE_CHECKING, Any

import typer

if TYPE_CHECKING:
    from tvm_c4n.runtime.continuation import Continuation
    from tvm_c4n.runtime.generate import Stats


def peak_bytes() -> int:
    """Return the most memory that this process has had, in bytes."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def figures(stats: Stats, load_secs: float) -> str:
    """Return the line of figures."""
    return f"{stats}; loaded in {load_secs:.2f} s; memory: {peak_bytes() / 1e6:.0f} MB"


def write_json(value: dict[str, Any]) -> None:
    """Print an object on a line of stdout."""
    typer.echo(json.dumps(value, ensure_ascii=False))


def result(
    continuation: Continuation, stats: Stats, load_secs: float, labels: dict[str, Any]
) -> dict[str, Any]:
    """Return the object of a text.

    Parameters
    ----------
    continuation : Continuation
        At its end.
    stats : Stats
    load_secs : float
        Until the model was ready.
    labels : dict
        What stands in front.
    """
    return {
        **labels,
        "text": continuation.text,
        "tokens": continuation.tokens,
        "finish_reason": continuation.finish_reason,
        "timings": {
            "load_secs": round(load_secs, 4),
            "prompt_tokens": stats.prompt_tokens,
            "cached_tokens": stats.cached_tokens,
            "prompt_secs": round(stats.prompt_secs, 6),
            "generated_tokens": stats.tokens,
            "generation_secs": round(stats.decode_secs, 6),
        },
        "memory_bytes": peak_bytes(),
    }
