"""What a latency table predicts, beside what was measured."""

from benchmarks.latency import errors_table, predict
from tvm_c4n.checkpoint import open_checkpoint
from tvm_c4n.model.families import describe_model
from tvm_c4n.pruning.allocation.latency import LatencyTable, Rest, Workload


def test_a_prediction_is_the_sum_of_the_layers_and_the_rest(small_model):
    """There are two layers with four projections, and a head that a prompt does not need."""
    config = describe_model(open_checkpoint(small_model).config)
    secs = {"min": 1.0, "median": 1.0, "max": 1.0}
    both = {"seconds": secs, "prompt_seconds": secs | {"min": 0.5, "median": 0.5}}
    shapes = {config.tensor_shapes()[name] for name in config.weights()}
    rows = [
        {"rows": r, "cols": c, "removed": 0, "dtype": "float16", "threads": 1, **both}
        for r, c in sorted(shapes)
    ]
    rest = {**Rest.sizes_of(config), "threads": 1, **both}
    content = {"format": 3, "target": {}, "emulated": False, "rows": rows, "rest": [rest]}
    table = LatencyTable.model_validate(content)
    assert predict(small_model, table, Workload(0, 128)) == 128 * (1 + 8 + 1)
    assert predict(small_model, table, Workload(512, 0)) == 512 * (0.5 + 4)
    assert predict(small_model, table, Workload(512, 128)) == 1280 + 2304


def test_errors_are_to_the_median_of_what_was_measured():
    one = {"model": "m", "predicted_ms": [1.1, 2.0, 3.1]}
    one |= {"generated_ns": [1e6, 9e6, 1e6], "prompt_ns": [2.5e6, 2.5e6, 2.4e6]}
    lines = errors_table([one]).splitlines()[2:]
    found = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    assert found == [
        ["m", "tg128", "1.10", "1.00", "+10.0 %"],
        ["m", "pp512", "2.00", "2.50", "-20.0 %"],
        ["m", "pp512+tg128", "3.10", "3.50", "-11.4 %"],
    ]
