"""The card of a healed folder: the base of its pruned one, what it brought, and the command."""

import shlex

import pytest

from tvm_c4n.checkpoint import open_checkpoint
from tvm_c4n.checkpoint.model_card import Base
from tvm_c4n.cli.verbs import app
from tvm_c4n.healing import HealSettings
from tvm_c4n.healing.card import healing_card
from tvm_c4n.healing.distil import Distance
from tvm_c4n.healing.judging import Judgement
from tvm_c4n.healing.run import HealReport

REPORT = HealReport(
    pruned="out",
    teacher="base",
    settings=HealSettings(tokens=640, batch=2, window=16).model_dump(),
    text_tokens=320,
    before=Distance(divergence=0.5, ratio=2.5),
    after=Distance(divergence=0.125, ratio=1.25),
    judged={"books": Judgement(Distance(0.75, 3.5), Distance(0.25, 1.5))},
    device="cpu",
    run_secs=1.0,
)


@pytest.fixture(scope="module")
def card():
    base = Base("org/name", "0123456789abcdef0123456789abcdef01234567", "mit")
    checkpoint = open_checkpoint("mamba-19m-n2-int4")
    return healing_card(REPORT, base, checkpoint, ["/home/me/my text.jsonl", "b.u16"])


def test_what_it_says(card):
    assert 'base_model: "org/name"\nlicense: "mit"\n' in card
    held_out = "| held out | 2.5000 | 1.2500 | 0.5000 | 0.1250 |"
    assert held_out + "\n| books | 3.5000 | 1.5000 | 0.7500 | 0.2500 |" in card
    assert "| `in_proj` | 16 | 2 | int4 |" in card
    assert "640 tokens of training, 320 of them different" in card
    assert "/home/me" not in card  # no paths of the user's machine


def test_the_command_is_one_of_heal(card):
    import typer

    (line,) = [line for line in card.splitlines() if line.startswith("tvm-c4n heal")]
    _, verb, *arguments = shlex.split(line)
    heal = typer.main.get_command(app).commands[verb]
    found = heal.make_context(verb, arguments).params
    assert (found["tokens"], found["batch"], found["window"]) == (640, 2, 16)
    assert [path.name for path in found["data"]] == ["my text.jsonl", "b.u16"]
    assert found["teacher"].startswith("org/name@0123")
