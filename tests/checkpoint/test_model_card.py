"""A card says where a model came from, and a hostile name stays text in it."""

import json

import pytest
import yaml

from tests.models import write_model
from tvm_c4n.assets import MODELS, ROOT
from tvm_c4n.checkpoint import open_checkpoint
from tvm_c4n.checkpoint.model_card import (
    Base,
    base_of,
    base_of_pruned,
    model_card,
    quoted,
    weights_table,
)

COMMIT = "0123456789abcdef0123456789abcdef01234567"
HOSTILE = "a`b``c\n---\nlicense: mit\n<script>alert(1)</script>|x\x1b[2J"


def front_of(card):
    """The YAML before a card's text, by another reader."""
    _, head, text = card.split("---\n", 2)
    return yaml.safe_load(head), text


@pytest.mark.parametrize("name", MODELS)
def test_bundled_models_have_one(name):
    front, _ = front_of((ROOT / name / "README.md").read_text())
    assert front["license"] == "apache-2.0"
    bases = [base for base in ("mamba-19m", "granite-h-20m") if name.startswith(f"{base}-")]
    assert ([front["base_model"]] if "base_model" in front else []) == bases
    assert base_of(ROOT / name) == Base(name, "", "apache-2.0")


@pytest.mark.parametrize(
    ("card", "licence"),
    [
        ("---\nlicense: mit\n---\n# x\n", "mit"),
        ("---\nlicense: [mit, other]\n---\n", ""),
        ("---\nlicense: 'a: b\\n'\n---\n", ""),
        ("---\nlicense: &a mit\nx: *a\n---\n", ""),
        ("---\nlicense: mit\n", ""),
        ("# no front\nlicense: mit\n", ""),
        ("---\n" + "[" * 1000 + "\n---\n", ""),
        ("\udcff", ""),
    ],
)
def test_the_licence_is_a_word_or_none(card, licence, small_model, tmp_path):
    (tmp_path / "README.md").write_bytes(card.encode(errors="surrogateescape"))
    assert base_of(tmp_path).licence == licence


def test_a_hub_says_name_and_commit(tmp_path):
    folder = tmp_path / "models--org--name" / "snapshots" / COMMIT
    folder.mkdir(parents=True)
    assert base_of(folder) == Base("org/name", COMMIT)
    assert base_of(folder).argument == f"org/name@{COMMIT}"


@pytest.mark.parametrize(
    ("report", "expected"),
    [
        ({"source": "org/name", "revision": COMMIT}, Base("org/name", COMMIT)),
        ({"source": "small"}, Base("small")),
        ({"source": 1}, Base("teacher")),
        ({"source": "a", "revision": "b; rm"}, Base("teacher")),
        (None, Base("teacher")),
    ],
)
def test_what_a_report_says_of_the_base(report, expected, tmp_path):
    (tmp_path / "teacher").mkdir()
    if report is not None:
        (tmp_path / "report.json").write_text(json.dumps(report))
    assert base_of_pruned(tmp_path, tmp_path / "teacher") == expected


def test_a_hostile_name_stays_text():
    checkpoint = open_checkpoint("mamba-19m-n2-int4")
    card = model_card(Base(HOSTILE), checkpoint, ", pruned", ["pruned"], ["text"])
    front, text = front_of(card)
    assert "license" not in front
    assert front["base_model"].startswith("a`b``c --- license: mit <script>")
    assert "\x1b" not in card
    title = next(line for line in text.splitlines() if line.startswith("#"))
    assert title == "# `script>¦x\\x1b[2J`, pruned"
    assert text.count("\n# ") == 1


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("plain", "`plain`"),
        ("a`b", "`` a`b ``"),
        ("``", "``` `` ```"),
        ("a|b", "`a¦b`"),
        ("a\nb", "`a b`"),
        ("", "`  `"),
    ],
)
def test_quoted_text_is_one_piece_of_code(text, expected):
    assert quoted(text) == expected


def test_the_table_counts_what_went():
    table = weights_table(open_checkpoint("mamba-19m-s30-int4"), {"in_proj": 0.25}).splitlines()
    assert all(line.count("|") == table[0].count("|") for line in table)
    (row,) = [line for line in table if line.startswith("| `in_proj`")]
    assert "(x" in row and row.endswith("| 0.2500 |")


def test_the_folder_that_has_none_is_none(tmp_path):
    assert base_of(write_model(tmp_path / "m")) == Base("m")
