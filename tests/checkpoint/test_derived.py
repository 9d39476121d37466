"""A derived checkpoint reads as its source does, but for packed weights."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from tvm_c4n.checkpoint import open_checkpoint
from tvm_c4n.checkpoint.derived import DerivedCheckpoint


def test_what_no_subclass_changes_is_the_sources(small_model: Path) -> None:
    source = open_checkpoint(small_model)
    found = DerivedCheckpoint(source)
    assert (found.path, found.config, found.names()) == (
        source.path,
        source.config,
        source.names(),
    )
    for name in source.names():
        assert found.shape(name) == source.shape(name)
        np.testing.assert_array_equal(found.dense(name), source.dense(name))
        assert found.weight(name) is None
    assert found.size_bytes == source.size_bytes > 0
    assert found.extra_files() == source.extra_files() != []
