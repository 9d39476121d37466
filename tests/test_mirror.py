"""Tests lie where their module lies: ``tvm_c4n/a/b.py`` is tested in ``tests/a/test_b.py``."""

from __future__ import annotations

from pathlib import Path

ROOT = Path(__file__).parents[1]

SERVER = "tests/server asks a server over its socket: test_handlers.py, test_lane.py"
EXPERTS = "an operator of experts: tests/schedules/test_experts.py"
SPECS = "tests/ops/test_spec.py has every spec"
KERNELS = "writes kernels: tests/schedules compares them with float64 on every instruction set"
OPENCL = "writes OpenCL kernels: tests/opencl runs them on pocl"
ATTENTION = "a part of attention: tests/ops/test_attention.py, tests/schedules/test_attention.py"
READING = "tests/ops/repack reads every format back, tests/ops every operator's definition"
LAYOUT = "a part of EliminateLayout: test_eliminate_layout.py has a case for each of its rules"
REGIONS = "a part of FuseRegions and RollLayers: their tests run what it writes"
RUNS = "test_run.py and test_resume.py prune whole models by it"
RUN = "tests/cli/test_run.py runs what it is for"
GGUF = "tests/frontend/gguf/test_convert.py compares models of each family with their source"
FAMILIES = "tests/families.py runs whole models by it: tests/model/families"
# A file of each kind of block: tests/families.py runs whole models by them.
BY_FAMILIES = (
    "tvm_c4n/model/blocks",
    "tvm_c4n/model/reference",
    "tvm_c4n/model/relax_model",
    "tvm_c4n/torch_blocks",
)
# Modules without a test file of their own, and where they are tested.
WITHOUT = {
    "tvm_c4n/progress.py": "one type",
    "tvm_c4n/_registration/patterns.py": "tests/relay_passes/test_matched_linear.py",
    "tvm_c4n/_tvm/supported.py": "tests/test_tvm.py",
    "tvm_c4n/_tvm/v0_27.py": "names: whatever builds a kernel needs them; tests/test_tvm.py",
    "tvm_c4n/cli/chat_commands.py": "test_chat.py gives every command",
    "tvm_c4n/cli/chat_input.py": "test_chat.py has a pipe and a pseudo terminal",
    "tvm_c4n/cli/results.py": RUN,
    "tvm_c4n/cli/sampling.py": "options: test_run.py gives them",
    "tvm_c4n/cli/writing.py": RUN,
    "tvm_c4n/tuning/dense_layers.py": "tests/tuning/test_latency.py has its rows",
    "tvm_c4n/tuning/reference_model.py": "tests/tuning/test_latency.py times one",
    "tvm_c4n/frontend/converted.py": "tests/frontend/original and tests/frontend/gguf use it",
    "tvm_c4n/frontend/gguf/config.py": GGUF,
    "tvm_c4n/frontend/gguf/weights.py": GGUF,
    "tvm_c4n/healing/triton_scan.py": "needs a GPU; tests/healing/test_scan.py tests its oracle",
    "tvm_c4n/model/description.py": FAMILIES,
    "tvm_c4n/model/states.py": "types",
    "tvm_c4n/model/tensor_spec.py": FAMILIES,
    "tvm_c4n/checkpoint/whole_tensors.py": "tests/model/test_rows.py",
    "tvm_c4n/model/families/hybrid.py": FAMILIES,
    "tvm_c4n/model/families/hybrid_model.py": FAMILIES,
    "tvm_c4n/model/families/reader.py": "tests/model/test_config.py reads what it refuses",
    "tvm_c4n/model/reference/formulas.py": "tests/model/test_reference.py",
    "tvm_c4n/model/relax_model/arrays.py": "tests/model/test_relax_model.py",
    "tvm_c4n/ops/attrs.py": "names only",
    "tvm_c4n/ops/expert_weights.py": "tests/ops/test_expert_linear.py, repack/test_stacked.py",
    "tvm_c4n/ops/ring.py": ATTENTION,
    "tvm_c4n/ops/tir/access.py": KERNELS,
    "tvm_c4n/ops/weight_format.py": READING,
    "tvm_c4n/ops/repack/panel.py": READING,
    "tvm_c4n/ops/repack/reader.py": READING,
    "tvm_c4n/pruning/calibration/analysis.py": RUNS,
    "tvm_c4n/pruning/driver.py": RUNS,
    "tvm_c4n/pruning/layerwise.py": RUNS,
    "tvm_c4n/server/answering.py": SERVER,
    "tvm_c4n/server/api_error.py": SERVER,
    "tvm_c4n/server/choice.py": SERVER,
    "tvm_c4n/server/decoding.py": SERVER,
    "tvm_c4n/server/job.py": SERVER,
    "tvm_c4n/server/one_by_one.py": SERVER,
    "tvm_c4n/server/prompt_queue.py": SERVER,
    "tvm_c4n/server/prompts.py": SERVER,
    "tvm_c4n/server/responses.py": SERVER,
    "tvm_c4n/runtime/thread_policy.py": "numbers: test_thread_controller.py tests what they do",
    "schedules/attention_tile.py": ATTENTION,
    "tvm_c4n/healing/ops.py": FAMILIES,
    "tvm_c4n/pruning/method/loops.py": "test_compensate.py, test_rounding.py, test_device_loops.py",
    "tvm_c4n/pruning/calibration/ops.py": "tests/pruning/calibration/test_layer.py",
    "tvm_c4n/torch_blocks/path.py": "types",
    "schedules/linear_body.py": KERNELS,
    "schedules/integer_body.py": KERNELS,
    "schedules/dense_tile.py": "test_c4n_tile_gemm.py",
    "schedules/columns.py": "test_swiglu.py and test_relu_squared.py",
    "schedules/nested_body.py": KERNELS,
    "schedules/unpacked_panels.py": "test_c4n_unpacked_gemm.py",
    "schedules/windows.py": KERNELS,
    "schedules/micro_tile.py": KERNELS,
    "schedules/online_softmax.py": ATTENTION,
    "schedules/intrin/avx2.py": KERNELS,
    "schedules/intrin/avx512.py": KERNELS,
    "schedules/intrin/indices.py": KERNELS,
    "schedules/intrin/neon.py": KERNELS,
    "schedules/intrin/portable.py": KERNELS,
    "schedules/opencl/attention.py": OPENCL,
    "schedules/opencl/grid.py": OPENCL,
    "schedules/opencl/linear.py": OPENCL,
    "schedules/opencl/position.py": OPENCL,
    "schedules/opencl/quantize.py": OPENCL,
    "schedules/opencl/selective_scan.py": OPENCL,
    "schedules/opencl/swiglu.py": OPENCL,
    "schedules/opencl/ssd_scan.py": OPENCL,
    "schedules/delta_chunk.py": KERNELS,
    "schedules/expert_gemm.py": EXPERTS,
    "schedules/expert_gemv.py": EXPERTS,
    "schedules/expert_rows.py": EXPERTS,
    "schedules/route.py": EXPERTS,
    "tvm_c4n/ops/op_spec.py": SPECS,
    "tvm_c4n/ops/linear_spec.py": SPECS,
    "tvm_c4n/ops/expert_spec.py": SPECS,
    "tvm_c4n/ops/grouped_linear.py": "tests/ops/test_expert_linear.py",
    "schedules/delta_parts.py": KERNELS,
    "schedules/ssd_chunk.py": KERNELS,
    "schedules/ssd_token.py": KERNELS,
    "relay_passes/fuse_calls.py": LAYOUT,
    "relay_passes/fuse_into_producer.py": LAYOUT,
    "relay_passes/inline_copies.py": LAYOUT,
    "relay_passes/regions/emit.py": REGIONS,
    "relay_passes/regions/kernel.py": REGIONS,
    "relay_passes/regions/symbols.py": REGIONS,
}


def mirror(module: Path) -> Path:
    """Return the test file of a module; both relative to the repository."""
    package, *rest = module.parts
    folders = rest[:-1] if package == "tvm_c4n" else [package, *rest[:-1]]
    return Path("tests", *folders, f"test_{module.stem.lstrip('_')}.py")


def modules() -> list[Path]:
    """Every module but ``__init__`` and ``_version``, which only name things."""
    found = []
    for package in ("tvm_c4n", "schedules", "relay_passes"):
        for path in sorted((ROOT / package).rglob("*.py")):
            if path.stem not in ("__init__", "_version"):
                found.append(path.relative_to(ROOT))
    return found


def test_every_module_has_a_test_of_its_name() -> None:
    missing = [
        str(module)
        for module in modules()
        if not (ROOT / mirror(module)).is_file() and str(module.parent) not in BY_FAMILIES
    ]
    assert sorted(set(missing) - set(WITHOUT)) == []


def test_exceptions_are_modules_without_one() -> None:
    there = {str(module) for module in modules()}
    stale = [name for name in WITHOUT if (ROOT / mirror(Path(name))).is_file() or name not in there]
    assert stale == []
