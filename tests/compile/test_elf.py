"""The ELF reader on files made by hand: what it finds, and how it says no."""

from __future__ import annotations

import os
import struct

import pytest

from tvm_c4n.compile.elf import read_elf, read_machine
from tvm_c4n.errors import ArtifactError


def elf_bytes(*, machine=183, textrel=False, stack=6, align=4096):
    """A shared library of two segments and four sections, without code."""
    strings = b"\0libm.so\0mine.so\0expf\0main\0secret\0"
    at = {name: strings.index(name + b"\0") for name in (b"libm.so", b"mine.so", b"expf", b"main")}
    dynamic = [(1, at[b"libm.so"]), (14, at[b"mine.so"]), (30, 4 if textrel else 8), (0, 0)]
    # name, info (binding << 4 | type), other, section, value, size
    symbols = [(0, 0, 0, 0, 0, 0), (at[b"expf"], 0x12, 0, 0, 0, 0), (at[b"main"], 0x12, 0, 1, 0, 0)]
    symbols.append((strings.index(b"secret"), 0x02, 0, 1, 0, 0))  # local: nobody else's business
    bodies = [
        b"",
        strings,
        b"".join(struct.pack("<qQ", *entry) for entry in dynamic),
        b"".join(struct.pack("<IBBHQQ", *symbol) for symbol in symbols),
    ]
    kinds = [0, 3, 6, 11]
    segments = struct.pack("<IIQQQQQQ", 1, 5, 0, 0, 0, 0, 0, align)
    segments += struct.pack("<IIQQQQQQ", 0x6474E551, stack, 0, 0, 0, 0, 0, 16)
    start, table, data = 64 + len(segments), b"", b""
    for kind, body in zip(kinds, bodies, strict=True):
        place = start + len(data)
        table += struct.pack("<IIQQQQIIQQ", 0, kind, 0, 0, place, len(body), 1, 0, 1, 0)
        data += body
    head = b"\x7fELF\x02\x01\x01" + bytes(9)
    sizes = (64, 56, 2, 64, 4, 1)
    numbers = struct.pack("<HHIQQQIHHHHHH", 3, machine, 1, 0, 64, start + len(data), 0, *sizes)
    return head + numbers + segments + data + table


@pytest.fixture
def path(tmp_path):
    return tmp_path / "lib.so"


def test_every_field(path):
    path.write_bytes(elf_bytes())
    elf = read_elf(path)
    assert (elf.machine, elf.soname, elf.needed) == ("aarch64", "mine.so", ("libm.so",))
    assert (elf.undefined, elf.exported) == (("expf",), ("main",))
    assert (elf.load_align_bytes, elf.size_bytes) == (4096, path.stat().st_size)
    assert not elf.text_relocations
    assert not elf.executable_stack


def test_what_android_refuses_is_seen(path):
    path.write_bytes(elf_bytes(textrel=True, stack=7, align=16384))
    elf = read_elf(path)
    assert elf.text_relocations
    assert elf.executable_stack
    assert elf.load_align_bytes == 16384


@pytest.mark.parametrize(("number", "name"), [(62, "x86_64"), (21, "machine 21")])
def test_machines_have_names(path, number, name):
    path.write_bytes(elf_bytes(machine=number))
    assert read_machine(path) == read_elf(path).machine == name


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "not an ELF file"),
        (b"PK\x03\x04 a zip", "not an ELF file"),
        (b"\x7fELF\x01\x01" + bytes(80), "not a 64-bit little-endian"),
        (b"\x7fELF\x02\x02" + bytes(80), "not a 64-bit little-endian"),
    ],
)
def test_other_files_are_named_as_such(path, content, said):
    path.write_bytes(content)
    assert read_machine(path) is None
    with pytest.raises(ArtifactError, match=said):
        read_elf(path)


def test_what_no_reader_would_come_to_the_end_of_is_refused(path):
    path.symlink_to("/dev/zero")
    for reader in (read_machine, read_elf):
        with pytest.raises(ArtifactError, match=r"lib\.so: not a regular file; compile"):
            reader(path)
    path.unlink()
    path.touch()
    os.truncate(path, 10 << 30)
    with pytest.raises(ArtifactError, match=r"lib\.so: 10737418240 bytes is too large"):
        read_elf(path)


def test_a_file_that_ends_anywhere_is_damaged(path):
    whole = elf_bytes()
    for size in range(6, len(whole)):
        path.write_bytes(whole[:size])
        with pytest.raises(ArtifactError, match="damaged"):
            read_elf(path)


def test_a_table_far_outside_is_damaged(path):
    whole = bytearray(elf_bytes())
    struct.pack_into("<Q", whole, 40, 2**64 - 8)
    path.write_bytes(whole)
    with pytest.raises(ArtifactError, match="damaged"):
        read_elf(path)
