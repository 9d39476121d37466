from dataclasses import replace
from pathlib import Path
from statistics import fmean, stdev

import numpy as np
import pytest

from tvm_c4n.errors import C4nError
from tvm_c4n.model.families import describe_model
from tvm_c4n.runtime import bench
from tvm_c4n.runtime.artifact import Artifact
from tvm_c4n.runtime.manifest import Manifest, Projection

HF = {
    "model_type": "mamba",
    "vocab_size": 32,
    "hidden_size": 8,
    "num_hidden_layers": 1,
    "state_size": 4,
    "conv_kernel": 4,
    "time_step_rank": 4,
}


def projection(rows, cols, removed, dtype):
    group = 64 if dtype.startswith("int") else 0
    return Projection(rows=rows, cols=cols, removed=removed, dtype=dtype, scale_group=group)


def manifest():
    layer = "backbone.layers.0.mixer."
    return Manifest(
        target="host",
        triple="x86_64-linux-gnu",
        isa="avx2",
        features=[],
        tvm="0.27.0",
        config=HF,
        projections={
            "backbone.embeddings.weight": projection(32, 8, 0, "float16"),
            layer + "in_proj.weight": projection(32, 8, 2, "int4"),
            layer + "x_proj.weight": projection(12, 16, 0, "int8"),
            layer + "dt_proj.weight": projection(16, 4, 0, "float16"),
            layer + "out_proj.weight": projection(8, 16, 3, "int4"),
        },
        schedules={},
        tensors=[],
        states=[],
        chunk=256,
        weight_bytes=2**20,
        library_sha256="0" * 64,
        weights_sha256="0" * 64,
    )


class Fake:
    """A model that writes down what it is asked for."""

    config = describe_model(HF)

    def __init__(self, name, log):
        self.artifact = Artifact(Path(name), manifest())
        self.name, self.log, self.threads = name, log, None

    def set_threads(self, threads):
        self.threads = threads

    def reset(self):
        self.log.append((self.name, self.threads, "reset", 0))

    def prefill(self, ids):
        assert ids[0] == 0
        assert max(ids) < 32
        self.log.append((self.name, self.threads, "pp", len(ids)))
        return np.zeros(32)

    def step(self, token):
        assert 0 <= token < 32
        self.log.append((self.name, self.threads, "tg", 1))
        return np.zeros(32)


@pytest.fixture
def log():
    return []


def run(log, **options):
    settings = {"threads": [1, 2], "n_prompt": 20, "n_gen": 3, "reps": 4, **options}
    return bench.measure([Fake("a", log), Fake("b", log)], **settings)


def visits(log):
    """The cells in the order of their measurements, warm-up included."""
    order = []
    for name, threads, what, count in log:
        if what == "reset":
            order.append([name, threads, "", 0])
        else:
            order[-1][2:] = [what, order[-1][3] + count]
    return [tuple(entry) for entry in order]


def test_every_cell_has_a_sample_per_round(log):
    cells = run(log)
    names = [(c.model.artifact.path.name, c.threads, c.test) for c in cells]
    assert names == [(m, t, test) for m in "ab" for t in (1, 2) for test in ("pp20", "tg3")]
    assert all(len(c.samples_ns) == 4 for c in cells)
    assert all(c.test_time.endswith("Z") for c in cells)


def test_rounds_go_through_all_cells_and_start_one_later_each_time(log):
    run(log)
    order = visits(log)
    cells = 8
    warm, rounds = order[:cells], [order[i : i + cells] for i in range(cells, len(order), cells)]
    assert len(rounds) == 4
    for number, visited in enumerate(rounds):
        assert visited == warm[number:] + warm[:number]


def test_the_warm_up_takes_few_steps_only(log):
    run(log, n_gen=100, reps=1)
    warm = [entry for entry in visits(log)[:8] if entry[2] == "tg"]
    assert {entry[3] for entry in warm} == {bench.WARMUP_TOKENS}


