"""The L3 cache of the machine that compiles, as Linux describes it."""

from __future__ import annotations

from pathlib import Path

import pytest

from tvm_c4n.compile import host

ZEN5 = "vendor_id\t: AuthenticAMD\ncpu family\t: 26\nmodel\t\t: 2\n"


@pytest.mark.parametrize(
    ("cpu", "size", "expected"),
    [
        (ZEN5, "32768K\n", 32 << 20),
        (ZEN5.replace("26", "25"), "32768K\n", None),  # Zen 3 and Zen 4
        (ZEN5.replace("26", "261"), "32768K\n", None),
        (ZEN5.replace("AuthenticAMD", "GenuineIntel"), "32768K\n", None),
        (ZEN5, "32M\n", None),
        (ZEN5, None, None),  # no L3, or not told
        (None, None, None),  # another system
    ],
)
def test_the_l3_is_known_where_bypassing_it_was_measured(
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
    assert host.bypassed_cache_bytes() == expected
