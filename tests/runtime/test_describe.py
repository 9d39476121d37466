"""An artifact and a machine in a few words."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.models import HF
from tvm_c4n.runtime import describe
from tvm_c4n.runtime.manifest import Manifest, Projection

LAYER = "backbone.layers.{}.mixer.{}.weight"


def manifest(**projections: tuple[int, int, int, str]) -> Manifest:
    """A manifest whose projections are ``kind_layer=(rows, cols, removed, dtype)``."""
    found = {}
    for key, (rows, cols, removed, dtype) in projections.items():
        kind, _, layer = key.rpartition("_")
        name = LAYER.format(layer, kind) if kind != "embeddings" else "backbone.embeddings.weight"
        group = 64 if dtype.startswith("int") else 0
        found[name] = Projection(
            rows=rows, cols=cols, removed=removed, dtype=dtype, scale_group=group
        )
    fields: dict[str, Any] = {
        "target": "host",
        "triple": "x86_64-linux-gnu",
        "isa": "avx2",
        "features": [],
        "tvm": "0.27.0",
        "config": HF,
        "projections": found,
        "schedules": {},
        "tensors": [],
        "states": [],
        "chunk": 256,
        "weight_bytes": 0,
        "library_sha256": "0" * 64,
        "weights_sha256": "0" * 64,
    }
    return Manifest(**fields)


DENSE = {"dt_proj_0": (64, 8, 0, "float16"), "embeddings_0": (96, 32, 0, "int8")}


@pytest.mark.parametrize(
    ("pruned", "expected"),
    [
        ({"in_proj_0": (128, 32, 0, "float16")}, "dense float16"),
        ({"in_proj_0": (128, 32, 2, "int8")}, "C4n n=2 int8"),
        ({"in_proj_0": (128, 32, 2, "int4"), "in_proj_1": (128, 32, 3, "int4")}, "C4n n=2..3 int4"),
        # A kind that is pruned in some layers counts with its dense ones.
        ({"in_proj_0": (128, 32, 0, "int4"), "in_proj_1": (128, 32, 1, "int4")}, "C4n n=0..1 int4"),
        # The embeddings are larger than the layers, and do not count.
        ({"in_proj_0": (8, 8, 2, "int4")}, "C4n n=2 float16"),
    ],
)
def test_a_model_in_a_few_words(pruned: dict[str, Any], expected: str) -> None:
    assert describe.model_type(manifest(**DENSE, **pruned)).endswith(expected)


def test_parameters_are_those_of_the_dense_model(small_model: Path) -> None:
    from safetensors.numpy import load_file

    tensors = load_file(small_model / "model.safetensors")
    count = sum(tensor.size for tensor in tensors.values())
    found = manifest(**DENSE)
    assert describe.parameters(found) == count
    assert describe.model_type(found).startswith(f"mamba {count / 1e6:.1f}M ")


def test_kernels_are_counted_by_how_they_came_about() -> None:
    names = ["c4n_gemv[tiles=4]", "c4n_gemv", "elementwise", "definition"]
    found = manifest(**DENSE).model_copy(
        update={"schedules": {f"layers.0{i}": name for i, name in enumerate(names)}}
    )
    assert describe.schedule_report(found) == "1 tuned, 2 by default rule, 1 fallback"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("processor\t: 0\nmodel name\t: AMD EPYC: 9\nmodel name\t: other\n", "AMD EPYC: 9"),
        ("Processor\t: ARMv8\nHardware\t: Qualcomm\n", "Qualcomm"),
        ("", "riscv64"),
        (None, "riscv64"),
    ],
)
def test_the_cpu_has_the_name_that_the_system_gives_it(
    monkeypatch: pytest.MonkeyPatch, text: str | None, expected: str
) -> None:
    def read(path: Path, encoding: str) -> str:
        if text is None:
            raise FileNotFoundError(path)
        return text

    monkeypatch.setattr(Path, "read_text", read)
    monkeypatch.setattr(describe.platform, "processor", lambda: "")
    monkeypatch.setattr(describe.platform, "machine", lambda: "riscv64")
    assert describe.cpu_name() == expected


ZEN4 = "cpu family\t: 25\nmodel\t\t: 17\nmodel name\t: AMD EPYC\nstepping\t: 1\n"
ARM_CORE = (
    "CPU implementer\t: 0x41\nCPU architecture: 8\nCPU variant\t: 0x3\n"
    "CPU part\t: {}\nCPU revision\t: 1\n"
)


@pytest.mark.parametrize(
    ("cores", "expected"),
    [
        ([ZEN4, ZEN4], "family 25 model 17 stepping 1"),
        (
            [ARM_CORE.format(part) for part in ("0xd05", "0xd05", "0xd0b")],
            "implementer 0x41 variant 0x3 part 0xd05 revision 1, "
            "implementer 0x41 variant 0x3 part 0xd0b revision 1",
        ),
        (["hart\t: 0\n"], ""),
    ],
)
def test_the_model_tells_cpus_of_one_name_apart(
    monkeypatch: pytest.MonkeyPatch, cores: list[str], expected: str
) -> None:
    text = "\n".join(f"processor\t: {number}\n{core}" for number, core in enumerate(cores))
    monkeypatch.setattr(Path, "read_text", lambda *_args, **_options: text)
    assert describe.cpu_model() == expected
