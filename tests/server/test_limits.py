"""Limits are numbers that make sense."""

from dataclasses import fields

import pytest

from tvm_c4n.errors import C4nError
from tvm_c4n.server.limits import Limits


def test_defaults_can_be_and_nothing_below_its_least():
    Limits().check()
    Limits(queue=0, cache_bytes=0, shutdown_secs=0).check()
    for field in fields(Limits):
        with pytest.raises(C4nError, match=f"{field.name} is -1; use [01] or more"):
            Limits(**{field.name: -1}).check()
    for wrong in (float("nan"), float("inf")):
        with pytest.raises(C4nError, match="request_secs is"):
            Limits(request_secs=wrong).check()
