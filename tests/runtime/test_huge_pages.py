"""Files come into huge_pages whole, in huge pages or mapped."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tvm_c4n.runtime import huge_pages


@pytest.mark.parametrize("huge", [False, True])
@pytest.mark.parametrize("size", [1, 4096, 70_000_001])
def test_every_byte_arrives(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, huge: bool, size: int
) -> None:
    content = np.random.default_rng(size).integers(0, 256, size, np.uint8)
    file = tmp_path / "block"
    content.tofile(file)
    monkeypatch.setattr(huge_pages, "_huge_pages", lambda: huge)
    block = huge_pages.map_file(file)
    np.testing.assert_array_equal(block, content)
    huge_pages.wait()
    np.testing.assert_array_equal(block, content)
    if huge:
        assert block.ctypes.data % huge_pages.HUGE_PAGE == 0
    block[0] ^= 1  # writes would stay in huge_pages
    assert file.read_bytes()[0] == content[0]


@pytest.mark.parametrize("huge", [False, True])
def test_an_empty_file_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, huge: bool
) -> None:
    monkeypatch.setattr(huge_pages, "_huge_pages", lambda: huge)
    (tmp_path / "block").write_bytes(b"")
    with pytest.raises(ValueError, match="empty"):
        huge_pages.map_file(tmp_path / "block")


def mapped_files() -> str:
    """The files that this process has mapped."""
    return Path("/proc/self/maps").read_text(encoding="ascii")


def test_huge_pages_replace_the_mapping_while_it_is_read(tmp_path: Path) -> None:
    if not huge_pages._huge_pages():
        pytest.skip("this system gives out no huge pages")
    size = 24 * huge_pages.HUGE_PAGE
    content = np.random.default_rng(0).integers(0, 256, size, np.uint8)
    file = tmp_path / "block"
    content.tofile(file)
    block, expected = huge_pages.map_file(file), int(content.sum(dtype=np.int64))
    while huge_pages._migrating[-1].is_alive():
        assert int(block.sum(dtype=np.int64)) == expected
    assert int(block.sum(dtype=np.int64)) == expected
    assert str(file) not in mapped_files()


def test_a_piece_that_cannot_be_read_stays_mapped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_arguments: object) -> int:
        raise OSError("broken")

    content = np.arange(huge_pages.HUGE_PAGE, dtype=np.uint8)
    file = tmp_path / "block"
    content.tofile(file)
    monkeypatch.setattr(huge_pages, "_huge_pages", lambda: True)
    monkeypatch.setattr(huge_pages.os, "preadv", fail)
    block = huge_pages.map_file(file)
    huge_pages.wait()
    np.testing.assert_array_equal(block, content)
    assert str(file) in mapped_files()


@pytest.mark.parametrize("huge", [False, True])
def test_a_huge_block_is_fresh_and_starts_at_a_huge_page(
    monkeypatch: pytest.MonkeyPatch, huge: bool
) -> None:
    monkeypatch.setattr(huge_pages, "_huge_pages", lambda: huge)
    block = huge_pages.allocate(3 * huge_pages.HUGE_PAGE + 5)
    assert block.ctypes.data % huge_pages.HUGE_PAGE == 0
    assert block.shape == (3 * huge_pages.HUGE_PAGE + 5,)
    assert not block.any()
    block[:] = 7
    assert block[-1] == 7
