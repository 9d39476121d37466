"""A prompt's instructions, worked out from those of shorter prompts."""

from __future__ import annotations

import subprocess
from importlib import import_module
from pathlib import Path
from types import ModuleType

import pytest

from benchmarks.arm.counts import blocks_of, count
from benchmarks.arm.stages import total

TOOLS = Path(__file__).parents[2] / "tools"
# Reads prompts as a model does: something once, blocks of 12 tokens, the others one by one.
SOURCE = """
#include <stdlib.h>
static volatile int sink;
static void work(int turns) { while (turns--) ++sink; }
int main(int argc, char **argv) {
  (void)argc;
  for (int reps = atoi(argv[2]) + atoi(argv[3]); reps; --reps) {
    int tokens = atoi(argv[1]);
    work(3000);
    for (; tokens >= 12; tokens -= 12) work(120);
    for (; tokens; --tokens) work(17);
  }
  return 0;
}
"""


@pytest.fixture
def tool(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The tool as a module."""
    monkeypatch.syspath_prepend(str(TOOLS))
    return import_module("arm_prefill")


@pytest.mark.phone
@pytest.mark.usefixtures("phone_folder")
@pytest.mark.parametrize("name", ["OURS", "GGML"])
def test_it_is_what_a_whole_prompt_takes(tool: ModuleType, tmp_path: Path, name: str) -> None:
    sizes, prompt = getattr(tool, name), tool.PROMPT
    source, program = tmp_path / "prompt.c", tmp_path / "prompt"
    source.write_text(SOURCE)
    compiler = ["aarch64-linux-gnu-gcc", "-O1", "-static"]
    subprocess.run([*compiler, str(source), "-o", str(program)], check=True)

    def command(tokens: int, reps: int) -> list[str]:
        # All numbers of the same length, which takes instructions to read.
        return [str(program), f"{tokens:03}", str(reps), str(int(sizes.warm_up))]

    found = tool.count_prompt(command, sizes, "cortex-a76")
    whole = count(command(prompt, 2), "cortex-a76")
    whole.subtract(count(command(prompt, 1), "cortex-a76"))
    exact = total(blocks_of({place: runs / prompt for place, runs in whole.items()}))
    assert exact > 40
    assert total(found) == exact


def test_rows_are_given_as_a_part_of_the_best_of_ggml(tool: ModuleType) -> None:
    rows = [
        {"engine": "tvm_c4n", "row": "C4n int4 n=2", "level": "i8mm", "insns": 30},
        {"engine": "llama.cpp", "row": "llama.cpp Q4_0", "level": "dotprod", "insns": 120},
        {"engine": "llama.cpp", "row": "llama.cpp Q4_0", "level": "i8mm", "insns": 100},
    ]
    parts = [line.split("|")[4].strip() for line in tool.table(rows).splitlines()[2:]]
    assert parts == ["0.300", "1.200", "1.000"]
