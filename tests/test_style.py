"""Comments stand above what they explain, and a docstring is a sentence of its own."""

from __future__ import annotations

import ast
import itertools
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FOLDERS = ("tvm_c4n", "schedules", "relay_passes", "benchmarks", "tools", "tests")
FILES = sorted(file for folder in FOLDERS for file in (ROOT / folder).rglob("*.py"))
# How a docstring begins that cannot be understood without another one.
FRAGMENTS = ("Of ", "See `", "See base", "As above")


def strings_below(tree: ast.AST) -> Iterator[int]:
    """Yield the lines of strings that stand below an assignment."""
    for node in ast.walk(tree):
        body = getattr(node, "body", None)
        for first, second in itertools.pairwise(body) if isinstance(body, list) else ():
            value = getattr(second, "value", None) if isinstance(second, ast.Expr) else None
            is_string = isinstance(value, ast.Constant) and isinstance(value.value, str)
            if is_string and isinstance(first, ast.Assign | ast.AnnAssign):
                yield second.lineno


def fragments(tree: ast.AST) -> Iterator[int]:
    """Yield the lines of docstrings that are no sentence."""
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.ClassDef | ast.Module):
            text = ast.get_docstring(node) or ""
            if text.startswith(FRAGMENTS):
                yield node.body[0].lineno


@pytest.mark.parametrize("find", [strings_below, fragments])
def test_no_file_breaks_the_rule(find) -> None:  # type: ignore[no-untyped-def]
    trees = ((file, ast.parse(file.read_text(encoding="utf-8"))) for file in FILES)
    found = [f"{file.relative_to(ROOT)}:{line}" for file, tree in trees for line in find(tree)]
    assert not found


def test_the_rules_find_what_they_forbid() -> None:
    tree = ast.parse('A = 1\n"""Of B."""\ndef f():\n    """See `g`."""\n    x = 1\n    return x\n')
    assert list(strings_below(tree)) == [2]
    assert list(fragments(tree)) == [4]
