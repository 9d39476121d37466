"""A small reader of ELF files: what a compiled library demands of its loader.

It answers, without binutils, the questions that decide whether a phone loads a file: for which
machine, which libraries and symbols must be there, how its segments are aligned, and whether it
wants its code rewritten at load time.

Source: System V ABI, chapters 4 and 5. 64-bit little-endian files only: every target is one.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from pathlib import Path

from tvm_c4n.checkpoint.reading import open_regular, read_bytes
from tvm_c4n.errors import ArtifactError

MACHINES = {3: "x86", 40: "arm", 62: "x86_64", 183: "aarch64", 243: "riscv64"}

# TVM's largest library, with the compiler in it, has some 150 MB.
_MAX_BYTES = 1 << 29
_AGAIN = "compile or download it again"
_HEADER = struct.Struct("<16sHHIQQQIHHHHHH")
_SEGMENT = struct.Struct("<IIQQQQQQ")
_SECTION = struct.Struct("<IIQQQQIIQQ")
_SYMBOL = struct.Struct("<IBBHQQ")
_DYNAMIC = struct.Struct("<qQ")

_PT_LOAD, _PT_GNU_STACK, _PF_X = 1, 0x6474E551, 1
_SHT_DYNAMIC, _SHT_DYNSYM = 6, 11
_DT_NEEDED, _DT_SONAME, _DT_TEXTREL, _DT_FLAGS = 1, 14, 22, 30
_DF_TEXTREL, _STB_LOCAL, _SHN_UNDEF = 4, 0, 0


@dataclass(frozen=True)
class Elf:
    """What one ELF file says of itself.

    Attributes
    ----------
    machine : str
        "aarch64", "x86_64", ... or "machine 21" for a number without a name here.
    soname : str or None
        The name by which other libraries link to it.
    needed : tuple of str
        Libraries (DT_NEEDED) that the loader must find, in the file's order.
    load_align_bytes : int
        The smallest alignment of its loadable segments. Android devices with 16 KiB pages need
        16384 or more. 0: the file has none (an object file).
    undefined, exported : tuple of str
        Dynamic symbols that it takes from others, and that it gives; sorted.
    text_relocations : bool
        Whether the loader would have to write into code, which Android refuses.
    executable_stack : bool
        Whether it asks for a stack that can be executed, which glibc 2.41 and Android refuse.
    size_bytes : int
        Size of the file.
    """

    machine: str
    soname: str | None
    needed: tuple[str, ...]
    load_align_bytes: int
    undefined: tuple[str, ...]
    exported: tuple[str, ...]
    text_relocations: bool
    executable_stack: bool
    size_bytes: int


def read_head(path: Path) -> bytes:
    """Return the bytes of a file's ELF header, or what there is of it.

    Raises
    ------
    ArtifactError
        Missing, unreadable or not a regular file.
    """
    stream, _ = open_regular(path, _AGAIN, ArtifactError)
    with stream:
        return stream.read(_HEADER.size)


def read_machine(path: Path) -> str | None:
    """Return the machine that an ELF file's header names; None if it is not a 64-bit ELF file.

    Parameters
    ----------
    path : Path
        Any file, for instance an object file on its way to the linker.
    """
    head = read_head(path)
    if len(head) < _HEADER.size or head[:6] != b"\x7fELF\x02\x01":
        return None
    return _machine_name(_HEADER.unpack(head)[2])


def read_elf(path: Path) -> Elf:
    """Read a shared library (or any 64-bit little-endian ELF file).

    Parameters
    ----------
    path : Path
        The file; it is read whole.

    Raises
    ------
    ArtifactError
        The file cannot be read, is too large, is not ELF, not 64-bit little-endian, or ends before
        what its tables point at.
    """
    data = read_bytes(path, _MAX_BYTES, _AGAIN, ArtifactError)
    if data[:4] != b"\x7fELF":
        raise ArtifactError(f"{path}: not an ELF file; compile it for Linux or Android")
    if data[4:6] != b"\x02\x01":
        raise ArtifactError(f"{path}: not a 64-bit little-endian ELF file")
    try:
        return _parse(data)
    except (struct.error, ValueError, IndexError, OverflowError) as error:
        raise ArtifactError(f"{path}: damaged ELF file ({error}); compile it again") from error


def _machine_name(number: int) -> str:
    return MACHINES.get(number, f"machine {number}")


def _parse(data: bytes) -> Elf:
    header = _HEADER.unpack_from(data)
    machine, segment_at, section_at = header[2], header[5], header[6]
    segment_size, segment_count, section_size, section_count = header[9:13]

    # 1. Segments: what the loader maps.
    aligns, executable_stack = [], False
    for i in range(segment_count):
        kind, flags, *_, align = _SEGMENT.unpack_from(data, segment_at + i * segment_size)
        if kind == _PT_LOAD:
            aligns.append(align)
        elif kind == _PT_GNU_STACK:
            executable_stack = bool(flags & _PF_X)

    # 2. Sections: the dynamic table and the dynamic symbols, each with its table of strings.
    sections = [
        _SECTION.unpack_from(data, section_at + i * section_size) for i in range(section_count)
    ]
    needed: list[str] = []
    undefined: set[str] = set()
    exported: set[str] = set()
    soname, text_relocations = None, False
    for section in sections:
        if section[1] == _SHT_DYNAMIC:
            strings = _body(data, sections[section[6]])
            for tag, value in _DYNAMIC.iter_unpack(_body(data, section)):
                if tag == _DT_NEEDED:
                    needed.append(_text(strings, value))
                elif tag == _DT_SONAME:
                    soname = _text(strings, value)
                elif tag == _DT_TEXTREL or (tag == _DT_FLAGS and value & _DF_TEXTREL):
                    text_relocations = True
        elif section[1] == _SHT_DYNSYM:
            strings = _body(data, sections[section[6]])
            for name, info, _, index, _, _ in _SYMBOL.iter_unpack(_body(data, section)):
                if name and info >> 4 != _STB_LOCAL:
                    (undefined if index == _SHN_UNDEF else exported).add(_text(strings, name))
    return Elf(
        machine=_machine_name(machine),
        soname=soname,
        needed=tuple(needed),
        load_align_bytes=min(aligns, default=0),
        undefined=tuple(sorted(undefined)),
        exported=tuple(sorted(exported)),
        text_relocations=text_relocations,
        executable_stack=executable_stack,
        size_bytes=len(data),
    )


def _body(data: bytes, section: tuple[int, ...]) -> bytes:
    start, size = section[4], section[5]
    if start + size > len(data):
        raise ValueError(f"a section ends at byte {start + size} of {len(data)}")
    return data[start : start + size]


def _text(strings: bytes, at: int) -> str:
    return strings[at : strings.index(b"\0", at)].decode()
