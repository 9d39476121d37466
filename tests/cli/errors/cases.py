"""The table of error lines: `tests/cli/test_error_lines.py` runs every row for real.

`python tools/error_reference.py` writes docs/reference/errors.md from it.
"""

from __future__ import annotations

from tests.cli.errors import (
    devices,
    experts,
    extras,
    ggufs,
    hub,
    making,
    originals,
    spoiled,
    states,
    using,
)
from tests.cli.errors.case import Case

TABLE: dict[str, list[Case]] = {
    "convert": originals.CONVERT,
    "plan": making.PLAN,
    "prune": making.PRUNE,
    "heal": making.HEAL,
    "inspect": making.INSPECT,
    "compile": making.COMPILE,
    "run": using.RUN,
    "serve": using.SERVE,
    "chat": using.CHAT,
    "cache": using.CACHE,
    "eval": using.EVAL,
    "bench": using.BENCH,
    "tune": devices.TUNE,
    "records": devices.RECORDS,
    "runner": devices.RUNNER,
    "deploy": devices.DEPLOY,
    "c4n_run": devices.C4N_RUN,
    "Model folders": spoiled.FOLDERS,
    "Models with experts": experts.EXPERTS,
    "GGUF files": ggufs.GGUF,
    "Models of a hub": hub.HUB,
    "Artifacts": spoiled.ARTIFACTS,
    "Texts": spoiled.TEXTS,
    "States": states.STATES,
    "Extras": extras.EXTRAS,
}
