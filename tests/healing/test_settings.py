"""A healing request is checked before anything is read, without torch."""

import subprocess
import sys

import pytest

from tvm_c4n.errors import RecipeError
from tvm_c4n.healing import HealSettings


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("tokens", 10),
        ("batch", 0),
        ("window", 10),
        ("lr", 0.0),
        ("mask_update_fraction", 1.5),
        ("seed", -1),
    ],
)
def test_settings_out_of_range_are_refused(field, value):
    with pytest.raises(RecipeError, match=field):
        HealSettings(**{field: value})


def test_steps_are_whole_batches():
    settings = HealSettings(tokens=1000, batch=4, window=16)
    assert settings.steps == 1000 // (4 * 16)
    with pytest.raises(RecipeError, match="less than one step of 4 x 16"):
        HealSettings(tokens=63, batch=4, window=16)


def test_settings_need_no_torch():
    program = "import sys, tvm_c4n.healing.settings; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.stdout.strip() == "False"
