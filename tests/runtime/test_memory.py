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
    if huge:
        assert block.ctypes.data % memory.HUGE_PAGE == 0
    block[0] ^= 1  # writes stay in memory
    assert file.read_bytes()[0] == content[0]


@pytest.mark.parametrize("huge", [False, True])
def test_an_empty_file_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, huge: bool
) -> None:
    monkeypatch.setattr(memory, "_huge_pages", lambda: huge)
    (tmp_path / "block").write_bytes(b"")
    with pytest.raises(ValueError, match="empty"):
        memory.read_block(tmp_path / "block")
