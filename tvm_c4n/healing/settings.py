"""How to heal: what the command line asks for. Imports no torch."""

from __future__ import annotations

from dataclasses import dataclass

from tvm_c4n.errors import RecipeError


@dataclass(frozen=True)
class HealSettings:
    """A healing request.

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

    tokens: int = 100_000_000
    batch: int = 64
    window: int = 1024
    lr: float = 1e-3
    warmup: float = 0.02
    mask_update_fraction: float = 0.0
    label_loss: float = 0.0
    held_out: int = 64
    save_steps: int = 500
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("tokens", "batch", "held_out", "save_steps"):
            if getattr(self, name) < 1:
                raise RecipeError(f"{name} is {getattr(self, name)}; give at least 1")
        if self.window < 8 or self.window % 4:
            raise RecipeError(f"window is {self.window}; give a multiple of 4, 8 or more")
        if not 0 < self.lr < 1:
            raise RecipeError(f"lr is {self.lr}; give a number between 0 and 1, such as 1e-3")
        for name in ("warmup", "mask_update_fraction", "label_loss"):
            if not 0 <= getattr(self, name) <= 1:
                raise RecipeError(f"{name} is {getattr(self, name)}; give a share from 0 to 1")
        if self.seed < 0:
            raise RecipeError(f"seed is {self.seed}; give 0 or more")
        if self.steps < 1:
            raise RecipeError(
                f"tokens is {self.tokens}, less than one step of {self.batch} x {self.window}"
            )

    @property
    def steps(self) -> int:
        """Steps of ``batch`` windows."""
        return self.tokens // (self.batch * self.window)
