"""Machines by /proc/cpuinfo."""

import re

import pytest

from benchmarks.host import machine_name, microarchitecture, results_folder


def cpuinfo(vendor, family, model, name):
    fields = {"processor": 0, "vendor_id": vendor, "cpu family": family, "model": model}
    fields |= {"model name": name, "stepping": 1}
    one = "".join(f"{key}\t: {value}\n" for key, value in fields.items())
    return f"{one}\n{one.replace(f': {model}', ': 255')}"


@pytest.mark.parametrize(
    ("vendor", "family", "model", "name", "expected"),
    [
        ("AuthenticAMD", 25, 1, "AMD EPYC 7B13", "epyc-zen3"),
        ("AuthenticAMD", 25, 17, "AMD EPYC", "epyc-zen4"),
        ("AuthenticAMD", 25, 0x61, "AMD Ryzen 9 7950X", "ryzen-zen4"),
        ("AuthenticAMD", 26, 2, "AMD EPYC", "epyc-zen5"),
        ("GenuineIntel", 6, 0x8F, "Intel(R) Xeon(R) Processor", "xeon-sapphire-rapids"),
        ("GenuineIntel", 6, 0xAD, "Intel(R) Xeon(R) Processor", "xeon-granite-rapids"),
        ("GenuineIntel", 6, 1, "Intel(R) Something", "cpu-family6-model1"),
    ],
)
def test_a_machine_is_named_by_its_line_and_microarchitecture(
    vendor, family, model, name, expected
):
    assert machine_name(cpuinfo(vendor, family, model, name)) == expected


def test_an_arm_core_is_named_by_its_part():
    text = "processor\t: 0\nCPU implementer\t: 0x41\nCPU part\t: 0xd0c\n"
    assert microarchitecture(text) == "neoverse-n1"
    assert microarchitecture("processor\t: 0\n") == "unknown"


def test_a_results_folder_has_date_and_machine():
    assert re.fullmatch(r"20\d\d-[01]\d-epyc-zen5", results_folder("epyc-zen5").name)
