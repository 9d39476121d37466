"""Progress of work whose steps are known from the start."""

from tvm_c4n.pruning.steps import StepCounter


def test_steps_are_told_with_their_total():
    seen = []
    counter = StepCounter(10, lambda *call: seen.append(call))
    counter("layer 0")
    counter("layer 1", steps=3)
    assert seen == [("layer 0", 1, 10), ("layer 1", 4, 10)]


def test_skipped_steps_show_with_the_next_report():
    seen = []
    counter = StepCounter(10, lambda *call: seen.append(call))
    counter.skip(6)
    assert seen == []
    counter("layer 7")
    assert seen == [("layer 7", 7, 10)]


def test_without_a_callback_steps_are_counted():
    counter = StepCounter(2)
    counter("a")
    counter.skip(1)
    assert counter.done == 2
