"""The runner's tokenizer gives what the package `tokenizers` gives, in both directions."""

from __future__ import annotations

import json
import os
import shutil
import struct
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from tokenizers import Tokenizer

from tests.c4n import INVALID, C4nFailure, Model, library
from tests.once import made_once
from tests.texts import lines
from tests.tokenizers import KINDS, save
from tvm_c4n.compile.native import SOURCES, package_folder

BUNDLED = SOURCES.parents[1] / "assets" / "mamba-19m" / "tokenizer.json"
SANITIZERS = ["-fsanitize=address,undefined", "-fno-sanitize-recover=all"]


@pytest.fixture(scope="module")
def with_tokenizer(
    host_runner: Path, small_artifact: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Callable[[Path], Model]]:
    """``with_tokenizer(file)``: the small model, opened with another tokenizer.json."""
    opened: list[Model] = []

    def make(file: Path) -> Model:
        folder = shutil.copytree(small_artifact, tmp_path_factory.mktemp("art") / "art")
        shutil.copy(file, folder / "tokenizer.json")
        opened.append(Model(library(host_runner.parent), folder))
        return opened[-1]

    yield make
    for model in opened:
        model.close()


@pytest.fixture(scope="module")
def tokenizer_file(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """``tokenizer_file(kind)``: a tokenizer.json of a kind, or the bundled models'."""

    def make(kind: str) -> Path:
        if kind == "bundled":
            return BUNDLED
        folder = tmp_path_factory.mktemp(kind)
        return save(kind, folder)

    return make


@pytest.mark.parametrize("kind", ["bundled", *KINDS])
def test_tokens_and_texts_are_those_of_python(
    kind: str,
    tokenizer_file: Callable[[str], Path],
    with_tokenizer: Callable[[Path], Model],
) -> None:
    file = tokenizer_file(kind)
    model, expected = with_tokenizer(file), Tokenizer.from_file(str(file))
    for text in lines(300, seed=3):
        ids = model.tokenize(text)
        whole = expected.encode(text).ids or [0]  # the model starts a text of its own
        assert ids == whole, text
        assert (
            model.tokenize(text, as_prompt=False)
            == expected.encode(text, add_special_tokens=False).ids
        ), text
        assert model.detokenize(ids) == expected.decode(ids), text


@pytest.fixture(scope="module")
def sanitized(host_compiler: None, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`tokenize.cpp` of this folder, compiled with sanitizers and every warning as an error."""

    def make(out: Path) -> None:
        ffi = package_folder("tvm_ffi")
        sources = [*SOURCES.glob("text/*.cpp"), *(SOURCES / f"{n}.cpp" for n in ("json", "file"))]
        sources += [SOURCES / "sha256.cpp", Path(__file__).with_name("tokenize.cpp")]
        command = [*os.environ.get("CXX", "c++").split(), "-std=c++17", "-O1", "-g", *SANITIZERS]
        command += ["-Wall", "-Wextra", "-Werror", "-isystem", str(ffi / "include")]
        command += [f"-I{SOURCES}", *map(str, sources), str(ffi / "lib" / "libtvm_ffi.so")]
        subprocess.run([*command, f"-Wl,-rpath,{ffi / 'lib'}", "-o", str(out)], check=True)

    return made_once(tmp_path_factory, "tokenize", make)


def results(program: Path, file: Path, texts: list[str]) -> Iterator[tuple[list[int], str]]:
    """Yield tokens of each text, and the text that they are decoded to."""
    data = [text.encode() for text in texts]
    given = b"".join(struct.pack("<I", len(each)) + each for each in data)
    done = subprocess.run([program, file], input=given, capture_output=True, check=False)
    assert (done.returncode, done.stderr) == (0, b"")
    at = 0

    def take(item_bytes: int) -> bytes:
        nonlocal at
        (count,) = struct.unpack_from("<I", done.stdout, at)
        at += 4 + count * item_bytes
        return done.stdout[at - count * item_bytes : at]

    for _ in texts:
        ids = take(4)
        yield list(struct.unpack(f"<{len(ids) // 4}i", ids)), take(1).decode()


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["bundled", *KINDS])
def test_ten_thousand_lines_under_sanitizers(
    kind: str, tokenizer_file: Callable[[str], Path], sanitized: Path
) -> None:
    file, texts = tokenizer_file(kind), lines(10_000, seed=7)
    expected = Tokenizer.from_file(str(file))
    for text, (ids, decoded) in zip(texts, results(sanitized, file, texts), strict=True):
        assert ids == expected.encode(text).ids, text
        assert decoded == expected.decode(ids), text


def without_merges(content: dict[str, Any]) -> None:
    content["model"]["merges"][3] = ["nobody", "knows"]


def with_unknown(part: str, value: dict[str, Any]) -> Callable[[dict[str, Any]], None]:
    return lambda content: content.update({part: value})


def with_pattern(pattern: str) -> Callable[[dict[str, Any]], None]:
    split = {"type": "Split", "pattern": {"Regex": pattern}, "behavior": "Isolated"}
    return with_unknown("pre_tokenizer", {**split, "invert": False})


ON_THE_HOST = "is not supported on a device: tokenise on the host"


@pytest.mark.parametrize(
    ("change", "line"),
    [
        (with_unknown("normalizer", {"type": "NFKC"}), f"normalizer 'NFKC' {ON_THE_HOST}"),
        (with_unknown("pre_tokenizer", {"type": "BertPreTokenizer"}), "'BertPreTokenizer' is not"),
        (with_unknown("decoder", {"type": "CTC"}), f"decoder 'CTC' {ON_THE_HOST}"),
        (with_unknown("model", {"type": "Unigram"}), f"model 'Unigram' {ON_THE_HOST}"),
        (with_unknown("truncation", {"max_length": 8}), f"'truncation' {ON_THE_HOST}"),
        (with_unknown("post_processor", {"type": "BertProcessing"}), "'BertProcessing' is not"),
        (with_unknown("model", {}), "model: vocab is missing: compile the model again"),
        (with_unknown("pre_tokenizer", {}), "pre_tokenizer: type is missing"),
        (without_merges, "merge 3 is of tokens that are not in the vocabulary"),
        (with_pattern(r"\bword\b"), "an escape of this kind at character 2 is not supported"),
        (with_pattern(r"(?<=a)b"), "a group of this kind at character 1"),
        (with_pattern(r"a*?"), "a lazy or repeated repetition at character 2"),
        (with_pattern(r"a?b*"), "a pattern that nothing fits, too,"),
        (with_pattern(r"x(?:a?)*"), "a repetition of what may be empty"),
        (with_pattern(r"[a[b]]"), "a class in a class"),
        (with_pattern("(" * 99), "so deep a group"),
        (with_pattern(r"(?:(?:a{999}){999}){99}"), "so long a pattern"),
        (with_pattern(r"\p{Han}"), r"\p{Han} at character 7"),
        (with_pattern("a("), "a group without its end"),
        (with_pattern("a)"), "a bracket without its other"),
        (with_pattern("[a"), "an end too early"),
    ],
)
def test_what_is_not_supported_is_said_in_one_line(
    change: Callable[[dict[str, Any]], None],
    line: str,
    with_tokenizer: Callable[[Path], Model],
    tmp_path: Path,
) -> None:
    content = json.loads(BUNDLED.read_text())
    change(content)
    (tmp_path / "tokenizer.json").write_text(json.dumps(content))
    model = with_tokenizer(tmp_path / "tokenizer.json")
    with pytest.raises(C4nFailure) as failure:
        model.tokenize("word")
    assert failure.value.status == INVALID
    assert line in str(failure.value)
    assert "\n" not in str(failure.value)


def test_a_pattern_that_takes_for_ever_is_given_up(
    with_tokenizer: Callable[[Path], Model], tmp_path: Path
) -> None:
    content = json.loads(BUNDLED.read_text())
    with_pattern("a*a*a*a*a*a*b")(content)
    (tmp_path / "tokenizer.json").write_text(json.dumps(content))
    with pytest.raises(C4nFailure, match="takes too long"):
        with_tokenizer(tmp_path / "tokenizer.json").tokenize("a" * 300)


@pytest.mark.parametrize("damage", [lambda text: text[: len(text) // 2], lambda _: "[" * 10_000])
def test_a_damaged_file_is_one_line(
    damage: Callable[[str], str], with_tokenizer: Callable[[Path], Model], tmp_path: Path
) -> None:
    (tmp_path / "tokenizer.json").write_text(damage(BUNDLED.read_text()))
    with pytest.raises(C4nFailure, match=r"tokenizer.json.*: compile the model again"):
        with_tokenizer(tmp_path / "tokenizer.json").tokenize("word")


@pytest.mark.slow
def test_the_tables_of_unicode_are_what_tokenizers_knows() -> None:
    tool = Path(__file__).parents[3] / "tools" / "unicode_tables.py"
    subprocess.run([sys.executable, tool, "--check"], check=True)
