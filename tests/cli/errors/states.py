"""Error lines about the states of texts."""

from __future__ import annotations

from pathlib import Path

from tests.cli.errors.case import Case

REMEDY = "save it again with --save-state, or with /save in a chat"


def save(folder: Path, *, cut: int = 0, **notes: str) -> None:
    """Write the state of a text of model.art; notes replace those of the header."""
    from tvm_c4n.checkpoint.state_file import read_state, write_state
    from tvm_c4n.runtime.engine import Engine
    from tvm_c4n.runtime.prefix_cache import Kept
    from tvm_c4n.runtime.saved_state import save_state

    engine, path = Engine.load(folder / "model.art", threads=1), folder / "a.state"
    logits = engine.prefill([1, 2])
    save_state(path, [1, 2], Kept(engine.state(), logits.copy()), engine.config)
    if notes:
        arrays, said = read_state(path, "")
        write_state(path, arrays, {**said, **notes})
    if cut:
        path.write_bytes(path.read_bytes()[:-cut])


STATES = [
    Case(
        "no such state",
        "run model.art -p a --load-state none",
        "none: missing file; give a file that --save-state, or /save in a chat, has written",
    ),
    Case(
        "weights as a state",
        "run model.art -p a --load-state model/model.safetensors",
        "model/model.safetensors: no state of a text; make one with --save-state",
    ),
    Case(
        "the state of another model",
        "run model.art -p a --load-state a.state",
        "a.state: saved with another model (000000000000, this one is FINGERPRINT); load the one "
        "that it was saved with",
        spoil=lambda folder: save(folder, fingerprint="0" * 64),
    ),
    Case(
        "a state of a later version",
        "run model.art -p a --load-state a.state",
        f"a.state: has format '2', this version reads 1; {REMEDY}",
        spoil=lambda folder: save(folder, format="2"),
    ),
    Case(
        "a state that was cut off",
        "run model.art -p a --load-state a.state",
        f"a.state: truncated, tensors need 3976 bytes and 3967 are there; {REMEDY}",
        spoil=lambda folder: save(folder, cut=9),
    ),
    Case(
        "a system for a chat that has begun",
        "run model.art --chat --system a -p a --load-state a.state",
        "--load-state and --system exclude each other: a chat that has begun has its system; give "
        "one of them",
    ),
    Case(
        "a folder as the file of a state",
        "run model.art -p a --save-state model",
        "model: cannot be written: give a file in a folder that exists",
    ),
    Case(
        "a state in no folder",
        "run model.art -p a --save-state none/a.state",
        "none/a.state: cannot be written: give a file in a folder that exists",
    ),
]
