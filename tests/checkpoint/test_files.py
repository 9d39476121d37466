"""What is written appears whole or not at all."""

import multiprocessing
import resource

import pytest

from tvm_c4n.checkpoint.files import (
    LEFTOVERS,
    append_line,
    atomic_output,
    reserve,
    write_atomically,
    write_json,
)
from tvm_c4n.checkpoint.json_reading import read_json
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


def test_a_line_that_does_not_fit_is_not_there(tmp_path):
    path = tmp_path / "lines"
    append_line(path, "one")
    limit = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, limit[1]))
    try:
        said = r"lines: cannot write: the limit .* is 1\.0 kB, 2\.0 kB are needed"
        with pytest.raises(CheckpointError, match=said):
            append_line(path, "x" * 2000)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limit)
    append_line(path, "two")
    assert path.read_text() == "one\ntwo\n"


def test_room_is_made_sure_of_and_nothing_is_left(tmp_path):
    reserve(tmp_path, 4096)
    limit = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, limit[1]))
    try:
        with pytest.raises(CheckpointError, match=r"cannot write: .*, 4\.1 kB are needed"):
            reserve(tmp_path, 4096)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limit)
    assert not list(tmp_path.iterdir())


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
