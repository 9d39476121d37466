"""Tests lie where their module lies: ``tvm_c4n/a/b.py`` is tested in ``tests/a/test_b.py``."""

from __future__ import annotations

from pathlib import Path

ROOT = Path(__file__).parents[1]

# Modules without a test file of their own, and why that is right.
WITHOUT = {
    "tvm_c4n/progress.py": "one type",
}
# Modules that still lack a test file. It only ever falls.
MISSING = 47


def mirror(module: Path) -> Path:
    """Return the test file of a module; both relative to the repository."""
    package, *rest = module.parts
    folders = rest[:-1] if package == "tvm_c4n" else [package, *rest[:-1]]
    return Path("tests", *folders, f"test_{module.stem.lstrip('_')}.py")


def modules() -> list[Path]:
    """Every module but ``__init__`` and ``_version``, which only name things."""
    found = []
    for package in ("tvm_c4n", "schedules", "relay_passes"):
        for path in sorted((ROOT / package).rglob("*.py")):
            if path.stem not in ("__init__", "_version"):
                found.append(path.relative_to(ROOT))
    return found


def test_every_module_has_a_test_of_its_name() -> None:
    missing = [
        str(module)
        for module in modules()
        if not (ROOT / mirror(module)).is_file() and str(module) not in WITHOUT
    ]
    assert len(missing) <= MISSING, "\n".join(missing)


def test_exceptions_are_modules_without_a_test() -> None:
    stale = [m for m in WITHOUT if not (ROOT / m).is_file() or (ROOT / mirror(Path(m))).is_file()]
    assert not stale