def test_a_test_of_no_tokens_is_left_out(log):
    assert {c.test for c in run(log, n_prompt=0)} == {"tg3"}
    assert {c.test for c in run(log, n_gen=0)} == {"pp20"}


@pytest.mark.parametrize(
    "options",
    [{"n_prompt": 0, "n_gen": 0}, {"reps": 0}, {"threads": []}, {"n_gen": -1}],
)
def test_nothing_to_measure_is_an_error(log, options):
    with pytest.raises(C4nError, match="nothing to measure"):
        run(log, **options)


def test_a_test_longer_than_the_context_is_refused_before_any_other(log):
    short = Fake("short", log)
    short.config = replace(Fake.config, context=64)
    said = "short reads 64 tokens at most, not 65; use --n-prompt and --n-gen up to 64"
    with pytest.raises(C4nError, match=said):
        bench.measure([Fake("a", log), short], threads=[1], n_prompt=65, n_gen=3)
    assert not log


def test_rates_are_averaged_not_durations():
    cell = bench.Cell(Fake("a", []), 1, 0, 10, samples_ns=[10**9, 2 * 10**9])
    assert cell.samples_ts == [10, 5]
    assert cell.avg_ts == fmean([10, 5])
    assert cell.stddev_ts == stdev([10, 5])
    cell.samples_ns.pop()
    assert cell.stddev_ts == 0


def test_progress_ends_at_its_total(log):
    seen = []
    run(log, progress=lambda *call: seen.append(call))
    assert [done for _, done, _ in seen] == list(range(1, 41))
    assert {total for _, _, total in seen} == {40}


def test_json_has_the_field_names_of_llama_bench():
    cell = bench.Cell(Fake("dir/model", []), 2, 0, 10, samples_ns=[10**9, 2 * 10**9])
    found = bench.as_json(cell)
    # The names that scripts for llama-bench read.
    names = (
        "cpu_info gpu_info backends model_filename model_type model_size model_n_params n_threads "
        "n_prompt n_gen test_time avg_ns stddev_ns avg_ts stddev_ts samples_ns samples_ts"
    )
    assert set(names.split()) <= set(found)
    assert found["model_filename"] == "dir/model"
    assert found["avg_ns"] == 1_500_000_000
    assert found["removed"]["in_proj"] == [2]
    assert found["removed"]["out_proj"] == [3]
    assert found["dtype"] == "int4"


def test_markdown_is_a_table_and_what_each_model_is():
    fake = Fake("dir/model", [])
    cells = [
        bench.Cell(fake, 2, 512, 0, samples_ns=[10**9, 10**9]),
        bench.Cell(fake, 2, 0, 128, samples_ns=[10**9, 10**9]),
    ]
    assert bench.as_markdown(cells).splitlines() == [
        "| model |    size | threads |  test |           t/s |",
        "| ----- | ------: | ------: | ----: | ------------: |",
        "| model | 1.05 MB |       2 | pp512 | 512.00 ± 0.00 |",
        "| model | 1.05 MB |       2 | tg128 | 128.00 ± 0.00 |",
        "",
        "model: mamba 0.0M C4n n=2..3 int4, TVM avx2",
    ]


@pytest.mark.parametrize(
    ("cores", "note"),
    [
        ([0.0, 0.1], ""),
        ([0.0, 0.9, 0.3], "other programs took up to 0.9 cores in 2 of 3 rounds: "),
    ],
)
def test_cores_that_were_taken_are_said(log, monkeypatch, cores, note):
    class Others:
        taken = iter(cores)

        def __enter__(self):
            self.cores = next(self.taken)
            return self

        def __exit__(self, *_error):
            pass

    monkeypatch.setattr(bench, "CpuContention", Others)
    cells = run(log, reps=len(cores))
    assert all(cell.others_cores == cores for cell in cells)
    assert bench.contention_note(cells).startswith(note)
    assert bool(bench.contention_note(cells)) == bool(note)
    assert bench.as_json(cells[0])["others_cores"] == cores
