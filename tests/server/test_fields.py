"""Fields that are not here are refused by name; those that do no harm are not."""

import pytest

from tvm_c4n.server.api_error import ApiError
from tvm_c4n.server.fields import known_fields

NAMES = frozenset({"prompt", "stop"})


def test_fields_are_kept_ignored_or_refused():
    given = {"prompt": "a", "stop": None, "user": "me", "tools": [], "tool_choice": "auto"}
    assert known_fields(given, NAMES) == {"prompt": "a"}
    for name, value in (("tools", [1]), ("suffix", "x"), ("audio", {}), ("functions", [{}])):
        with pytest.raises(ApiError) as caught:
            known_fields({name: value}, NAMES)
        assert str(caught.value) == f"{name}: this server does not have it: leave it out"
        assert caught.value.param == name


def test_a_misspelt_field_is_told_its_neighbour():
    with pytest.raises(ApiError, match=r"unknown field 'prommt'; did you mean prompt\?"):
        known_fields({"prommt": "a"}, NAMES)
    with pytest.raises(ApiError) as caught:
        known_fields({"\x1b[2J" * 100: "a"}, NAMES)
    assert "\x1b" not in str(caught.value)
    assert len(str(caught.value)) < 200
