"""What every family of models must do, from its config.json to text: run by each family's test.

The oracle is transformers' model of the same random weights in float64.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
import torch
import transformers
from numpy.typing import NDArray

from relay_passes.layout_report import count_layout
from tests.models import VOCABULARY, write_tokenizer
from tests.relay_passes.printing import round_trip
from tvm_c4n._tvm import relax, tvm
from tvm_c4n.checkpoint import ArrayCheckpoint, Checkpoint, open_checkpoint
from tvm_c4n.checkpoint.dense_export import export_dense
from tvm_c4n.compile.build import build, phases_for, prepare
from tvm_c4n.compile.kernel_selection import selector
from tvm_c4n.compile.target import resolve_target
from tvm_c4n.healing.student import Student
from tvm_c4n.model.config import MAX_TOKENS, check_tensors
from tvm_c4n.model.description import ModelConfig
from tvm_c4n.model.families import describe_model
from tvm_c4n.model.reference import Reference
from tvm_c4n.model.relax_model import build_model
from tvm_c4n.model.states import StateDTypes
from tvm_c4n.ops.slots import with_slots
from tvm_c4n.pruning.calibration.layer import logits
from tvm_c4n.pruning.method.permute import Permuted
from tvm_c4n.pruning.recipe import Recipe
from tvm_c4n.sparsity import from_dense, mask_from_scores

# All forms of weights; one of them in the quick suite.
STORED = [
    pytest.param(n, dtype, marks=() if (n, dtype) == (2, "int4") else pytest.mark.slow)
    for n in range(4)
    for dtype in ("float16", "int8", "int4")
]
# Compilations take most of the time: of each family's configurations the quick suite compiles one.
FIRST_OR_REST = pytest.mark.parametrize(
    "rest", [False, pytest.param(True, marks=pytest.mark.slow)], ids=["first", "rest"]
)
# The loop over experts: transformers' other ways have no float64.
EXPERTS = "eager"
TEXT = np.random.default_rng(1).integers(0, VOCABULARY, 24)


def write_family(folder: Path, config: Any, seed: int = 0) -> Any:
    """Write a random model of a transformers configuration with a tokenizer.

    Returns
    -------
    transformers.PreTrainedModel
        The model, float64.
    """
    torch.manual_seed(seed)
    model = transformers.AutoModelForCausalLM.from_config(config, dtype=torch.float32).eval()
    for name, parameter in model.named_parameters():
        # Biases and norms of zero and one would hide that they are not read.
        if parameter.ndim == 1 and "A_log" not in name:
            parameter.data.add_(0.1 * torch.randn_like(parameter))
        elif "embed" in name:
            parameter.data.normal_()
    model.save_pretrained(folder)
    write_tokenizer(folder)
    model.set_experts_implementation(EXPERTS)
    return model.double()


def pruned_by_magnitude(source: Checkpoint, config: ModelConfig, recipe: Recipe) -> Checkpoint:
    """Store a model as a recipe says, without calibration."""
    stored: dict[str, Any] = {name: source.dense(name) for name in config.tensor_shapes()}
    for name, choice in recipe.plan(config).items():
        mask = mask_from_scores(np.abs(stored[name]), choice.removed) if choice.removed else None
        dense = stored[name] if mask is None else np.where(mask, stored[name], 0)
        stored[name] = from_dense(dense, choice.removed, choice.dtype, mask=mask)
    return ArrayCheckpoint(source.config, stored)


def build_functions(
    config: ModelConfig, weights: Any, target: str, *names: str, batch: int = 0
) -> Any:
    """Build a model, float32 where nothing else is stored; of its functions only these, if any.

    Compilations take most of the time.
    """
    mod = build_model(config, weights, dtype="float32", batch=batch)
    if names:
        for function in {"step", "prefill", "score"} - set(names):
            del mod[function]
        mod = relax.transform.DeadCodeElimination()(mod)
    return build(mod, target)


class Compiled:
    """A model that runs on this machine; its functions, or some of them."""

    def __init__(self, config: ModelConfig, weights: Any, *names: str, batch: int = 0) -> None:
        executable = build_functions(config, weights, "host", *names, batch=batch)
        self._vm, self._config = relax.VirtualMachine(executable, tvm.cpu()), config
        self.reset()

    def reset(self) -> None:
        """Forget the text."""
        self._states = [
            tvm.runtime.tensor(np.zeros(state.shape, state.dtype))
            for state in self._config.states()
        ]

    def __call__(self, function: str, tokens: Any) -> NDArray[np.float32]:
        """Call ``step``, ``prefill`` or ``score``; returns the logits."""
        ids = tvm.runtime.tensor(np.asarray(tokens, np.int32))
        found: NDArray[np.float32] = self._vm[function](ids, *self._states)[0].numpy()
        return found

    def batch_step(self, tokens: dict[int, int], count: int, states: list[Any]) -> Any:
        """Step texts by their slots, filled up to `count` tokens; returns the logits by slot."""
        ids = np.zeros(count, np.int32)
        ids[: len(tokens)] = list(tokens.values())
        chosen = np.array(list(tokens), np.int32)
        inputs = [tvm.runtime.tensor(array) for array in (ids, chosen)]
        logits = self._vm["batch_step"](*inputs, *states)[0].numpy()
        return dict(zip(tokens, logits, strict=False))


def stacked_states(config: ModelConfig, slots: int) -> list[NDArray[Any]]:
    """Return empty states of several texts."""
    return [np.zeros(with_slots(s.shape, slots), s.dtype) for s in config.states()]


class FamilyTests:
    """Inherit, and set `CONFIGS`: transformers configurations by name, of two layers."""

    CONFIGS: ClassVar[dict[str, Any]]
    folders: ClassVar[dict[str, Path]]
    theirs: ClassVar[dict[str, Any]]
    machines: ClassVar[dict[str, Compiled]]

    @pytest.fixture(scope="class", autouse=True)
    @classmethod
    def models(cls, tmp_path_factory: Any) -> None:
        """Write the models; ``folders`` and ``theirs`` have them by name."""
        cls.folders = {name: tmp_path_factory.mktemp("family") / "model" for name in cls.CONFIGS}
        cls.machines = {}
        cls.theirs = {n: write_family(cls.folders[n], c) for n, c in cls.CONFIGS.items()}

    def opened(self, name: str) -> tuple[Checkpoint, ModelConfig]:
        checkpoint = open_checkpoint(self.folders[name])
        config = describe_model(checkpoint.config)
        check_tensors(config, checkpoint)
        return checkpoint, config

    def compiled_names(self, rest: bool) -> list[str]:
        """Return the first configuration, or the rest."""
        names = list(self.CONFIGS)
        return names[1:] if rest else names[:1]

    def compiled(self, name: str) -> Compiled:
        """Return a model before its first token; each is compiled once."""
        if name not in self.machines:
            checkpoint, config = self.opened(name)
            self.machines[name] = Compiled(config, checkpoint)
        self.machines[name].reset()
        return self.machines[name]

    def expected(self, name: str, ids: Any = TEXT) -> NDArray[np.float64]:
        """Logits of transformers, (t, v)."""
        with torch.no_grad():
            found = self.theirs[name](torch.as_tensor(np.asarray(ids))[None], use_cache=False)
        values: NDArray[np.float64] = found.logits[0].numpy()
        return values

    def test_the_reference_equals_transformers(self) -> None:
        for name in self.CONFIGS:
            checkpoint, config = self.opened(name)
            found = Reference(config, checkpoint.dense).prefill(TEXT)
            assert np.abs(found).max() > 0.5, name
            np.testing.assert_allclose(found, self.expected(name), atol=1e-5, err_msg=name)

    def test_calibration_and_training_see_the_same_model(self) -> None:
        for name in self.CONFIGS:
            checkpoint, config = self.opened(name)
            expected = self.expected(name)
            found = logits(checkpoint, TEXT[None])[0].numpy()
            np.testing.assert_allclose(found, expected, atol=1e-4, err_msg=name)
            student = Student(checkpoint, config, torch.device("cpu"))
            last, head = student(torch.from_numpy(TEXT)[None])
            trained = (last @ head.T)[0]
            np.testing.assert_allclose(trained.detach().numpy(), expected, atol=1e-4, err_msg=name)
            trained.logsumexp(-1).sum().backward()
            for parameter, value in student.named_parameters():
                assert value.grad is not None and value.grad.abs().max() > 0, (name, parameter)

    def test_channels_that_may_be_in_any_order_change_nothing(self) -> None:
        generator = torch.Generator().manual_seed(0)
        for name in self.CONFIGS:
            checkpoint, config = self.opened(name)
            orders = {"hidden": torch.randperm(config.d_model, generator=generator)}
            for layer in range(config.n_layer):
                columns = config.layer_tensors(layer)
                for block in config.layers[layer].blocks:
                    for free in block.reorderings():
                        axis = columns[config.projection(layer, free.projection)].axes[1]
                        size = next(s.size for s in axis if s.label == free.label)
                        runs = range(0, size, free.chunk)
                        orders[block.prefix + free.label] = torch.cat(
                            [run + torch.randperm(free.chunk, generator=generator) for run in runs]
                        )
            found = logits(Permuted(checkpoint, config, orders), TEXT[None])[0].numpy()
            np.testing.assert_allclose(found, self.expected(name), atol=1e-4, err_msg=name)

    def test_a_layer_is_one_graph_for_torch_compile(self) -> None:
        for name in self.CONFIGS:
            checkpoint, config = self.opened(name)
            for layer in Student(checkpoint, config, torch.device("cpu")).layers:
                torch._dynamo.reset()
                found = torch._dynamo.explain(layer)(torch.randn(1, 4, config.d_model))
                assert (found.graph_count, found.graph_break_count) == (1, 0), name

    @FIRST_OR_REST
    def test_compiled_it_gives_the_same_logits_however_a_text_is_cut(self, rest: bool) -> None:
        long = np.random.default_rng(2).integers(0, VOCABULARY, MAX_TOKENS + 5)
        for name in self.compiled_names(rest):
            expected = self.expected(name, long)
            model = self.compiled(name)
            first = model("score", long[:MAX_TOKENS])
            np.testing.assert_allclose(first, expected[:MAX_TOKENS], atol=1e-4, err_msg=name)
            after = model("prefill", long[MAX_TOKENS:-2])
            np.testing.assert_allclose(after[0], expected[-3], atol=1e-4, err_msg=name)
            for place in (-2, -1):
                found = model("step", long[place:][:1])
                np.testing.assert_allclose(found[0], expected[place], atol=1e-4, err_msg=name)
            model.reset()
            steps = np.stack([model("step", [token])[0] for token in TEXT])
            np.testing.assert_allclose(steps, self.expected(name), atol=1e-4, err_msg=name)

    @FIRST_OR_REST
    def test_float16_states_are_rounded_once_a_call(self, rest: bool) -> None:
        for name in self.compiled_names(rest):
            checkpoint, config = self.opened(name)
            halved = config.with_state_dtypes(StateDTypes("float16", "float16"))
            if halved == config:
                continue
            expected, model = self.expected(name), Compiled(halved, checkpoint, "step")
            steps = np.stack([model("step", [token])[0] for token in TEXT])
            away = np.abs(steps - expected).max()
            assert 1e-6 < away < 2e-3 * np.abs(expected).max(), name

    @FIRST_OR_REST
    def test_greedy_text_is_that_of_transformers(self, rest: bool) -> None:
        for name in self.compiled_names(rest):
            theirs = self.theirs[name]
            prompt = torch.from_numpy(TEXT[:5])[None]
            expected = theirs.generate(
                prompt, max_new_tokens=64, min_new_tokens=64, do_sample=False, pad_token_id=0
            )
            model, found = self.compiled(name), [*TEXT[:5].tolist()]
            ending = theirs.generation_config.eos_token_id
            values = model("prefill", found)[0]
            for _ in range(64):
                if ending is not None:
                    values[ending] = -np.inf  # as min_new_tokens does
                found.append(int(values.argmax()))
                values = model("step", found[-1:])[0].copy()
            assert found == expected[0].tolist(), name

    @pytest.mark.slow
    @pytest.mark.parametrize("half", [False, True])
    @pytest.mark.parametrize("dtype", ["float32", "int4"])
    def test_texts_that_step_together_are_as_if_alone(self, dtype: str, half: bool) -> None:
        """One to sixteen at once, at different places, with states of both dtypes."""
        name, slots, rng = next(iter(self.CONFIGS)), 16, np.random.default_rng(3)
        stored, config = self.opened(name)
        if dtype == "int4":
            stored = pruned_by_magnitude(stored, config, Recipe(removed=2, dtype=dtype))
        if half:
            config = config.with_state_dtypes(StateDTypes("float16", "float16"))
        model = Compiled(config, stored, "step", batch=slots)
        states = [tvm.runtime.tensor(array) for array in stacked_states(config, slots)]
        texts: dict[int, list[int]] = {slot: [] for slot in range(slots)}
        last: dict[int, Any] = {}
        for count in (1, 3, 16, 8, 5, 12, 16):
            chosen = [int(slot) for slot in rng.permutation(slots)[:count]]
            tokens = {slot: int(rng.integers(0, VOCABULARY)) for slot in chosen}
            last |= model.batch_step(tokens, count + count % 2, states)
            for slot, token in tokens.items():
                texts[slot].append(token)
        for slot, text in texts.items():
            model.reset()
            expected = [model("step", [token])[0] for token in text][-1]
            np.testing.assert_allclose(last[slot], expected, atol=1e-4, err_msg=f"{name} {slot}")

    @pytest.mark.parametrize(("removed", "dtype"), STORED)
    def test_pruned_it_equals_the_reference_of_what_is_stored(
        self, removed: int, dtype: str
    ) -> None:
        name = next(iter(self.CONFIGS))
        checkpoint, config = self.opened(name)
        recipe = Recipe(removed=removed, dtype=dtype)
        stored = pruned_by_magnitude(checkpoint, config, recipe)
        expected = Reference(config, stored.dense).prefill(TEXT)
        if dtype == "int8":  # a step compiles in a quarter of the time
            model = Compiled(config, stored, "step")
            found = np.stack([model("step", [token])[0] for token in TEXT])
        else:
            found = Compiled(config, stored, "score")("score", TEXT)
        error = ((found - expected) ** 2).sum() / (expected**2).sum()
        # Activations of integer weights are rounded to int8.
        assert error < (1e-8 if dtype == "float16" else 3e-3)

    @pytest.mark.slow
    def test_no_kernel_only_moves_elements(self) -> None:
        checkpoint, config = self.opened(next(iter(self.CONFIGS)))
        mod = build_model(config, checkpoint, dtype="float32")
        select = selector(resolve_target("host"), mod=mod)
        found = count_layout(prepare(mod, select, phases_for(select, lift=False)))
        assert (found["kernels"], found["copies"]) == (0, 0)

    @pytest.mark.slow  # TVM's parser takes a minute
    def test_its_module_is_read_as_it_was_printed(self) -> None:
        name = next(iter(self.CONFIGS))
        checkpoint, config = self.opened(name)
        stored = pruned_by_magnitude(checkpoint, config, Recipe(removed=2, dtype="int4"))
        mod = build_model(config, stored)
        del mod["score"]  # `prefill`, but for its last operator
        mod = relax.transform.DeadCodeElimination()(mod)
        tvm.ir.assert_structural_equal(round_trip(mod), mod, map_free_vars=True)

    @pytest.mark.phone
    def test_it_runs_on_the_emulated_phone(self, phone: Any) -> None:
        name = next(iter(self.CONFIGS))
        checkpoint, config = self.opened(name)
        stored = pruned_by_magnitude(checkpoint, config, Recipe(removed=2, dtype="float16"))
        executable = build_functions(config, stored, "arm64-linux", "score")
        states = [np.zeros(state.shape, state.dtype) for state in config.states()]
        text = TEXT.astype(np.int32)
        found = phone.run_vm(executable, {"score": [text, *states]})["score"][0]
        expected = Reference(config, stored.dense).prefill(TEXT)
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4)

    @pytest.mark.phone
    @pytest.mark.slow
    def test_texts_step_together_on_the_emulated_phone(self, phone: Any) -> None:
        name = next(iter(self.CONFIGS))
        checkpoint, config = self.opened(name)
        stored = pruned_by_magnitude(checkpoint, config, Recipe(removed=2, dtype="float16"))
        executable = build(build_model(config, stored, batch=4), "arm64-linux")
        ids, chosen = TEXT[:4].astype(np.int32), np.array([2, 0, 1], np.int32)
        inputs = [ids, chosen, *stacked_states(config, 3)]
        found = phone.run_vm(executable, {"batch_step": inputs})["batch_step"][0]
        reference = [Reference(config, stored.dense).prefill(ids[t : t + 1])[0] for t in range(3)]
        np.testing.assert_allclose(found[:3], reference, rtol=1e-4, atol=1e-4)

    def test_the_twin_opens_in_transformers_with_the_same_logits(self, tmp_path: Path) -> None:
        from tvm_c4n import prune

        name = next(iter(self.CONFIGS))
        words = tmp_path / "words.jsonl"
        from tests.models import write_words

        recipe = Recipe(removed=2, dtype="int8", samples=4, sample_tokens=32)
        prune(self.folders[name], tmp_path / "pruned", recipe, calibration=write_words(words))
        pruned = open_checkpoint(tmp_path / "pruned")
        export_dense(pruned, tmp_path / "twin", dtype="float32")
        twin = transformers.AutoModelForCausalLM.from_pretrained(
            tmp_path / "twin", dtype=torch.float64, experts_implementation=EXPERTS
        ).eval()
        with torch.no_grad():
            found = twin(torch.from_numpy(TEXT)[None], use_cache=False).logits[0].numpy()
        config = describe_model(pruned.config)
        expected = Reference(config, pruned.dense).prefill(TEXT)
        np.testing.assert_allclose(found, expected, atol=1e-4)
