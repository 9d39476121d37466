"""The L3 cache of the machine that compiles, as Linux describes it."""

from __future__ import annotations

from pathlib import Path

import pytest

from tvm_c4n.compile import host


@pytest.mark.parametrize(
    ("cpu", "size", "expected"),
    [
        ("vendor_id\t: AuthenticAMD\n", "32768K\n", 32 << 20),
        ("vendor_id\t: GenuineIntel\n", "32768K\n", None),  # never measured there
        ("vendor_id\t: AuthenticAMD\n", "32M\n", None),
        ("vendor_id\t: AuthenticAMD\n", None, None),  # no L3, or not told
        (None, None, None),  # another system
    ],
)
def test_the_l3_is_known_on_amd_alone(
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    cpu: str | None,
    size: str | None,
    expected: int | None,
) -> None:
    files = {"cpuinfo": cpu, "size": size}
    for name, text in files.items():
        if text is not None:
            (tmp_path / name).write_text(text)
    monkeypatch.setattr(host, "Path", lambda path: tmp_path / Path(path).name)
    assert host.victim_cache_bytes() == expected
