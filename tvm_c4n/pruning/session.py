"""The model that is being pruned: opened, checked, planned and tokenised once."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from pathlib import Path

import torch
from torch import Tensor

from tvm_c4n.assets import CALIBRATION
from tvm_c4n.checkpoint import C4nCheckpoint, Checkpoint, open_checkpoint
from tvm_c4n.errors import CheckpointError
from tvm_c4n.model.config import check_tensors, check_values
from tvm_c4n.model.description import ModelConfig
from tvm_c4n.model.families import describe_model
from tvm_c4n.model.tokenizer import TextTokenizer, load_tokenizer
from tvm_c4n.progress import Progress
from tvm_c4n.pruning.calibration.windows import draw_windows
from tvm_c4n.pruning.devices import CPU
from tvm_c4n.pruning.recipe import Recipe
from tvm_c4n.sparsity import detect_removed, short_removed
from tvm_c4n.torch_blocks.device import find_device


@dataclass(frozen=True)
class Session:
    """A model, a recipe that fits it, and the text that it is calibrated with.

    Attributes
    ----------
    checkpoint : Checkpoint
        The dense model.
    config : ModelConfig
    recipe : Recipe
    calibration : Path
        The file that the windows come from.
    tokenizer : TextTokenizer
    windows : (samples, sample_tokens) int64
        Calibration windows, on the CPU.
    more : (windows, sample_tokens) int64
        Those beyond them that layers are trained on; none where `Recipe.repair` needs no more.
    device : torch.device
        Where layers and activations are while they are worked on.
    """

    checkpoint: Checkpoint
    config: ModelConfig
    recipe: Recipe
    calibration: Path
    tokenizer: TextTokenizer
    windows: Tensor
    more: Tensor
    device: torch.device = CPU

    @classmethod
    def open(
        cls,
        model: str | Path,
        recipe: Recipe | None = None,
        calibration: str | Path | None = None,
        progress: Progress | None = None,
        device: str = "cpu",
    ) -> Session:
        """Open a model folder for pruning.

        Parameters
        ----------
        model : str or Path
            A Hugging Face folder, a C4n folder, the name of an embedded model, or ``org/name`` of a
            hub.
        recipe : Recipe, optional
        calibration : path, optional
            Text to calibrate with (.jsonl or plain); the package's own by default.
        progress : callable, optional
            ``progress(what, done, total)`` during a download.
        device : str
            See `find_device`.

        Raises
        ------
        RecipeError
            The recipe does not fit the model, the text is missing or too short, or no such device.
        CheckpointError
            The model is damaged or not supported, or pruned or quantised already.
        """
        recipe = Recipe() if recipe is None else recipe
        place = find_device(device)
        checkpoint = open_checkpoint(model, progress)
        config = describe_model(checkpoint.config)
        check_tensors(config, checkpoint)
        _check_dense(checkpoint, config)
        tokenizer = load_tokenizer(checkpoint.path)
        check_values(config, checkpoint)
        recipe.plan(config)  # refuses what does not fit before the text is read
        text = CALIBRATION if calibration is None else Path(calibration)
        drawn = torch.from_numpy(draw_windows(tokenizer, recipe, text))
        windows, more = drawn[: recipe.samples], drawn[recipe.samples :]
        return cls(checkpoint, config, recipe, text, tokenizer, windows, more, place)

    def validation_windows(self, count: int) -> Tensor:
        """Draw further windows of the same text: (count, sample_tokens) int64.

        Raises
        ------
        RecipeError
            The text is too short for them.
        """
        drawn = draw_windows(self.tokenizer, self.recipe, self.calibration, count)
        return torch.from_numpy(drawn)[-count:]


def _check_dense(checkpoint: Checkpoint, config: ModelConfig) -> None:
    """Raise CheckpointError if a model is pruned or quantised already.

    A C4n folder declares it. Of another folder the first layer's largest weight is read: a dense
    export of a pruned model has its zeros.
    """
    if isinstance(checkpoint, C4nCheckpoint):
        entries = checkpoint.manifest.tensors.values()
        done = [
            f"n={short_removed(e.removed)} {e.dtype}"
            for e in entries
            if e.removed or e.dtype != "float16"
        ]
    else:
        shapes = config.tensor_shapes()
        first = (p.weight for p in config.projections(0).values())
        weight = checkpoint.dense(max(first, key=lambda name: prod(shapes[name])))
        removed = detect_removed(weight) if weight.any() else 0
        done = [f"n={removed}"] * (removed > 0)
    if done:
        raise CheckpointError(
            f"{checkpoint.path}: pruned or quantised already ({', '.join(sorted(set(done)))}); "
            "give the model that it was made from, or train this one on with tvm-c4n heal"
        )
