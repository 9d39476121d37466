"""CallGraph: who reads a result, itself or through views, and what can be dropped."""

from __future__ import annotations

from typing import Any

from relay_passes.analysis import Kind
from relay_passes.call_graph import CallGraph, CallNode
from tvm_c4n._tvm import IRModule, name_of, relax

OP = relax.op
T = relax.transform


def graph(body: Any) -> tuple[CallGraph, relax.DataflowBlock, IRModule]:
    """The kernels of a function of one tensor (5, 8), not fused."""
    bb = relax.BlockBuilder()
    x = relax.Var("x", relax.TensorType((5, 8), "float32"))
    with bb.function("main", [x]):
        with bb.dataflow():
            out = bb.emit_output(body(bb.emit, x))
        bb.emit_func_output(out)
    mod = T.LegalizeOps()(bb.get())
    (block,) = mod["main"].body.blocks
    return CallGraph(mod, block, {}), block, mod


def names(calls: list[Any]) -> list[str]:
    return [name_of(call.gvar) for call in calls]


def two_readers(emit: Any, x: Any) -> Any:
    """A transpose whose view has two consumers, and which has a third itself."""
    turned = emit(OP.permute_dims(x))
    view = emit(OP.reshape(turned, (8, 5, 1)))
    both = emit(OP.add(emit(OP.exp(view)), emit(OP.sigmoid(view))))
    return OP.add(both, emit(OP.sum(turned)))


def test_kernels_have_a_class_and_a_producer() -> None:
    calls, _, _ = graph(two_readers)
    (turned,), (view,) = calls.of_kind(Kind.LAYOUT), calls.of_kind(Kind.VIEW)
    assert names([turned, view]) == ["transpose", "reshape"]
    assert calls.producer(view.inputs[0]) is turned
    assert calls.producer(turned.inputs[0]) is None  # an argument of the function


def test_consumers_are_found_through_views() -> None:
    calls, _, _ = graph(two_readers)
    (turned,) = calls.of_kind(Kind.LAYOUT)
    reach = calls.consumers_through_views(turned)
    found = {name_of(c.gvar): names(views) for c, views in reach.consumers}
    assert found == {"sum": [], "tir_exp": ["reshape"], "tir_sigmoid": ["reshape"]}
    assert not reach.opaque


def test_a_view_that_is_returned_is_read_by_others() -> None:
    calls, _, _ = graph(
        lambda emit, x: OP.reshape(emit(OP.permute_dims(emit(OP.exp(x)))), (8, 5, 1))
    )
    (turned,) = calls.of_kind(Kind.LAYOUT)
    reach = calls.consumers_through_views(turned)
    assert reach.opaque
    assert reach.consumers == []


def test_only_what_nothing_reads_is_dropped() -> None:
    calls, _, _ = graph(two_readers)
    (turned,), (view,) = calls.of_kind(Kind.LAYOUT), calls.of_kind(Kind.VIEW)
    calls.drop_unread([turned, view])
    assert turned in calls.nodes
    assert view in calls.nodes
    for consumer, _ in calls.consumers_through_views(turned).consumers:
        consumer.become(CallNode(consumer.var, consumer.gvar, [], consumer.out, consumer.kind))
    calls.drop_unread([turned, view, view])
    assert turned not in calls.nodes
    assert view not in calls.nodes


def test_a_graph_that_nobody_changed_is_the_block() -> None:
    calls, block, mod = graph(two_readers)
    again = calls.block(relax.BlockBuilder(mod))
    assert [str(b) for b in again.bindings] == [str(b) for b in block.bindings]
