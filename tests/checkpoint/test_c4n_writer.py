"""The C4n folder: round trips, determinism, and that nothing is left after an error."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from tvm_c4n.checkpoint import ArrayCheckpoint, C4nWriter, export_dense, open_checkpoint
from tvm_c4n.errors import C4nError, CheckpointError
from tvm_c4n.sparsity import DTYPES, C4nWeight, from_dense, mask_from_scores

CONFIG = {"model_type": "mamba", "hidden_size": 8}


def packed(removed: int, dtype: str, rows: int = 3, cols: int = 20) -> C4nWeight:
    weight = np.random.default_rng(removed).standard_normal((rows, cols))
    return from_dense(weight, removed, dtype, mask=mask_from_scores(np.abs(weight), removed))


def tensors() -> dict[str, C4nWeight | np.ndarray]:
    every: dict[str, C4nWeight | np.ndarray] = {
        f"layers.{removed}.{dtype}.weight": packed(removed, dtype)
        for removed in range(4)
        for dtype in DTYPES
    }
    every["odd.weight"] = packed(0, "int4", 2, 27)
    every["norm.weight"] = np.arange(8, dtype=np.float16)
    every["conv1d.weight"] = np.ones((4, 1, 4), dtype=np.float32)
    return every


def fill(writer: C4nWriter, items: dict[str, C4nWeight | np.ndarray]) -> None:
    writer.add_json("config.json", CONFIG)
    for name, tensor in items.items():
        if isinstance(tensor, C4nWeight):
            writer.add_weight(name, tensor)
        else:
            writer.add_dense(name, tensor)


def test_round_trip_of_every_pattern_and_dtype(tmp_path: Path) -> None:
    items = tensors()
    with C4nWriter(tmp_path / "out", producer={"name": "test", "version": "1"}) as writer:
        fill(writer, items)
        writer.add_json("report.json", {"loss": 1.5})
    checkpoint = open_checkpoint(tmp_path / "out")
    assert checkpoint.names() == sorted(items)
    assert checkpoint.config == CONFIG
    for name, tensor in items.items():
        weight = checkpoint.weight(name)
        if isinstance(tensor, C4nWeight):
            assert weight is not None
            assert (weight.removed, weight.dtype) == (tensor.removed, tensor.dtype)
            for part in ("values", "positions", "scales"):
                np.testing.assert_array_equal(getattr(weight, part), getattr(tensor, part))
            np.testing.assert_array_equal(checkpoint.dense(name), tensor.dense())
            assert checkpoint.shape(name) == (tensor.rows, tensor.cols)
        else:
            assert weight is None
            assert checkpoint.shape(name) == tensor.shape
            assert checkpoint.dense(name).dtype == np.float32
            np.testing.assert_array_equal(checkpoint.dense(name), tensor)
    assert json.loads((tmp_path / "out/report.json").read_text()) == {"loss": 1.5}
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_bytes_do_not_depend_on_the_order_of_adding(tmp_path: Path) -> None:
    items = tensors()
    for out, order in (("a", list(items)), ("b", list(reversed(items)))):
        with C4nWriter(tmp_path / out) as writer:
            fill(writer, {name: items[name] for name in order})
    for name in ("model.safetensors", "c4n.json", "config.json"):
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()


@pytest.mark.parametrize("failure", [RuntimeError, KeyboardInterrupt])
@pytest.mark.parametrize("sealed", [False, True])
def test_nothing_is_left_after_an_error(
    tmp_path: Path, failure: type[BaseException], sealed: bool
) -> None:
    with pytest.raises(failure), C4nWriter(tmp_path / "new/parents/out") as writer:
        fill(writer, tensors())
        if sealed:
            export_dense(writer.seal(), writer.folder / "dense")
        raise failure
    assert list(tmp_path.iterdir()) == []


def test_an_error_keeps_the_old_folder(tmp_path: Path) -> None:
    out = tmp_path / "out"
    with C4nWriter(out) as writer:
        fill(writer, {"a": np.ones(3)})
    before = (out / "model.safetensors").read_bytes()
    with pytest.raises(KeyboardInterrupt), C4nWriter(out, overwrite=True) as writer:
        fill(writer, {"b": np.zeros(3)})
        raise KeyboardInterrupt
    assert (out / "model.safetensors").read_bytes() == before
    with C4nWriter(out, overwrite=True) as writer:
        fill(writer, {"b": np.zeros(3)})
    assert open_checkpoint(out).names() == ["b"]
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_where_the_writer_refuses_to_write(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(CheckpointError, match="is a file"), C4nWriter(tmp_path / "file"):
        pass
    home = tmp_path / "home"
    home.mkdir()
    (home / "thesis.tex").write_text("years of work")
    with pytest.raises(CheckpointError, match="not empty"), C4nWriter(home):
        pass
    with (
        pytest.raises(CheckpointError, match="holds something else"),
        C4nWriter(home, overwrite=True),
    ):
        pass
    assert (home / "thesis.tex").read_text() == "years of work"
    (tmp_path / "empty").mkdir()
    with C4nWriter(tmp_path / "empty") as writer:
        fill(writer, {"a": np.ones(3)})
    assert open_checkpoint(tmp_path / "empty").names() == ["a"]
    (tmp_path / "empty" / "late").touch()
    with pytest.raises(CheckpointError, match="not empty"), C4nWriter(tmp_path / "late") as writer:
        fill(writer, {"a": np.ones(3)})
        (tmp_path / "late").mkdir()
        (tmp_path / "late" / "theirs").touch()
    assert [path.name for path in (tmp_path / "late").iterdir()] == ["theirs"]


def test_what_the_writer_refuses_to_add(tmp_path: Path) -> None:
    with C4nWriter(tmp_path / "out") as writer:
        fill(writer, {"a": np.ones(3), "b": packed(2, "int8")})
        for name in ("a", "b"):
            with pytest.raises(CheckpointError, match=f"'{name}' was added twice"):
                writer.add_dense(name, np.ones(3))
        for name in ("", "../x", "x/y", "x.values", "__metadata__", "\ud800", "x" * 256):
            with pytest.raises(CheckpointError, match="may not be called"):
                writer.add_dense(name, np.ones(3))
        bad = packed(2, "int8")
        bad.values[0, 0] = -128
        with pytest.raises(C4nError, match="-128"):
            writer.add_weight("c", bad)
        for name in ("../x.json", "x.txt", "c4n.json", "a/b.json"):
            with pytest.raises(CheckpointError, match="plain"):
                writer.add_json(name, {})
        with pytest.raises(CheckpointError, match="as JSON"):
            writer.add_json("report.json", {"loss": float("nan")})
        writer.seal()
        with pytest.raises(CheckpointError, match="after the end"):
            writer.add_dense("late", np.ones(3))


def test_config_must_be_written(tmp_path: Path) -> None:
    with (
        pytest.raises(CheckpointError, match=r"config\.json was not written"),
        C4nWriter(tmp_path / "out") as writer,
    ):
        writer.add_dense("a", np.ones(3))
    assert list(tmp_path.iterdir()) == []


def test_numpy_integers_in_a_weight(tmp_path: Path) -> None:
    weight = C4nWeight(
        np.int64(1),  # type: ignore[arg-type]
        np.int64(4),  # type: ignore[arg-type]
        0,
        "float32",
        0,
        np.ones((1, 4), np.float32),
    )
    with C4nWriter(tmp_path / "out") as writer:
        fill(writer, {"a": weight})
    assert open_checkpoint(tmp_path / "out").shape("a") == (1, 4)


def test_extra_files_are_copied_and_config_with_them(tmp_path: Path) -> None:
    (tmp_path / "tokenizer.json").write_text("{}")
    source = ArrayCheckpoint(CONFIG, {}, [tmp_path / "tokenizer.json"])
    with C4nWriter(tmp_path / "out") as writer:
        writer.copy_extra(source)
    checkpoint = open_checkpoint(tmp_path / "out")
    assert [path.name for path in checkpoint.extra_files()] == ["tokenizer.json"]
    assert checkpoint.config == CONFIG


def test_a_disk_error_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(self: Path, *args: object, **kwargs: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    with (
        pytest.raises(
            CheckpointError,
            match=r"/out/config\.json: cannot write: the disk is full: .* 0\.0 kB are needed",
        ),
        C4nWriter(tmp_path / "out") as writer,
    ):
        fill(writer, {"a": np.ones(3)})
    assert list(tmp_path.iterdir()) == []
