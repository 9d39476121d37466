"""Files come into memory whole, in huge pages or mapped."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tvm_c4n.runtime import memory


@pytest.mark.parametrize("huge", [False, True])
@pytest.mark.parametrize("size", [1, 4096, 70_000_001])
def test_every_byte_arrives(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, huge: bool, size: int
) -> None:
    content = np.random.default_rng(size).integers(0, 256, size, np.uint8)
    file = tmp_path / "block"
    content.tofile(file)
    monkeypatch.setattr(memory, "_huge_pages", lambda: huge)
    block = memory.read_block(file)
    np.testing.assert_array_equal(block, content)
    memory.settle()
    np.testing.assert_array_equal(block, content)
    if huge:
        assert block.ctypes.data % memory.HUGE_PAGE == 0
    block[0] ^= 1  # writes would stay in memory
    assert file.read_bytes()[0] == content[0]


@pytest.mark.parametrize("huge", [False, True])
def test_an_empty_file_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, huge: bool
) -> None:
    monkeypatch.setattr(memory, "_huge_pages", lambda: huge)
    (tmp_path / "block").write_bytes(b"")
    with pytest.raises(ValueError, match="empty"):
        memory.read_block(tmp_path / "block")


def mapped_files() -> str:
    """The files that this process has mapped."""
    return Path("/proc/self/maps").read_text(encoding="ascii")


def test_huge_pages_replace_the_mapping_while_it_is_read(tmp_path: Path) -> None:
    if not memory._huge_pages():
        pytest.skip("this system gives out no huge pages")
    size = 24 * memory.HUGE_PAGE
    content = np.random.default_rng(0).integers(0, 256, size, np.uint8)
    file = tmp_path / "block"
    content.tofile(file)
    block, expected = memory.read_block(file), int(content.sum(dtype=np.int64))
    while memory._moving[-1].is_alive():
        assert int(block.sum(dtype=np.int64)) == expected
    assert int(block.sum(dtype=np.int64)) == expected
    assert str(file) not in mapped_files()


def test_a_piece_that_cannot_be_read_stays_mapped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_arguments: object) -> int:
        raise OSError("broken")

    content = np.arange(memory.HUGE_PAGE, dtype=np.uint8)
    file = tmp_path / "block"
    content.tofile(file)
    monkeypatch.setattr(memory, "_huge_pages", lambda: True)
    monkeypatch.setattr(memory.os, "preadv", fail)
    block = memory.read_block(file)
    memory.settle()
    np.testing.assert_array_equal(block, content)
    assert str(file) in mapped_files()


@pytest.mark.parametrize("huge", [False, True])
def test_a_huge_block_is_fresh_and_starts_at_a_huge_page(
    monkeypatch: pytest.MonkeyPatch, huge: bool
) -> None:
    monkeypatch.setattr(memory, "_huge_pages", lambda: huge)
    block = memory.huge_block(3 * memory.HUGE_PAGE + 5)
    assert block.ctypes.data % memory.HUGE_PAGE == 0
    assert block.shape == (3 * memory.HUGE_PAGE + 5,)
    assert not block.any()
    block[:] = 7
    assert block[-1] == 7
