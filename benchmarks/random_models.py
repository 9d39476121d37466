"""The published sizes of Mamba and of hybrids, and models of these sizes with random weights.

Speed does not depend on the values of the weights, so no checkpoint is needed to measure it. A
model is written as a C4n folder straight from a seed, one tensor at a time: the largest one needs
no more memory than its embeddings.
"""

from __future__ import annotations

import json
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer, models

from tvm_c4n.checkpoint import C4nWriter
from tvm_c4n.model.families import describe_model
from tvm_c4n.model.tokenizer import TOKENIZER
from tvm_c4n.pruning.recipe import Recipe, WeightDType
from tvm_c4n.sparsity import CODES, INT_BITS, C4nWeight, DType, default_scale_group, part_shapes

# config.json of the published models, by size: Mamba-1 of state-spaces, and what follows it.
SHAPES = {file.stem: file for file in (Path(__file__).parent / "shapes").iterdir()}

# Two codes a byte: every pair of two different positions in ascending order, twice.
_PAIRS = [low | high << 2 for high in range(4) for low in range(high)]
_PAIR_BYTES = np.array([a | b << 4 for a in _PAIRS for b in _PAIRS], np.uint8)


@dataclass(frozen=True)
class Format:
    """How the projections of a model are stored, for example ``int4-n2``.

    The projections that `prune` leaves dense stay dense (x_proj, dt_proj, bcdt_proj, the head). The
    head has the same dtype as the rest, dt_proj and bcdt_proj at least int8. With ``-s16`` the
    states of Mamba-2's scan are float16.
    """

    dtype: WeightDType
    removed: int
    half_state: bool = False

    @classmethod
    def parse(cls, text: str) -> Format:
        """Read ``int4-n2``."""
        dtype, _, removed = text.removesuffix("-s16").partition("-n")
        return cls(cast(WeightDType, dtype), int(removed), text.endswith("-s16"))

    def __str__(self) -> str:
        return f"{self.dtype}-n{self.removed}" + "-s16" * self.half_state

    def recipe(self) -> Recipe:
        """Return the recipe that would give a model this form."""
        return Recipe(removed=self.removed, dtype=self.dtype, dtypes={"head": self.dtype})


def config_of(size: str) -> dict[str, Any]:
    """Return the config.json of a published size."""
    found: dict[str, Any] = json.loads(SHAPES[size].read_text(encoding="utf-8"))
    return found


def write_random(size: str, form: Format, out: Path, seed: int = 0) -> Path:
    """Write a model with random weights as a C4n folder, unless it is there already.

    Parameters
    ----------
    size : str
        One of `SHAPES`.
    form : Format
    out : Path
        Folder to write.
    seed : int
    """
    if (out / TOKENIZER).is_file():
        return out
    config = config_of(size)
    model = describe_model(config)
    plan = form.recipe().plan(model)
    with C4nWriter(out, overwrite=True) as writer:
        for name, shape in model.tensor_shapes().items():
            rng = np.random.default_rng([seed, zlib.crc32(name.encode())])
            if name in plan:
                choice = plan[name]
                writer.add_weight(name, random_weight(rng, shape, choice.dtype, choice.removed))
            else:
                writer.add_dense(name, _random_dense(rng, name, shape))
        writer.add_json("config.json", config)
        _tokenizer().save(str(writer.folder / TOKENIZER))
    return out


def _tokenizer() -> Tokenizer:
    """Return a tokenizer of one token: no text is ever made of these models' tokens."""
    end = "<|endoftext|>"
    return Tokenizer(models.WordLevel({end: 0}, unk_token=end))


def random_weight(
    rng: np.random.Generator, shape: tuple[int, ...], dtype: DType, removed: int
) -> C4nWeight:
    """Return a random weight whose products have about the variance of their inputs."""
    rows, cols = shape
    group = default_scale_group(removed) if dtype in INT_BITS else 0
    parts = part_shapes(rows, cols, removed, dtype, group)
    spread = 1 / np.sqrt(3 * cols * (4 - removed) / 4)
    if dtype == "float16":
        values: NDArray[Any] = rng.standard_normal(parts.values, np.float32) * spread
        values = values.astype(np.float16)
    elif dtype == "int8":
        values = rng.integers(-127, 128, parts.values, np.int8)
    else:
        values = rng.integers(0, 256, parts.values, np.uint8)
        used = (cols if removed == 0 else cols // 4 * (4 - removed)) * INT_BITS[dtype]
        values[:, -1] &= 0xFF >> -used % 8
    top = CODES[INT_BITS[dtype]].high if dtype in INT_BITS else 1
    scales = parts.scales and np.full(parts.scales, spread * 1.7 / top, np.float16)
    positions = parts.positions and _positions(rng, parts.positions, cols, removed)
    return C4nWeight(rows, cols, removed, dtype, group, values, positions, scales)


def _positions(
    rng: np.random.Generator, shape: tuple[int, int], cols: int, removed: int
) -> NDArray[np.uint8]:
    if removed != 2:
        return rng.integers(0, 256, shape, np.uint8)
    if cols % 8:
        raise ValueError("a random pattern needs a whole number of bytes per row")
    return _PAIR_BYTES[rng.integers(0, len(_PAIR_BYTES), shape)]


def _random_dense(
    rng: np.random.Generator, name: str, shape: tuple[int, ...]
) -> NDArray[np.float32]:
    """Return one of the small tensors, as Mamba is initialised."""
    if name.endswith("A_log"):
        steps = np.arange(1, shape[-1] + 1, dtype=np.float32)
        return np.broadcast_to(np.log(steps), shape).astype(np.float32)
    if name.endswith(("dt_proj.bias", "dt_bias")):
        step = np.exp(rng.uniform(np.log(1e-3), np.log(1e-1), shape))
        return (step + np.log(-np.expm1(-step))).astype(np.float32)
    if name.endswith("conv1d.weight"):
        return (rng.uniform(-0.5, 0.5, shape)).astype(np.float32)
    if name.endswith("router.layer.weight"):  # or all tokens had the same experts
        return rng.standard_normal(shape, np.float32).astype(np.float16).astype(np.float32)
    if name.endswith("bias"):
        return np.zeros(shape, np.float32)
    return np.ones(shape, np.float32)
