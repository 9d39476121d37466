"""`tvm-c4n deploy`: over RPC to the emulated phone, and through a stand-in for adb."""

from __future__ import annotations

import pytest

from tvm_c4n.errors import DeviceError
from tvm_c4n.runtime.device.adb import FOLDER, AdbDevice
from tvm_c4n.runtime.device.rpc import RpcAddress

PROMPT = "w3 w14 w15 w92"


def engines_text(call, artifact):
    result = call("run", artifact, "--prompt", PROMPT, "-n", 20)
    assert result.code == 0
    return result.out


@pytest.mark.phone
def test_the_phone_continues_the_text_over_rpc(call, phone, artifact, arm_artifact):
    device = f"rpc://127.0.0.1:{phone.tracker.port}/phone"
    result = call(
        "deploy", arm_artifact, "--device", device, "-p", PROMPT, "-n", 20, "--threads", 2
    )
    assert result.err.startswith("prompt: 5 tokens, ")
    assert result.out == engines_text(call, artifact)


@pytest.mark.slow
@pytest.mark.phone
def test_the_default_model_speaks_over_rpc(phone, default_arm_artifact, default_text):
    """The default model at full size: the tokens that the float64 reference chooses."""
    from tvm_c4n.runtime.artifact import open_artifact
    from tvm_c4n.runtime.device.remote import RemoteEngine
    from tvm_c4n.runtime.device.rpc import open_session
    from tvm_c4n.runtime.generate import generate_tokens

    prompt, expected = default_text
    with open_session(RpcAddress("127.0.0.1", phone.tracker.port, "phone")) as remote:
        engine = RemoteEngine(open_artifact(default_arm_artifact), remote, threads=2)
        assert list(generate_tokens(engine, prompt, 32)) == expected


@pytest.mark.phone
def test_the_phone_is_measured_over_rpc(call, phone, arm_artifact):
    device = f"rpc://127.0.0.1:{phone.tracker.port}/phone"
    sizes = ["--bench", "--n-prompt", 300, "--n-gen", 4, "-r", 2, "-t", 1]
    result = call("deploy", arm_artifact, "--device", device, *sizes)
    assert result.code == 0, result.err
    title, _, prompt, gen = result.out.splitlines()
    assert title == f"{arm_artifact} on {device}, by the device's clock"
    assert prompt.split()[:2] == ["pp300", "1"]
    assert gen.split()[:2] == ["tg4", "1"]
    assert float(gen.split()[2]) > 1


@pytest.mark.phone
def test_a_busy_phone_is_waited_for_but_not_for_ever(call, phone, arm_artifact):
    device = f"rpc://127.0.0.1:{phone.tracker.port}/phone"
    with phone.session():
        result = call("deploy", arm_artifact, "--device", device, "--wait", 1)
    assert (result.code, result.out) == (1, "")
    assert f"{device}: no device is free after 1 s" in result.err


@pytest.mark.phone
def test_an_artifact_for_another_machine_is_refused_by_the_phone(call, phone, artifact):
    device = f"rpc://127.0.0.1:{phone.tracker.port}/phone"
    result = call("deploy", artifact, "--device", device)
    assert result.code == 1
    assert f"the device cannot load {artifact}" in result.err
    assert result.err.count("\n") == 1


@pytest.mark.phone
def test_adb_continues_the_text_and_measures(call, adb, artifact, arm_artifact, arm_runner):
    start = ["deploy", arm_artifact, "--device", "adb:phone1", "--runner", arm_runner, "-t", 2]
    result = call(*start, "-p", PROMPT, "-n", 20)
    assert result.err.startswith("prompt: 5 tokens, ")
    assert result.out == engines_text(call, artifact)
    assert len(list((adb / "data/tvm_c4n").iterdir())) == 2

    result = call(*start, "--bench", "--n-prompt", 16, "--n-gen", 4, "-r", 2)
    assert result.code == 0, result.err
    _, _, prompt, gen, before, after = result.out.splitlines()
    assert (prompt.split()[0], gen.split()[0]) == ("pp16", "tg4")
    conditions = "governor schedutil, 1 big cores of 2.84 GHz, hottest zone 41.3 C"
    assert (before, after) == (f"before: {conditions}", f"after:  {conditions}")


@pytest.mark.phone
def test_what_adb_cannot_do_is_said(call, adb, artifact, arm_artifact, arm_runner, monkeypatch):
    start = ["deploy", arm_artifact, "--device"]
    assert "--runner runner" in call(*start, "adb").err
    with_runner = ["--runner", arm_runner]
    assert "device 'phone2' not found" in call(*start, "adb:phone2", *with_runner).err
    result = call("deploy", artifact, "--device", "adb", *with_runner)
    assert result.code == 2
    assert "arm64-linux: compile with --target arm64-linux" in result.err
    damaged = adb / "data/tvm_c4n"
    assert call(*start, "adb", *with_runner).code == 0
    (manifest,) = damaged.glob("*/manifest.json")
    manifest.write_text("{")
    device = AdbDevice()
    command = [f"{FOLDER}/runner-arm64-linux/run.sh", f"{FOLDER}/{manifest.parent.name}"]
    with pytest.raises(DeviceError, match=r"the device's runner failed: error: .* is not JSON"):
        list(device.generate(command, [0], 1, ends=(0,), threads=1))
    monkeypatch.setenv("PATH", str(adb))
    assert "adb is not installed" in call(*start, "adb", *with_runner).err
