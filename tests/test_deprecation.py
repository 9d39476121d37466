"""Keywords under their old names."""

from __future__ import annotations

import warnings

import pytest

from tvm_c4n._deprecation import renamed_keywords


@renamed_keywords(twin="dense_export", damp="dampening")
def function(model: str, dense_export: bool = True, *, dampening: float = 0.5) -> tuple:
    """Return what arrived."""
    return model, dense_export, dampening


def test_an_old_name_is_taken_with_a_warning_that_names_the_new_one() -> None:
    with pytest.warns(DeprecationWarning, match=r"function\(twin=\.\.\.\) is now dense_export="):
        assert function("m", twin=False) == ("m", False, 0.5)
    with pytest.warns(DeprecationWarning) as seen:
        assert function("m", twin=False, damp=0.1) == ("m", False, 0.1)
    assert len(seen) == 2
    assert {warning.filename for warning in seen} == {__file__}


def test_a_new_name_is_taken_without_one() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert function("m", dense_export=False, dampening=0.1) == ("m", False, 0.1)


def test_both_names_are_an_error() -> None:
    with pytest.raises(TypeError, match=r"function\(\) got both twin= and dense_export="):
        function("m", twin=False, dense_export=True)


def test_the_function_keeps_its_name_and_words() -> None:
    assert function.__name__ == "function"
    assert function.__doc__ == "Return what arrived."
