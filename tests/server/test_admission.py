"""Answers are counted while they are under way."""

import pytest

from tvm_c4n.server.admission import Admission
from tvm_c4n.server.api_error import ApiError


def test_one_too_many_is_refused_until_another_has_ended():
    admission = Admission(3)
    with admission.enter(2):
        admission.check(1)
        with pytest.raises(ApiError) as caught, admission.enter(2):
            pass
        assert (caught.value.status, caught.value.headers) == (429, {"Retry-After": "1"})
        assert str(caught.value).startswith("2 answers are under way or wait, of 3 at most")
    assert admission.count == 0
    with admission.enter(3):
        assert admission.count == 3


def test_an_answer_that_fails_is_counted_off():
    admission = Admission(1)
    with pytest.raises(ValueError, match="x"), admission.enter(1):
        raise ValueError("x")
    assert admission.count == 0


def test_a_server_that_shuts_down_lets_nothing_in():
    admission = Admission(1)
    admission.close()
    with pytest.raises(ApiError) as caught:
        admission.check(1)
    assert (caught.value.status, caught.value.code) == (503, "shutting_down")
