"""The healed models that come with the package."""

import json
from math import prod

import pytest

from tvm_c4n.assets import MODELS, resolve
from tvm_c4n.checkpoint import open_checkpoint
from tvm_c4n.model.config import check_tensors
from tvm_c4n.model.families import describe_model

# n and the dtype of in_proj and out_proj.
UNIFORM = {
    "mamba-19m-n2-int4": (2, "int4"),
    "mamba-19m-n3-int4": (3, "int4"),
}
THINNED = ("mamba-19m-s30-int4", "granite-h-20m-s30-int4")
MIXTURE = "mamba-19m-mixed"
HEALED = (*UNIFORM, *THINNED, MIXTURE)


@pytest.mark.parametrize("name", UNIFORM)
def test_they_are_what_their_names_say(name):
    assert name in MODELS
    checkpoint = open_checkpoint(name)
    config = describe_model(checkpoint.config)
    check_tensors(config, checkpoint)
    assert config == describe_model(open_checkpoint("mamba-19m").config)
    for layer in range(config.n_layer):
        for projection in ("in_proj", "out_proj"):
            weight = checkpoint.weight(config.projection(layer, projection))
            assert (weight.removed, weight.dtype) == UNIFORM[name]
    assert {path.name for path in checkpoint.extra_files()} >= {"tokenizer.json"}


@pytest.mark.parametrize("name", THINNED)
def test_the_thinned_models_lack_their_share_of_the_weights(name):
    checkpoint = open_checkpoint(name)
    config = describe_model(checkpoint.config)
    names = [name for name in config.weights() if name not in config.unpruned()]
    shapes = config.tensor_shapes()
    sizes = [prod(shapes[name]) for name in names]
    removed = [checkpoint.weight(name).removed for name in names]
    lacking = sum(n / 4 * size for n, size in zip(removed, sizes, strict=True))
    assert lacking / sum(sizes) == pytest.approx(0.3, abs=0.005)
    assert lacking / sum(sizes) >= 0.3


def test_the_mixture_has_its_size_and_bits_of_every_weight_s_own():
    checkpoint = open_checkpoint(MIXTURE)
    assert checkpoint.size_bytes <= 8.6e6
    config = describe_model(checkpoint.config)
    dtypes = {checkpoint.weight(name).dtype for name in config.weights()}
    assert {"int2", "int3", "int4"} < dtypes


@pytest.mark.parametrize("name", HEALED)
def test_their_cards_say_what_their_runs_said(name):
    folder = resolve(name)
    report = json.loads((folder / "heal.json").read_text())
    card = (folder / "README.md").read_text()
    assert f"--tokens {report['settings']['tokens']} " in card
    assert f"{report['after']['ratio']:.3f}" in card
    for judgement in report.get("judged", {}).values():
        assert judgement["after"]["ratio"] < judgement["before"]["ratio"]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "dense", "bound"),
    [
        ("mamba-19m-n2-int4", "mamba-19m", 1.07),
        ("mamba-19m-n3-int4", "mamba-19m", 1.20),
        ("mamba-19m-s30-int4", "mamba-19m", 1.03),
        ("mamba-19m-mixed", "mamba-19m", 1.04),
        ("granite-h-20m-s30-int4", "granite-h-20m", 1.01),
    ],
)
def test_their_perplexity_is_near_the_dense_model_s(name, dense, bound):
    from tvm_c4n.assets import VALID_TEXT
    from tvm_c4n.compile.cache import load
    from tvm_c4n.evaluate import evaluate_text

    found = [
        evaluate_text(load(model), VALID_TEXT, max_windows=16).perplexity.value
        for model in (name, dense)
    ]
    assert found[0] / found[1] < bound


@pytest.mark.slow
def test_the_hybrid_s_text_and_logits_are_transformers():
    import torch
    import transformers

    from tvm_c4n.compile.cache import load

    folder = resolve("granite-h-20m")
    theirs = transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    prompt = tokenizer("The old bridge over the river was", return_tensors="pt").input_ids
    expected = theirs.generate(prompt, max_new_tokens=64, min_new_tokens=64, do_sample=False)[0]
    with torch.no_grad():
        logits = theirs(expected[None], use_cache=False).logits[0].numpy()
    engine = load("granite-h-20m")
    ids = expected.tolist()
    assert abs(engine.score(ids) - logits).max() < 0.05  # weights, keys and values are float16
    read = prompt.shape[1]
    found = engine.prefill(ids[:read])
    for place in range(read, len(ids)):
        assert int(found.argmax()) == ids[place]
        found = engine.step(ids[place])
