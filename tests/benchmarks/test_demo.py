"""`make demo`: what it makes, without making it."""

import json

from benchmarks import demo as demo_module
from benchmarks.demo_table import Bundled, Pruned


def test_a_saved_result_is_shown_as_markdown(tmp_path, capsys):
    cell = {"n_threads": 2, "n_prompt": 512, "n_gen": 0, "avg_ts": 10.0, "stddev_ts": 1.0}
    model = {"name": "float16, dense", "size_bytes": 1e6, "ppl": 20.0, "bench": [cell]}
    file = tmp_path / "demo.json"
    file.write_text(json.dumps({"models": [model]}))
    demo_module.demo(show=file)
    assert capsys.readouterr().out.splitlines()[-1].split("|")[1:-1] == [
        *(" float16, dense ", " 1.0 ", "      20.00 ", " 10 ± 1 ")
    ]


def test_the_rows_are_dense_healed_and_one_that_is_pruned_now(tmp_path, monkeypatch):
    made = []
    monkeypatch.setattr(demo_module, "write_text", lambda name: made.append(name))
    monkeypatch.setattr(demo_module, "make", made.extend)
    monkeypatch.setattr(demo_module, "measure", lambda rows, *_: made.append(rows))
    monkeypatch.setattr(demo_module, "as_json", lambda rows, settings, took: {"secs": took})
    monkeypatch.setattr(demo_module, "write_result", lambda file, result: made.append(file))
    monkeypatch.setattr(demo_module, "print_result", lambda result, caption: None)
    demo_module.demo(out=tmp_path, samples=3)
    text, *rows, measured, file = made
    assert (text, file.name) == ("mamba-19m-n2-int4", "demo.json")
    assert measured == rows
    assert [type(row.source) for row in rows] == [
        Bundled,
        Pruned,
        Bundled,
        Bundled,
        Bundled,
        Pruned,
    ]
    one_shot = rows[-1].source.recipe
    assert (one_shot.removed, one_shot.dtype, one_shot.samples) == (2, "int4", 3)
    assert rows[1].source.recipe.method == "magnitude"  # nothing to calibrate: rounded to nearest
