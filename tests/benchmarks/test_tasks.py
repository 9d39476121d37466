"""Accuracy on tasks: models by the content of their weights, and the printed table."""

from benchmarks.tasks import digest_of, show


def test_a_model_is_known_by_its_weights(tmp_path):
    for name, content in (("a", b"1"), ("b", b"1"), ("c", b"2")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "config.json").write_text(name)
        (tmp_path / name / "model.safetensors").write_bytes(content)
    a, b, c = (digest_of(str(tmp_path / name)) for name in "abc")
    assert a == b != c


def test_a_table_has_a_column_for_each_model_and_an_average(capsys):
    common = {"items": 100, "chance": 0.5, "per_byte": None, "target_perplexity": None}
    rows = [
        {"model": model, "digest": model, "task": task, "accuracy": right, "stderr": 0.04, **common}
        for model, rights in (("dense", (0.6, 0.8)), ("pruned", (0.5, 0.7)))
        for task, right in zip(("x", "y"), rights, strict=True)
    ]
    show(rows)
    lines = capsys.readouterr().out.splitlines()
    assert lines[1].split() == ["task", "items", "chance", "dense", "pruned"]
    assert lines[-1].split()[:4] == ["average", "0.7000", "+/-", "0.0283"]
