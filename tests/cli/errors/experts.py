"""Error lines about models with experts."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from tests.cli.errors.case import Case
from tests.models import EXPERTS as CONFIG
from tests.models import random_tensors, write_model
from tvm_c4n.model.families import describe_model
from tvm_c4n.model.rows import rows_of

BLOCK = "model.layers.0.block_sparse_moe."
ROUTER, INPUT, OUTPUT = (
    f"{BLOCK}{name}.weight" for name in ("router.layer", "input_linear", "output_linear")
)
Tensors = dict[str, Any]


def whole_tensors() -> Tensors:
    """Return the model's tensors as transformers writes them: gate and up are rows of one."""
    found: dict[str, list[Any]] = {}
    for name, values in random_tensors(describe_model(dict(CONFIG))).items():
        rows = rows_of(name)
        found.setdefault(rows.source if rows else name, []).append(
            rows.apart(values) if rows else values
        )
    return {
        name: parts[0] if len(parts) == 1 else np.concatenate(parts, parts[0].ndim - 2)
        for name, parts in found.items()
    }


def write(folder: Path, change: Callable[[Tensors], object] | None = None, **fields: Any) -> None:
    """Put a model with experts where the dense one is, with something wrong in it."""
    tensors = whole_tensors()
    if change is not None:
        change(tensors)
    write_model(folder / "model", {**CONFIG, **fields}, tensors)


def without(name: str) -> Callable[[Tensors], object]:
    """Remove a tensor."""
    return lambda tensors: tensors.pop(name)


def first(name: str, *counts: int) -> Callable[[Tensors], object]:
    """Keep the first of a tensor, along each axis."""

    def change(tensors: Tensors) -> None:
        tensors[name] = np.ascontiguousarray(tensors[name][tuple(map(slice, counts))])

    return change


def damage(name: str, *place: int) -> Callable[[Tensors], object]:
    """Make a number of a tensor none."""
    return lambda tensors: tensors[name].__setitem__(place, np.inf)


def narrow(tensors: Tensors) -> None:
    """Make the experts of all layers 62 channels wide."""
    for name in tensors:
        if ".block_sparse_moe.input" in name:
            tensors[name] = np.ascontiguousarray(tensors[name][:, :124])
        if ".block_sparse_moe.output" in name:
            tensors[name] = np.ascontiguousarray(tensors[name][..., :62])


def by_recipe(wrong: str, each: str, line: str) -> Case:
    """Prune the model by a recipe."""

    def spoil(folder: Path) -> None:
        write(folder)
        (folder / "r.yaml").write_text(f"removed: {{expert_up: {each}}}\ndtype: int8\n")

    return Case(wrong, "prune model -o out --recipe r.yaml", line, spoil=spoil)


def case(
    wrong: str,
    line: str,
    change: Callable[[Tensors], object] | None = None,
    command: str = "prune model -o out",
    **fields: Any,
) -> Case:
    """Give the model to a verb."""
    return Case(wrong, command, line, spoil=partial(write, change=change, **fields))


def shape(tensor: str, found: list[int], wanted: list[int]) -> str:
    """Return the line about a tensor of another shape."""
    return f"tensor {tensor} has shape {found}; config.json asks for {wanted}"


EXPERTS = [
    case(
        "more experts for a token than there are",
        "config.json: num_experts_per_tok=5 is more than num_local_experts=4",
        num_experts_per_tok=5,
    ),
    case(
        "no expert for a token",
        "config.json: num_experts_per_tok=0: is not in 1..1024",
        num_experts_per_tok=0,
    ),
    case(
        "a number of experts that is none",
        "config.json: num_local_experts='4': is not a whole number",
        command="inspect model",
        num_local_experts="4",
    ),
    case(
        "too many experts",
        "config.json: num_local_experts=5000: is not in 1..1024",
        command="compile model -o out",
        num_local_experts=5000,
    ),
    case("no width", "config.json lacks intermediate_size", intermediate_size=None),
    case("no router", f"tensor {ROUTER} is missing", without(ROUTER)),
    case("no gate and up", f"tensor {INPUT} is missing", without(INPUT), "inspect model"),
    case("no down", f"tensor {OUTPUT} is missing", without(OUTPUT), "compile model -o out"),
    case(
        "a router of fewer experts",
        shape(ROUTER, [3, 32], [4, 32]),
        first(ROUTER, 3),
        "compile model -o out",
    ),
    case("a router of fewer channels", shape(ROUTER, [4, 16], [4, 32]), first(ROUTER, 4, 16)),
    case("fewer experts", shape(OUTPUT, [3, 32, 64], [4, 32, 64]), first(OUTPUT, 3)),
    case("gate without up", shape(INPUT, [4, 64, 32], [4, 128, 32]), first(INPUT, 4, 64)),
    case(
        "one matrix for all experts",
        shape(OUTPUT, [32, 64], [4, 32, 64]),
        lambda tensors: tensors.update({OUTPUT: tensors[OUTPUT][0]}),
        "inspect model",
    ),
    case(
        "a router that holds no numbers",
        f"tensor {ROUTER} has inf at [1, 2]; the model is damaged or its training diverged",
        damage(ROUTER, 1, 2),
        "compile model -o out",
    ),
    case(
        "an expert that holds no numbers",
        f"tensor {INPUT} has inf at [3, 70, 2]; the model is damaged or its training diverged",
        damage(INPUT, 3, 70, 2),
    ),
    case(
        "a width that groups of 4 do not fill",
        f"{OUTPUT}.each_4_rows_0_32 has 62 columns, not a multiple of 4; set removed of "
        "expert_down to 0",
        narrow,
        intermediate_size=62,
    ),
    by_recipe(
        "n of fewer experts than there are",
        "[2, 1, 2]",
        "removed: 3 n for expert_up of layer 0, which has 4 experts",
    ),
    by_recipe(
        "an n of an expert that is none",
        "[2, 1, 2, 4]",
        "r.yaml: removed['expert_up']=4: 0, 1, 2 or 3 of every 4 can be removed",
    ),
    by_recipe(
        "dense experts beside others, of few columns",
        "[2, 0, 2, 2]",
        f"{INPUT}.each_4_rows_64_128: with 32 columns in int8, all experts are dense or none is",
    ),
]
