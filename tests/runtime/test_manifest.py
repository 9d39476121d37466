"""Sizes in a manifest are compared with those that follow from others."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tvm_c4n.errors import C4nError
from tvm_c4n.runtime.manifest import Manifest

EMBEDDINGS = "backbone.embeddings.weight"


@pytest.fixture(scope="module")
def good(small_artifact: Path) -> str:
    return (small_artifact / "manifest.json").read_text()


def test_what_compile_writes_agrees(good: str) -> None:
    manifest = Manifest.model_validate(json.loads(good))
    manifest.check()
    assert manifest.file_bytes == manifest.tensors[-1].end


def rename(content: dict[str, Any]) -> None:
    content["projections"]["other"] = content["projections"][EMBEDDINGS]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda m: m["config"].update(vocab_size=97), "has shape .96, 32.; config asks for .97, 3"),
        (lambda m: m["config"].pop("vocab_size"), "config.json lacks vocab_size"),
        (lambda m: m["config"].update(num_hidden_layers=3), "layers.2.mixer.in_proj.* is missing"),
        (lambda m: m["projections"].pop(EMBEDDINGS), f"projections: {EMBEDDINGS} is missing"),
        (rename, "projections: other is not in the model"),
        (lambda m: m["states"].reverse(), r"states are \[\[2, 4, 64\].*asks for \[\[2, 3, 64\]"),
        (lambda m: m.update(state_dtypes=["int32"] * 2), "state_dtypes are .*; config asks for"),
        (lambda m: m.update(context=4096), "context is 4096; config asks for None"),
        (lambda m: m.update(context=0), "context is 0; config asks for None"),
        (lambda m: m.update(weight_bytes=5), "weight_bytes is 5; the tensors have"),
        (lambda m: m["tensors"][2].update(offset=64), "tensor 2 lies at byte 64 and should at"),
        (lambda m: m["tensors"].pop(2), "tensor 2 lies at byte"),
    ],
)
def test_a_size_that_does_not_agree_is_named(
    good: str, change: Callable[[dict[str, Any]], object], message: str
) -> None:
    content = json.loads(good)
    change(content)
    with pytest.raises(C4nError, match=message):
        Manifest.model_validate(content).check()


def test_states_too_large_for_the_weights_are_refused(good: str) -> None:
    content = json.loads(good)

    def sized(count: int) -> Manifest:
        """A manifest of one tensor of so many bytes; how many the model has depends on the ISA."""
        content["tensors"] = [{"dtype": "int8", "shape": [count], "offset": 0}]
        content["weight_bytes"] = count
        return Manifest.model_validate(content)

    sized(96 * 32 * 2 + 32 * 4).check()
    with pytest.raises(C4nError, match="states of 3584 bytes do not belong to 64 bytes"):
        sized(64).check()
