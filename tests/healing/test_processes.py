"""Several processes of this machine's CPU heal to what one does, and each other's runs go on."""

import json
import os
import signal
import subprocess
import sys
import time

import pytest
import torch

from tvm_c4n.checkpoint import open_checkpoint
from tvm_c4n.errors import RecipeError
from tvm_c4n.healing import heal
from tvm_c4n.healing.processes import Processes, Spread, joined, sharded_like, whole
from tvm_c4n.healing.state import state_path
from tvm_c4n.healing.student import Student
from tvm_c4n.model.families import describe_model

CPU = torch.device("cpu")
# Of a run that is stopped. Other sums round otherwise, and weights of 4 bits fall to other codes:
# two processes and one are 0.07 % apart after 12 steps, 0.5 after 20 and 1.1 after 30.
STEPS = 16


def test_one_process_is_the_first_and_agrees_with_itself():
    with joined("cpu") as alone:
        assert alone == Processes(CPU) and alone.first
        assert alone.mean(torch.tensor(2.5)) == 2.5
        assert alone.any(True) and not alone.any(False)


def test_whole_tensors_stay_as_they_are():
    tensor, values = torch.zeros(3), torch.arange(3.0)
    assert whole(tensor) is tensor and sharded_like(tensor, values) is values


def test_a_student_alone_is_called_as_it_is(pruned):
    checkpoint = open_checkpoint(pruned)
    student = Student(checkpoint, describe_model(checkpoint.config), CPU)
    spread, tokens = Spread(student, Processes(CPU)), torch.arange(6)[None]
    with spread.averaging(False):
        assert torch.equal(spread(tokens)[0], student(tokens)[0])


@pytest.mark.parametrize(
    ("how", "line"),
    [
        ({"accumulate": 3}, "a batch of 8 has no 3 equal parts"),
        ({"accumulate": 0}, "a batch of 8 has no 0 equal parts"),
        ({"shard": True}, "shard needs torchrun: torchrun --nproc-per-node"),
    ],
)
def test_what_has_no_parts_is_refused(how, line, pruned, small_model, words, settings, tmp_path):
    with pytest.raises(RecipeError, match=line):
        heal(pruned, tmp_path / "out", small_model, [words], settings(2), **how)
    assert list(tmp_path.iterdir()) == []


def test_a_batch_in_parts_is_the_batch(pruned, small_model, words, settings, tmp_path):
    after = [
        heal(
            pruned, tmp_path / f"out{parts}", small_model, [words], settings(6),
            dense_export=False, accumulate=parts,
        ).after.divergence
        for parts in (1, 4)
    ]  # fmt: skip
    assert after[1] == pytest.approx(after[0], rel=1e-3)


@pytest.fixture
def together(pruned, small_model, words, tmp_path):
    """``start(out, steps, *options)``: heal with two processes; returns torchrun's."""

    def start(out, steps, *options):
        torchrun = ["torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
        command = [
            sys.executable, "-m", *torchrun, "--no-python",
            sys.executable, "-m", "tvm_c4n.cli.app", "heal", pruned, "-o", tmp_path / out,
            "--teacher", small_model, "--data", words, "--device", "cpu", "--batch", "8",
            "--window", "16", "--held-out", "16", "--lr", "5e-3", "--tokens", steps * 8 * 16,
            *options,
        ]  # fmt: skip
        environment = {**os.environ, "OMP_NUM_THREADS": "1"}
        return subprocess.Popen(list(map(str, command)), env=environment, stderr=subprocess.PIPE)

    return start


@pytest.mark.slow
@pytest.mark.parametrize("options", [["--accumulate", "2"], ["--shard"]])
def test_two_processes_do_what_one_does(
    options, together, pruned, small_model, words, settings, tmp_path
):
    run = together("two", 12, *options)
    assert run.wait() == 0, run.stderr.read().decode()
    plan = settings(12)
    alone = heal(pruned, tmp_path / "one", small_model, [words], plan, dense_export=False)
    found = json.loads((tmp_path / "two/heal.json").read_text())
    assert found["device"] == "2 x cpu"
    assert found["after"]["divergence"] == pytest.approx(alone.after.divergence, rel=1e-2)


@pytest.mark.slow
@pytest.mark.parametrize("options", [[], ["--shard"]])
def test_one_process_goes_on_where_two_were_stopped(
    options, together, pruned, small_model, words, settings, tmp_path
):
    run, state = together("out", STEPS, "--save-steps", "2", *options), state_path(tmp_path / "out")
    while not state.exists():
        assert run.poll() is None, run.stderr.read().decode()
        time.sleep(0.02)
    run.send_signal(signal.SIGTERM)
    assert run.wait() != 0
    assert state.exists()
    steps, plan = [], settings(STEPS, save_steps=2)
    resumed = heal(
        pruned, tmp_path / "out", small_model, [words], plan, dense_export=False,
        progress=lambda what, done, total: steps.append(done) if what == "training" else None,
    )  # fmt: skip
    assert 2 <= steps[0] < STEPS
    alone = heal(pruned, tmp_path / "one", small_model, [words], plan, dense_export=False)
    assert resumed.after.divergence == pytest.approx(alone.after.divergence, rel=1e-2)
