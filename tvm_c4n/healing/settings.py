"""How to heal: what the command line asks for. Imports no torch."""

from __future__ import annotations

from typing import ClassVar, Self

from pydantic import Field, model_validator

from tvm_c4n.checkpoint.recipe_file import RecipeFile
from tvm_c4n.errors import RecipeError


class HealSettings(RecipeFile):
    """A healing request; `from_file` reads one, `to_yaml` writes it.

    Attributes
    ----------
    tokens : int
        Tokens to train on; the text is read again when it is shorter.
    batch : int
        Windows per step.
    window : int
        Tokens per window, the leading separator token included; divisible by 4.
    lr : float
        Peak learning rate. It rises over ``warmup`` of the steps and falls as a cosine to 0.
    warmup : float
        Share of the steps.
    mask_update_fraction : float
        Share of the steps in which the masks may still move, see `StoredWeight.reselect`; 0 keeps
        the masks as they come.
    label_loss : float
        Share of the text's own next tokens in the loss, see `tvm_c4n.healing.distil.objective`.
    held_out : int
        Windows at the end of the text that are not trained on but measured.
    save_steps : int
        Steps between two states to resume from.
    seed : int
        Draws the order of the windows.

    Raises
    ------
    RecipeError
        A value out of its range.
    """

    IN_REPORT: ClassVar[str] = "settings"
    REMEDY: ClassVar[str] = "`tvm-c4n heal PRUNED --show-recipe` prints a recipe"

    tokens: int = Field(default=100_000_000, ge=1)
    batch: int = Field(default=64, ge=1)
    window: int = Field(default=1024, ge=8, multiple_of=4)
    lr: float = Field(default=1e-3, gt=0, lt=1)
    warmup: float = Field(default=0.02, ge=0, le=1)
    mask_update_fraction: float = Field(default=0.0, ge=0, le=1)
    label_loss: float = Field(default=0.0, ge=0, le=1)
    held_out: int = Field(default=64, ge=1)
    save_steps: int = Field(default=500, ge=1)
    seed: int = Field(default=0, ge=0)

    @model_validator(mode="after")
    def _check_steps(self) -> Self:
        if self.steps < 1:
            raise RecipeError(
                f"tokens is {self.tokens}, less than one step of {self.batch} x {self.window}"
            )
        return self

    @property
    def steps(self) -> int:
        """Steps of ``batch`` windows."""
        return self.tokens // (self.batch * self.window)
