"""Error lines of convert, and of folders that want it first."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.cli.errors.case import Case

AGAIN = "download the model again"
AS_IT_IS = "give prune, compile or run the folder as it is"


def written(**changes: object) -> Callable[[Path], object]:
    """Write ``original``, of state-spaces, with changes to its config."""

    def write(folder: Path) -> None:
        from tests.frontend.original.made import MAMBA2, tensors_of, write_original

        write_original(folder / "original", {**MAMBA2, **changes}, tensors_of(MAMBA2))

    return write


def saved(content: Callable[[dict[str, Any]], object]) -> Callable[[Path], object]:
    """Write ``original`` with what is made of its tensors in their place."""

    def write(folder: Path) -> None:
        import torch

        from tests.frontend.original.made import MAMBA2, tensors_of

        written()(folder)
        made = content(tensors_of(MAMBA2))
        path = folder / "original/pytorch_model.bin"
        if isinstance(made, bytes):
            path.write_bytes(made)
        else:
            torch.save(made, path)

    return write


def codestral(folder: Path) -> None:
    """Write ``original`` as Mistral publishes it."""
    from tests.frontend.original.made import CODESTRAL, write_original

    write_original(folder / "original", CODESTRAL)


def without(tensors: dict[str, Any]) -> object:
    """Leave a tensor out."""
    return {k: v for k, v in tensors.items() if k != "backbone.layers.1.mixer.D"}


def convert(wrong: str, line: str, spoil: Callable[[Path], object]) -> Case:
    """Convert ``original``."""
    return Case(wrong, "convert original -o out", line, spoil=spoil)


CONVERT = [
    Case(
        "a Hugging Face folder",
        "convert model -o out",
        "model/config.json: has model_type 'mamba', so it is a Hugging Face folder already; "
        f"{AS_IT_IS}",
    ),
    Case(
        "OUT is SOURCE",
        "convert model -o model --overwrite",
        "model: is the model itself; name another folder to write",
    ),
    convert(
        "layers with attention",
        "original: config.json: attn_layer_idx=[1]: layers with attention are not supported",
        written(attn_layer_idx=[1]),
    ),
    convert(
        "a mixer of another kind",
        "original: config.json: ssm_cfg: layer='Mamba3': only 'Mamba1' and 'Mamba2' are supported",
        written(ssm_cfg={"layer": "Mamba3"}),
    ),
    convert(
        "an argument that may change the mixer",
        "original: config.json: ssm_cfg: 'gated' is not known, so the model may be another one "
        "than it seems; only those of mamba_ssm's Mamba and Mamba2 are",
        written(ssm_cfg={"gated": True}),
    ),
    convert(
        "LayerNorms", "original: rms_norm is False; only True is supported", written(rms_norm=False)
    ),
    convert("a key is missing", "original: config.json lacks d_model", written(d_model=None)),
    convert(
        "a pickle of other things",
        "original/pytorch_model.bin: holds no tensors by name; download the model again",
        saved(lambda tensors: list(tensors.values())),
    ),
    convert(
        "a pickle that would run code",
        "original/pytorch_model.bin: holds something else than weights (UnpicklingError), and none "
        f"of it was run; {AGAIN}",
        saved(lambda tensors: {"w": Path}),
    ),
    convert(
        "a pickle that torch did not write",
        f"original/pytorch_model.bin: not what torch.save writes; {AGAIN}, or if torch before 1.6 "
        "wrote it, save it again with a later one",
        saved(lambda tensors: pickle.dumps({"w": 1})),
    ),
    convert(
        "a tensor is missing",
        "original/pytorch_model.bin: tensor backbone.layers.1.mixer.D is missing",
        saved(without),
    ),
    convert(
        "a tensor of another shape",
        "original/pytorch_model.bin: tensor backbone.norm_f.weight has shape [8]; config.json asks "
        "for [16]",
        saved(
            lambda tensors: {**tensors, "backbone.norm_f.weight": tensors["lm_head.weight"][0, :8]}
        ),
    ),
    convert(
        "no weights",
        f"original: neither model.safetensors nor pytorch_model.bin is here; {AGAIN}",
        lambda folder: (written()(folder), (folder / "original/pytorch_model.bin").unlink()),
    ),
    Case(
        "not converted yet",
        "run original",
        "original/params.json: in the format of its authors, not of Hugging Face; convert it with "
        "`tvm-c4n convert original -o original-hf`",
        spoil=codestral,
    ),
]
