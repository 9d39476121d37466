"""Granite 4.0-H with experts, whole: against transformers."""

import shutil
from math import prod
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file, save_file
from transformers import GraniteMoeHybridConfig

from tests.families import STORED, TEXT, FamilyTests, pruned_by_magnitude
from tests.model.families.test_granitemoehybrid import MIXED, SCALARS, SIZES
from tvm_c4n.checkpoint import open_checkpoint
from tvm_c4n.healing.student import Student
from tvm_c4n.inspect.details import token_bytes
from tvm_c4n.inspect.summary import summarize
from tvm_c4n.model.config import check_tensors
from tvm_c4n.model.families import describe_model
from tvm_c4n.model.reference import Reference
from tvm_c4n.plan.sizes import sizes_of
from tvm_c4n.pruning.recipe import Recipe

EXPERTS = {"num_local_experts": 6, "num_experts_per_tok": 2, "intermediate_size": 64}


class TestGraniteExperts(FamilyTests):
    CONFIGS: ClassVar[dict[str, Any]] = {
        "six, two chosen": GraniteMoeHybridConfig(
            **{**SIZES, **EXPERTS}, **SCALARS, layer_types=MIXED, initializer_range=0.2
        ),
        "four, all chosen, narrow": GraniteMoeHybridConfig(
            **{**SIZES, "num_local_experts": 4, "num_experts_per_tok": 4, "intermediate_size": 24},
            layer_types=MIXED[::-1],
            tie_word_embeddings=True,
            initializer_range=0.2,
        ),
    }

    @pytest.mark.slow
    @pytest.mark.parametrize(("removed", "dtype"), STORED)
    def test_pruned_it_equals_the_reference_of_what_is_stored(
        self, removed: int, dtype: str
    ) -> None:
        """Without experts it is quick, and tests/schedules has their kernels."""
        super().test_pruned_it_equals_the_reference_of_what_is_stored(removed, dtype)

    def test_a_layer_is_one_graph_for_torch_compile(self) -> None:
        """It is not, for an expert's tokens are counted in a run; compiled, it is the same."""
        checkpoint, config = self.opened(next(iter(self.CONFIGS)))
        layer = Student(checkpoint, config, torch.device("cpu")).layers[0]
        hidden = torch.randn(1, 4, config.d_model)
        torch._dynamo.reset()
        found = torch.compile(layer, dynamic=False, backend="eager")(hidden)
        torch.testing.assert_close(found, layer(hidden))

    def test_both_names_of_the_tensors_are_read(self, tmp_path: Path) -> None:
        """Those on the disk, and those that transformers has in memory."""
        name = next(iter(self.CONFIGS))
        folder = Path(shutil.copytree(self.folders[name], tmp_path / "model"))
        stored = load_file(folder / "model.safetensors")
        for old, new in (
            ("input_linear.weight", "experts.gate_up_proj"),
            ("output_linear.weight", "experts.down_proj"),
            ("router.layer.weight", "router.weight"),
        ):
            for key in [key for key in stored if f"block_sparse_moe.{old}" in key]:
                stored[key.replace(old, new)] = stored.pop(key)
        assert any("gate_up_proj" in key for key in stored)
        save_file(stored, folder / "model.safetensors", metadata={"format": "pt"})
        checkpoint = open_checkpoint(folder)
        config = describe_model(checkpoint.config)
        check_tensors(config, checkpoint)
        found = Reference(config, checkpoint.dense).prefill(TEXT)
        np.testing.assert_allclose(found, self.expected(name), atol=1e-5)

    def test_a_token_reads_its_experts_only(self) -> None:
        name = next(iter(self.CONFIGS))
        config = self.opened(name)[1]
        sizes = sizes_of(config, Recipe(removed=0), 8)
        shapes = config.tensor_shapes()
        experts = [p.weight for p in config.projections(0).values() if p.experts]
        idle = 2 * len(config.layers) * sum(prod(shapes[n]) for n in experts) * 4 // 6
        embeddings = 2 * prod(shapes[config.embeddings])
        assert sizes.token_bytes == sizes.weight_bytes - idle - embeddings
        own, dense = token_bytes(summarize(self.folders[name]))
        stored = summarize(self.folders[name]).size_bytes
        assert own < stored - 2 * idle  # it is stored as float32
        assert dense < own

    def test_the_router_is_never_pruned(self) -> None:
        checkpoint, config = self.opened(next(iter(self.CONFIGS)))
        plan = Recipe(removed=2, dtype="int4").plan(config)
        assert {plan[p.weight].removed for p in config.projections(0).values() if p.experts} == {2}
        assert not any("router" in tensor for tensor in plan)
        stored = pruned_by_magnitude(checkpoint, config, Recipe(removed=2, dtype="int4"))
        router = "model.layers.0.block_sparse_moe.router.layer.weight"
        np.testing.assert_array_equal(stored.dense(router), checkpoint.dense(router))
