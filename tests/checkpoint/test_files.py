"""Small files: what is written appears whole or not at all, what is read is checked."""

import multiprocessing

import pytest

from tvm_c4n.checkpoint.files import (
    LEFTOVERS,
    atomic_output,
    file_size,
    parse_json,
    read_json,
    shown,
    write_atomically,
    write_json,
)
from tvm_c4n.checkpoint.safetensors_file import SafetensorsFile
from tvm_c4n.errors import CheckpointError


def test_a_file_is_replaced_and_nothing_lies_beside_it(tmp_path):
    path = tmp_path / "a.json"
    write_atomically(path, "one")
    write_atomically(path, b"two")
    assert path.read_bytes() == b"two"
    assert list(tmp_path.iterdir()) == [path]


def test_an_error_within_leaves_the_old_content_and_nothing_beside_it(tmp_path):
    path = tmp_path / "a.json"
    write_atomically(path, "old")
    with pytest.raises(KeyError), atomic_output(path) as temporary:
        temporary.write_text("half")
        assert temporary.suffix == path.suffix
        assert temporary.match(LEFTOVERS)
        raise KeyError
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_writer_that_wrote_nothing_is_an_error_and_keeps_the_old_content(tmp_path):
    path = tmp_path / "a.json"
    write_atomically(path, "old")
    missing = pytest.raises(CheckpointError, match=r"a\.json: cannot write: No such file")
    with missing, atomic_output(path):
        pass
    assert path.read_text() == "old"


def test_a_disk_error_names_the_file_that_was_asked_for(tmp_path):
    with pytest.raises(CheckpointError, match=r"/missing/a\.json: cannot write: No such file"):
        write_atomically(tmp_path / "missing" / "a.json", "text")


def _write_often(path, letter, size):
    for _ in range(100):
        write_atomically(path, letter * size)


def test_two_processes_that_write_one_path_never_show_a_part(tmp_path):
    path, size = tmp_path / "a.txt", 100_000
    write_atomically(path, "a" * size)
    fork = multiprocessing.get_context("spawn")
    writers = [fork.Process(target=_write_often, args=(path, c, size)) for c in "ab"]
    for writer in writers:
        writer.start()
    seen = set()
    while any(writer.is_alive() for writer in writers):
        text = path.read_text()
        assert len(text) == size
        assert len(set(text)) == 1
        seen.add(text[0])
    assert [writer.exitcode for writer in writers] == [0, 0]
    assert seen <= {"a", "b"}
    assert list(tmp_path.iterdir()) == [path]


def test_equal_objects_give_equal_json(tmp_path):
    write_json(tmp_path / "a.json", {"b": 1, "a": [2.5, None]})
    write_json(tmp_path / "b.json", {"a": [2.5, None], "b": 1})
    assert (tmp_path / "a.json").read_bytes() == (tmp_path / "b.json").read_bytes()
    assert read_json(tmp_path / "a.json", 1000, "no") == {"a": [2.5, None], "b": 1}


@pytest.mark.parametrize("value", [{"a": float("nan")}, {"a": object()}])
def test_what_json_lacks_is_refused_and_writes_nothing(tmp_path, value):
    with pytest.raises(CheckpointError, match=r"a\.json: cannot be written as JSON"):
        write_json(tmp_path / "a.json", value)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("text", "cause"),
    [
        (b"{", "not valid JSON"),
        (b"\xff", "not valid JSON"),
        (b'{"a": 1, "a": 2}', "duplicate key"),
        (b'{"a": NaN}', "NaN is not JSON"),
        (b"[]", "JSON is not an object"),
        (b'{"a":' + b"[" * 100_000, "nested too deeply"),
    ],
)
def test_damaged_json_is_one_line_with_its_cause(text, cause):
    with pytest.raises(CheckpointError) as caught:
        parse_json(text, "here", "get another")
    message = str(caught.value)
    assert message.startswith("here: ")
    assert cause in message
    assert message.endswith("get another")
    assert "\n" not in message


def test_a_json_file_over_the_limit_is_not_read(tmp_path):
    (tmp_path / "a.json").write_text("{" + " " * 100 + "}")
    with pytest.raises(CheckpointError, match="102 bytes is too large"):
        read_json(tmp_path / "a.json", 101, "shorten it")


def test_only_a_regular_file_has_a_size(tmp_path):
    (tmp_path / "a").write_bytes(b"abc")
    assert file_size(tmp_path / "a", "no") == 3
    for path in (tmp_path, tmp_path / "b"):
        with pytest.raises(CheckpointError, match="get it"):
            file_size(path, "get it")


def test_what_a_file_says_is_shown_on_one_line_and_cut():
    assert shown("a\nb") == r"'a\nb'"
    assert len(shown("x" * 1000)) < 140


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (
            b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n",
            "Git LFS pointer.*lfs pull",
        ),
        (b"<!DOCTYPE html><html>", "web page"),
        (b"\xef\xbb\xbf\n <html lang=en>", "web page"),
    ],
)
def test_what_stands_in_the_place_of_a_file_is_called_that(tmp_path, content, said):
    path = tmp_path / "config.json"
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match=rf"config\.json: a {said}"):
        read_json(path, 1000, "again")
    with pytest.raises(CheckpointError, match=rf"config\.json: a {said}"):
        SafetensorsFile(path)
