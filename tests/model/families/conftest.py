"""Which families the quick tests run what for that takes long and is much the same for all."""

from __future__ import annotations

import pytest

# By the name of a test: the classes that it is quick for. The whole suite runs it for all.
QUICK = {
    "test_it_runs_on_the_emulated_phone": {"TestMamba", "TestGranite"},
    "test_a_layer_is_one_graph_for_torch_compile": {"TestGranite"},
    "test_compiled_it_gives_the_same_logits_however_a_text_is_cut": {
        "TestMamba",
        "TestGranite",
        "TestGraniteExperts",
        "TestLfm2",
        "TestQwen",
        "TestNemotronH",
    },
    "test_greedy_text_is_that_of_transformers": {"TestGranite", "TestQwen"},
    "test_float16_states_are_rounded_once_a_call": {"TestGranite"},
    "test_pruned_it_equals_the_reference_of_what_is_stored": {
        "TestGranite",
        "TestGraniteExperts",
    },
    "test_the_twin_opens_in_transformers_with_the_same_logits": {
        "TestGranite",
        "TestLfm2",
    },
}


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        classes = QUICK.get(getattr(item, "originalname", ""))
        if classes and item.getparent(pytest.Class).name not in classes:
            item.add_marker(pytest.mark.slow)
