"""What a device says of itself."""

import time

import pytest

from tvm_c4n.errors import DeviceError
from tvm_c4n.runtime.device.adb import AdbDevice, Conditions, parse_conditions


def test_governors_cores_and_temperatures_are_read():
    found = parse_conditions(
        "/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor schedutil\n"
        "/sys/devices/system/cpu/cpu0/cpufreq/cpuinfo_max_freq 1800000\n"
        "/sys/devices/system/cpu/cpu4/cpufreq/scaling_governor performance\n"
        "/sys/devices/system/cpu/cpu4/cpufreq/cpuinfo_max_freq 2840000\n"
        "/sys/devices/system/cpu/cpu5/cpufreq/cpuinfo_max_freq 2840000\n"
        "/sys/class/thermal/thermal_zone0/temp battery 31000\n"
        "/sys/class/thermal/thermal_zone3/temp cpu-1-0 41300\n"
    )
    celsius = {"battery": 31.0, "cpu-1-0": 41.3}
    assert found == Conditions(("performance", "schedutil"), 2, 2.84, celsius)
    expected = "governor performance/schedutil, 2 big cores of 2.84 GHz, hottest zone 41.3 C"
    assert str(found) == expected


def test_a_device_names_itself(adb):
    found = AdbDevice().describe()
    assert (found["model"], found["android"]) == ("", "")  # the stand-in is no phone
    assert found["kernel"].startswith("Linux")
    assert "processor" in found["cpuinfo"]


def test_a_device_may_cool_until_it_is_as_it_was(adb):
    device, sensor = AdbDevice(), adb / "sys/class/thermal/thermal_zone3/temp"
    first = device.conditions()
    sensor.write_text("43000\n")
    began = time.monotonic()
    assert device.cool(first, 60).celsius == {"cpu-1-0": 43.0}
    assert time.monotonic() - began < 30
    sensor.write_text("52000\n")
    began = time.monotonic()
    assert device.cool(first, 1).celsius == {"cpu-1-0": 52.0}
    assert time.monotonic() - began >= 1


def test_a_device_that_tells_nothing():
    assert parse_conditions("") == Conditions()
    assert str(Conditions()) == "the device does not tell governor, cores and temperature"
    text = "/sys/class/thermal/thermal_zone0/temp battery 31\nnoise\n/x/temp broken\n"
    assert parse_conditions(text).celsius == {"battery": 31.0}


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        ("Segmentation fault", "not valid JSON .*; send the runner again"),
        ("[" * 100_000, "JSON is nested too deeply"),
        ('{"n_gen": 1}', "said .*, not a list of results"),
    ],
)
def test_a_runner_that_gives_no_results(answer, said, monkeypatch):
    device = AdbDevice.__new__(AdbDevice)
    monkeypatch.setattr(AdbDevice, "_run", lambda *_: answer)
    with pytest.raises(DeviceError, match=f"^the device's runner:? {said}"):
        device.bench(["run.sh"], n_prompt=1, n_gen=1, reps=1, threads=1)
