"""Steps are counted to a total that is known from the start."""

from tvm_c4n.pruning import Budget, Recipe, prune
from tvm_c4n.pruning.steps import StepCounter


def test_skipped_steps_show_in_the_next_report():
    calls = []
    note = StepCounter(5, lambda *call: calls.append(call))
    note("one")
    note.skip(2)
    note("four", 2)
    assert calls == [("one", 1, 5), ("four", 5, 5)]
    StepCounter(1)("nobody listens")


def test_a_run_to_a_ratio_knows_its_total_from_the_first_step(small_model, words, tmp_path):
    calls = []
    prune(
        small_model,
        tmp_path / "out",
        Recipe(dtype="int8", samples=8, sample_tokens=32, scale_group=32),
        budget=Budget("ppl_ratio", 1.05),
        calibration=words,
        progress=lambda _, done, total: calls.append((done, total)),
    )
    totals = {total for _, total in calls}
    assert len(totals) == 1 and calls[-1] == (*totals, *totals)
    done = [count for count, _ in calls]
    assert done == sorted(set(done))
