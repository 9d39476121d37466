"""Which families the quick tests run on the emulated phone and through torch.compile."""

from __future__ import annotations

import pytest

# By the name of a test: the classes that it is quick for. The whole suite runs it for all.
QUICK = {
    "test_it_runs_on_the_emulated_phone": {"TestMamba", "TestGranite"},
    "test_a_layer_is_one_graph_for_torch_compile": {"TestGranite"},
}


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        classes = QUICK.get(getattr(item, "originalname", ""))
        if classes and item.getparent(pytest.Class).name not in classes:
            item.add_marker(pytest.mark.slow)
