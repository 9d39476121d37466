"""The CPU of the machine that compiles, as Linux describes it."""

from __future__ import annotations

from pathlib import Path

import pytest

from tvm_c4n.compile import host
from tvm_c4n.compile.host import Core

ZEN5 = (
    "processor\t: 0\nvendor_id\t: AuthenticAMD\ncpu family\t: 26\nmodel\t\t: 2\nflags\t: avx512f\n"
)
INTEL = ZEN5.replace("26", "6").replace("AuthenticAMD", "GenuineIntel")


def describe(
    monkeypatch: pytest.MonkeyPatch, folder: Path, cpu: str | None, size: str | None
) -> None:
    for name, text in {"cpuinfo": cpu, "size": size}.items():
        if text is not None:
            (folder / name).write_text(text)
    monkeypatch.setattr(host, "Path", lambda path: folder / Path(path).name)


@pytest.mark.parametrize(
    ("cpu", "expected"),
    [
        (ZEN5, Core.ZEN5),
        (ZEN5.replace("26", "25"), Core.ZEN4),
        (ZEN5.replace("26", "25").replace("avx512f", "avx2"), None),  # Zen 3
        (ZEN5.replace("26", "261"), None),
        (INTEL, None),  # Ice Lake
        (INTEL.replace("avx512f", "avx512f amx_int8"), Core.GOLDEN_COVE),
        (INTEL.replace("avx512f", "avx512f amx_int8 amx_fp16"), None),  # Granite Rapids
        (ZEN5.replace("26", "27").replace("avx512f", "avx512f amx_int8"), None),
        (ZEN5.replace("AuthenticAMD", "GenuineIntel"), None),
        (None, None),  # another system
    ],
)
def test_cores_that_prefetching_was_measured_on_are_known(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, cpu: str | None, expected: Core | None
) -> None:
    describe(monkeypatch, tmp_path, cpu, None)
    assert host.measured_core() is expected


@pytest.mark.parametrize(
    ("size", "expected"), [("32768K\n", 32 << 20), ("32M\n", None), (None, None)]
)
def test_the_l3_is_read(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, size: str | None, expected: int | None
) -> None:
    describe(monkeypatch, tmp_path, None, size)
    assert host.l3_bytes() == expected
