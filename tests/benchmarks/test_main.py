"""The command line: every verb can be called, and documents name only verbs that exist."""

import re
from pathlib import Path

import pytest

from benchmarks.__main__ import VERBS, app

ROOT = Path(__file__).parents[2]
NEEDS = {"frontier": "gguf"}


@pytest.mark.parametrize("verb", VERBS)
def test_a_verb_explains_itself(verb, capsys):
    if verb in NEEDS:
        pytest.importorskip(NEEDS[verb], reason="pip install 'tvm-c4n[bench]'")
    with pytest.raises(SystemExit) as stopped:
        app([verb])([verb, "--help"])
    assert stopped.value.code == 0
    assert f"{verb} [OPTIONS]" in capsys.readouterr().out


def test_documents_name_only_verbs_that_exist():
    for document in [*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), ROOT / "Makefile"]:
        text = " ".join(document.read_text().split())
        for verb in re.findall(r"python -m benchmarks (\w[\w-]*)", text):
            assert verb in VERBS, f"{document.name} names the verb {verb}"
        # A benchmark that has gone is named with a commit that has it.
        gone = re.findall(r"(?<!commit 02ab029: `)python -m benchmarks\.\w+", text)
        assert not gone, f"{document.name}: {gone}"
