"""Which calibration windows weights are fitted to, and which losses are measured on.

Fitted weights lose less on the text that they were fitted to than on other text, the more so the
more columns they have. And what x_proj loses grows with the length of a text, as the state carries
it on. So losses are measured on other windows, joined to long texts.
"""

from __future__ import annotations

from torch import Tensor

# Tokens that weights are fitted to; tokens of a text that losses are measured on, and how many such
# texts. All choices are measured on the same ones, so that their order is clear long before the
# losses themselves are exact.
FITTED_TOKENS, TEXT_TOKENS, TEXTS = 8192, 1024, 2


def split_windows(windows: Tensor) -> tuple[Tensor, Tensor]:
    """Return windows that weights are fitted to, and texts that losses are measured on.

    Parameters
    ----------
    windows : (b, t) int64

    Returns
    -------
    fitted : (windows, t) int64
        The first ones, `FITTED_TOKENS` or a window more.
    judged : (texts, tokens) int64
        The last ones, `TEXTS` of `TEXT_TOKENS`, as far as there are so many windows. Where there
        are few windows, these are among those fitted to.
    """
    count, width = windows.shape
    joined = min(max(1, TEXT_TOKENS // width), count)
    texts = min(TEXTS, count // joined)
    judged = windows[-joined * texts :].reshape(texts, -1)
    return windows[: -(-FITTED_TOKENS // width)], judged
