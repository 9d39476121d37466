"""`tvm-c4n runner`: the runner without Python says what the engine says, here and on arm64."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess

import numpy as np
import pytest

from tests.models import write_byte_tokenizer
from tvm_c4n.compile.elf import read_elf
from tvm_c4n.compile.native import PROGRAM
from tvm_c4n.runtime.cores import find_cores
from tvm_c4n.runtime.engine import Engine
from tvm_c4n.runtime.generate import generate_tokens

# Longer than what one call of prefill takes.
PROMPT = [0, *np.random.default_rng(9).integers(1, 96, 300).tolist()]


@pytest.fixture(scope="module")
def android_artifact(pruned, lld, tmp_path_factory):
    """The small model for Android."""
    from tvm_c4n.compile.artifact import compile_model

    out = tmp_path_factory.mktemp("runner-art") / "android"
    compile_model(pruned, out, "arm64-android")
    return out


def start(command, *options, tokens=PROMPT):
    return subprocess.run(
        [*map(str, command), *map(str, options)],
        input=" ".join(map(str, tokens)),
        capture_output=True,
        text=True,
        check=False,
        timeout=800,
    )


def emulated(folder, *libraries, cpu="cortex-a76"):
    """The command that run.sh gives on arm64, on an emulator that has no other files."""
    path = ":".join(map(str, [folder, *libraries]))
    loader = folder / "ld-linux-aarch64.so.1"
    emulator = ["qemu-aarch64", "-cpu", cpu, "-L", "/nonexistent"]
    return [*emulator, loader, "--library-path", path, folder / PROGRAM]


def engines_tokens(artifact, count=40):
    engine = Engine.load(artifact)
    return list(generate_tokens(engine, PROMPT, count, ends=engine.tokenizer.ends))


def test_the_runner_says_what_the_engine_says(host_runner, artifact):
    done = start([host_runner], artifact, "-n", 40, "-t", 1)
    assert [int(word) for word in done.stdout.split()] == engines_tokens(artifact)
    assert done.stderr.startswith("prompt: 301 tokens, ")


def test_help_is_no_error_and_nothing_to_run_is_one(host_runner):
    asked = start([host_runner], "-h")
    assert (asked.returncode, asked.stderr) == (0, "")
    assert asked.stdout.startswith("usage: c4n_run ARTIFACT -p TEXT")
    bare = start([host_runner])
    assert (bare.returncode, bare.stdout, bare.stderr) == (2, "", asked.stdout)


@pytest.fixture(scope="module")
def spoken(artifact, tmp_path_factory):
    """The small model with a tokenizer of bytes, which the runner reads."""
    folder = shutil.copytree(artifact, tmp_path_factory.mktemp("spoken") / "art")
    write_byte_tokenizer(folder)
    return folder


SAMPLED = ["--temp", 0.9, "--seed", 7, "--top-k", 60, "--top-p", 0.95, "--min-p", 0.001]
PENALISED = ["--temp", 2, "--seed", 2**40, "--repeat-penalty", 1.3, "--repeat-last-n", -1]


@pytest.mark.parametrize(
    "options", [[], SAMPLED, PENALISED, ["--stop", "zz", "--stop", "e", "--repeat-penalty", 1.1]]
)
@pytest.mark.parametrize("prompt", ["the old é bridge", ""])
def test_text_is_what_run_says(host_runner, spoken, call, prompt, options):
    """Tokens are bytes, so that many are parts of characters, or of none."""
    options = ["-p", prompt, "-n", 70, "-t", 1, *options]
    done = start([host_runner], spoken, *options, tokens=[])
    assert done.stdout == call("run", spoken, *options).out
    assert "generated: " in done.stderr


def test_a_rendered_prompt_gets_nothing_around_it(host_runner, spoken, tmp_path):
    """The template has written all tokens; the answer alone is printed, as `run --chat` does."""
    (tmp_path / "rendered").write_text("<|endoftext|>the old\n")
    options = ["-n", 30, "-t", 1]
    done = start([host_runner], spoken, "-f", tmp_path / "rendered", "--rendered", *options)
    whole = start([host_runner], spoken, "-p", "the old", *options)
    assert "the old" + done.stdout == whole.stdout
    from_stdin = subprocess.run(
        [str(host_runner), str(spoken), "-f", "-", "-n", "30", "-t", "1"],
        input="the old\r\n",
        capture_output=True,
        text=True,
        check=False,
    )
    assert from_stdin.stdout == whole.stdout


def test_states_go_from_one_runtime_to_the_other(host_runner, spoken, call, tmp_path):
    first = ["-p", "the old", "-n", 9, "-t", 1, "--save-state"]
    second = ["-p", " bridge", "-n", 20, "-t", 1, "--load-state"]
    here, there = tmp_path / "here", tmp_path / "there"
    start([host_runner], spoken, *first, here)
    call("run", spoken, *first, there)
    expected = call("run", spoken, *second, here).out
    for state in (here, there):
        assert start([host_runner], spoken, *second, state).stdout == expected


def test_texts_end_where_the_manifest_or_the_caller_says(host_runner, artifact, tmp_path):
    text = list(generate_tokens(Engine.load(artifact), PROMPT, 40))
    folder = shutil.copytree(artifact, tmp_path / "art")
    content = json.loads((folder / "manifest.json").read_text())
    end = max(text, key=text.index)  # the one that comes last for the first time
    expected = text[: text.index(end)]

    def says(*options):
        (folder / "manifest.json").write_text(json.dumps(content))
        done = start([host_runner], folder, "-n", 40, "-t", 1, *options)
        assert done.returncode == 0, done.stderr
        return [int(token) for token in done.stdout.split()]

    unheard = next(token for token in range(96) if token not in text)
    assert says("--ends", f"{unheard},{end}") == expected
    content["text"]["ends"] = [unheard, end]
    assert says() == expected
    assert says("--ends", unheard) == text
    del content["text"]  # an artifact of before the manifest had it
    content["config"]["eos_token_id"] = [end, unheard]
    assert says() == expected
    content["config"]["eos_token_id"] = end
    assert says() == expected


def test_the_runner_measures_as_llama_bench_does(host_runner, artifact):
    done = start([host_runner], artifact, "--bench", "-p", 20, "-g", 5, "-r", 3, "-t", 1)
    prompt, gen = json.loads(done.stdout)
    assert (prompt["n_prompt"], prompt["n_gen"], gen["n_prompt"], gen["n_gen"]) == (20, 0, 0, 5)
    assert len(gen["samples_ns"]) == 3
    assert prompt["n_threads"] == gen["n_threads"] == 1
    rates = [5e9 / ns for ns in gen["samples_ns"]]
    assert gen["samples_ts"] == pytest.approx(rates, rel=1e-4)
    assert gen["avg_ts"] == pytest.approx(np.mean(rates), rel=1e-4)
    assert gen["stddev_ts"] == pytest.approx(np.std(rates, ddof=1), rel=1e-2)


@pytest.mark.skipif(find_cores().uneven, reason="cores of several kinds: a count is measured")
def test_the_runner_takes_all_even_cores(host_runner, artifact, monkeypatch):
    for name in ("TVM_NUM_THREADS", "OMP_NUM_THREADS"):
        monkeypatch.delenv(name, raising=False)
    done = start([host_runner], artifact, "--bench", "-p", 0, "-g", 1, "-r", 1)
    (found,) = json.loads(done.stdout)
    assert found["n_threads"] == len(os.sched_getaffinity(0))


def test_the_runner_measures_for_minutes(host_runner, artifact):
    done = start([host_runner], artifact, "--bench", "--sustained", 0.02, "-t", 1)
    found = json.loads(done.stdout)
    first, last = found["windows_ts"]
    assert (found["first_ts"], found["last_ts"]) == (first, last)
    assert found["kept"] == pytest.approx(last / first, rel=1e-3)
    assert (found["complete"], found["asked_secs"], found["window_secs"]) == (True, 1.2, 0.5)
    said = done.stderr.splitlines()
    assert [line.split(":")[0] for line in said] == ["1 of 2", "2 of 2"]


def test_a_measurement_that_is_interrupted_says_what_there_is(host_runner, artifact):
    command = [host_runner, artifact, "--bench", "--sustained", "0.1", "-t", "1"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as child:
        assert child.stderr.readline().startswith(b"1 of 12: ")
        child.send_signal(signal.SIGINT)
        out, _ = child.communicate(timeout=100)
    assert child.returncode == 130
    assert not json.loads(out)["complete"]


def damage_offset(manifest):
    manifest["tensors"][3]["offset"] = 2**40


def damage_shape(manifest):
    manifest["tensors"][0]["shape"] = [2**31 - 1, 2**31 - 1, 2**31 - 1]


def damage_kind(manifest):
    manifest["tensors"][0] = 7


def damage_machine(manifest):
    manifest["triple"] = "riscv64-linux-gnu"


def damage_features(manifest):
    manifest["features"] = ["amx-of-tomorrow"]


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (damage_offset, "tensor 3 lies at byte 1099511627776"),
        (damage_shape, "tensor 0: too large"),
        (damage_kind, "tensor 0 is of another kind"),
        (damage_machine, "compiled for riscv64-linux-gnu"),
        (damage_features, "needs CPU features that are not here: amx-of-tomorrow"),
    ],
)
def test_a_damaged_manifest_is_refused(host_runner, artifact, tmp_path, damage, message):
    for file in artifact.iterdir():
        (tmp_path / file.name).symlink_to(file)
    manifest = json.loads((artifact / "manifest.json").read_text())
    damage(manifest)
    (tmp_path / "manifest.json").unlink()
    (tmp_path / "manifest.json").write_text(json.dumps(manifest))
    done = start([host_runner], tmp_path)
    assert done.returncode == 2
    assert message in done.stderr
    assert done.stderr.count("\n") == 1


@pytest.mark.phone
@pytest.mark.parametrize(
    "compiled", ["arm_artifact", pytest.param("android_artifact", marks=pytest.mark.slow)]
)
def test_arm64_says_what_the_engine_says(arm_runner, phone_folder, artifact, compiled, request):
    # Android's libraries are asked for as libc.so and libm.so: here glibc answers to these names.
    command = emulated(arm_runner, phone_folder / "bin")
    done = start(command, request.getfixturevalue(compiled), "-n", 40, "-t", 2)
    assert done.stderr.startswith("prompt: 301 tokens"), done.stderr
    assert [int(word) for word in done.stdout.split()] == engines_tokens(artifact)


@pytest.mark.phone
def test_arm64_speaks_text(arm_runner, arm_artifact, spoken, host_runner, tmp_path):
    folder = shutil.copytree(arm_artifact, tmp_path / "art")
    shutil.copy(spoken / "tokenizer.json", folder)
    options = ["-p", "the old é bridge", "-n", 20, "-t", 1, "--temp", 0.7, "--seed", 3]
    done = start(emulated(arm_runner), folder, *options)
    assert done.stdout == start([host_runner], spoken, *options).stdout


@pytest.mark.phone
def test_a_processor_without_the_dot_product_is_refused(arm_runner, arm_artifact):
    done = start(emulated(arm_runner, cpu="cortex-a53"), arm_artifact)
    assert (done.returncode, done.stdout) == (2, "")
    assert "needs CPU features that are not here: dotprod" in done.stderr


@pytest.mark.slow
def test_a_library_for_android_needs_what_a_phone_has(android_artifact):
    elf = read_elf(next(android_artifact.glob("model-*.so")))
    assert set(elf.needed) <= {"libtvm_runtime.so", "libtvm_ffi.so", "libm.so", "libc.so"}
    assert elf.load_align_bytes == 16384
    unknown = [name for name in elf.undefined if not name.startswith(("TVMFFI", "TVMBackend"))]
    assert set(unknown) <= {"memset", "memcpy", "memmove", "expf", "logf", "log1pf", "nearbyintf"}


@pytest.mark.slow
@pytest.mark.phone
def test_the_default_model_speaks_on_arm64(arm_runner, default_arm_artifact, default_text):
    """The default model at full size: the tokens that the float64 reference chooses."""
    prompt, expected = default_text
    done = start(emulated(arm_runner), default_arm_artifact, "-n", 32, "-t", 2, tokens=prompt)
    assert [int(word) for word in done.stdout.split()] == expected


@pytest.mark.slow
@pytest.mark.parametrize("name", ["mamba-19m", "mamba-19m-n2-int4", "granite-h-20m-s30-int4"])
def test_bundled_models_say_the_same_text(host_runner, call, tmp_path, name):
    call("compile", name, "-o", tmp_path / "art")
    for prompt in ("The old bridge over the river was", "Ça coûte 20 €, d'accord?\n\n— 😀"):
        options = ["-p", prompt, "-n", 100, "-t", 1]
        said = call("run", tmp_path / "art", *options).out
        done = start([host_runner], tmp_path / "art", *options)
        # Tokens of the second prompt's kind are a byte or two long.
        assert (done.stdout, len(said) > len(prompt) + 40) == (said, True)
