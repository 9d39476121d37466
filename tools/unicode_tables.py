"""Write what the runner's tokenizer knows of Unicode, as the package `tokenizers` has it.

    python tools/unicode_tables.py          renews tvm_c4n/runtime/native/text/unicode_tables.cpp
    python tools/unicode_tables.py --check  exits with 1 where that would change it

Every table is asked of `tokenizers` itself, character by character: its regular expressions, its
normaliser and its splitters each follow a Unicode version of their own.
"""

from __future__ import annotations

import argparse
import sys
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

from tokenizers import Regex, normalizers, pre_tokenizers

FILE = Path(__file__).parents[1] / "tvm_c4n/runtime/native/text/unicode_tables.cpp"
CATEGORIES = (
    *("Lu", "Ll", "Lt", "Lm", "Lo", "Mn", "Mc", "Me", "Nd", "Nl", "No", "Pc", "Pd", "Ps", "Pe"),
    *("Pi", "Pf", "Po", "Sm", "Sc", "Sk", "So", "Zs", "Zl", "Zp", "Cc", "Cf", "Co", "Cn"),
)
# Without surrogates, which no UTF-8 text has.
CODES = [*range(0xD800), *range(0xE000, 0x110000)]
_TEXT = "".join(map(chr, CODES))
_HANGUL = range(0xAC00, 0xD7A4)
_BAR, _ACUTE = "\u0338", "\u0301"  # of combining classes 1 and 230


def matched(splitter: pre_tokenizers.PreTokenizer, is_match: Callable[[str], bool]) -> set[int]:
    """Return the characters of those pieces of all characters that `is_match` says are matches."""
    found: set[int] = set()
    for piece, _ in splitter.pre_tokenize_str(_TEXT):
        if is_match(piece):
            found.update(map(ord, piece))
    return found


def matched_by_regex(pattern: str) -> set[int]:
    """Return the characters that a regular expression of one character matches."""
    # What is removed is what matches: the rest comes back.
    splitter = pre_tokenizers.Split(Regex(pattern), "removed")
    rest = matched(splitter, lambda _: True)
    return set(CODES) - rest


def runs(codes: Iterable[int]) -> Iterator[tuple[int, int]]:
    """Yield (first, last) of each run of codes."""
    first = last = -2
    for code in sorted(codes):
        if code != last + 1:
            if first >= 0:
                yield first, last
            first = code
        last = code
    if first >= 0:
        yield first, last


def categories() -> list[tuple[int, int]]:
    """Return (first character, category) of each run."""
    kind = dict.fromkeys(CODES, CATEGORIES.index("Cn"))
    for index, name in enumerate(CATEGORIES[:-1]):
        kind.update(dict.fromkeys(matched_by_regex(rf"\p{{{name}}}"), index))
    found: list[tuple[int, int]] = []
    for code in CODES:
        if not found or found[-1][1] != kind[code]:
            found.append((code, kind[code]))
    return found


def decompositions() -> list[tuple[int, int, int]]:
    """Return (character, first, second or 0) of canonical decompositions, but for Hangul."""
    nfd = normalizers.NFD()
    found = []
    for code in CODES:
        said = unicodedata.decomposition(chr(code))
        if not said or said.startswith("<") or nfd.normalize_str(chr(code)) == chr(code):
            continue
        first, *rest = (int(word, 16) for word in said.split())
        found.append((code, first, rest[0] if rest else 0))
    return found


def compositions(pairs: Iterable[tuple[int, int, int]]) -> list[tuple[int, int, int]]:
    """Return (first, second, character) of the pairs that are composed again, sorted."""
    nfc = normalizers.NFC()
    return sorted(
        (first, second, code)
        for code, first, second in pairs
        if second and nfc.normalize_str(chr(first) + chr(second)) == chr(code)
    )


def combining() -> list[tuple[int, int, int]]:
    """Return (first, last, class) of characters with a combining class."""
    nfd = normalizers.NFD()
    known: dict[int, list[int]] = {}
    for code in CODES:
        kind, char = unicodedata.combining(chr(code)), chr(code)
        if not kind:
            continue
        # A mark that the normaliser knows changes places with one of a higher or a lower class.
        before, after = (_ACUTE, char) if kind < 230 else (char, _BAR)
        if nfd.normalize_str(before + after) != nfd.normalize_str(before) + after:
            known.setdefault(kind, []).append(code)
    return sorted((*run, kind) for kind, codes in known.items() for run in runs(codes))


def _filled(items: Sequence[str], indent: str = "    ") -> str:
    lines = [indent]
    for item in items:
        if len(lines[-1]) + len(item) + 2 > 100:
            lines.append(indent)
        lines[-1] += item + ", "
    return "\n".join(line.rstrip() for line in lines)


def _table(kind: str, name: str, rows: Iterable[tuple[int, ...]]) -> str:
    items = ["{" + ", ".join(f"0x{n:x}" if n > 9 else str(n) for n in row) + "}" for row in rows]
    return (
        f"const {kind} {name}[] = {{\n{_filled(items)}\n}};\n"
        f"const size_t {name}Count = {len(items)};\n"
    )


def text() -> str:
    """Return the file's content."""
    pairs = decompositions()
    numeric = matched(pre_tokenizers.Digits(), lambda piece: piece[0] in "0²" or _is_number(piece))
    punctuation = matched(pre_tokenizers.Punctuation("isolated"), lambda piece: _is_mark(piece))
    parts = [
        "// Written by tools/unicode_tables.py; see there.\n"
        '#include "unicode_tables.hpp"\n\nnamespace c4n {\n',
        _table("CategoryRun", "kCategories", categories()),
        _table("CodeRun", "kSpaces", runs(matched_by_regex(r"\s"))),
        _table("CodeRun", "kNumeric", runs(numeric)),
        _table("CodeRun", "kPunctuation", runs(punctuation)),
        _table("CombiningRun", "kCombining", combining()),
        _table("Decomposition", "kDecompositions", pairs),
        _table("Composition", "kCompositions", compositions(pairs)),
        "}  // namespace c4n\n",
    ]
    return "\n".join(parts)


def _is_number(piece: str) -> bool:
    return _alone(pre_tokenizers.Digits(), piece[0])


def _is_mark(piece: str) -> bool:
    return len(piece) == 1 and _alone(pre_tokenizers.Punctuation("isolated"), piece)


def _alone(splitter: pre_tokenizers.PreTokenizer, char: str) -> bool:
    """Whether a character is parted from a letter in front of it."""
    return len(splitter.pre_tokenize_str("a" + char)) == 2


def main() -> None:
    """Write or compare the file."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true")
    check = parser.parse_args().check
    found = text()
    if not check:
        FILE.write_text(found)
    elif FILE.read_text() != found:
        sys.exit(f"{FILE} is not what tokenizers knows: run tools/unicode_tables.py")


if __name__ == "__main__":
    main()
