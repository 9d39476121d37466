"""Folders in their authors' format are told from others by what lies in them."""

import pytest

from tvm_c4n.checkpoint.original import convert_first, is_codestral, is_state_spaces


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        ({"d_model": 768}, True),
        ({"ssm_cfg": {}}, True),
        ({}, False),
        ({"d_model": 768, "model_type": "mpt"}, False),
    ],
)
def test_a_config_of_state_spaces_has_no_model_type(config, expected):
    assert is_state_spaces(config) is expected


def test_codestral_has_two_files(tmp_path):
    (tmp_path / "params.json").touch()
    assert not is_codestral(tmp_path)
    (tmp_path / "consolidated.safetensors").touch()
    assert is_codestral(tmp_path)


def test_the_command_can_be_typed_as_it_stands(tmp_path, monkeypatch):
    (tmp_path / "my model").mkdir()
    monkeypatch.chdir(tmp_path / "my model")
    assert convert_first(tmp_path / "my model/config.json").endswith(
        f"`tvm-c4n convert '{tmp_path}/my model' -o 'my model-hf'`"
    )
