"""Each expert is pruned by the tokens that it was given."""

import pytest
import torch

from tvm_c4n.pruning.calibration.experts import PRIOR_SHARE, expert_grams, prune_experts
from tvm_c4n.pruning.method.matrix import prune_matrix, relative_output_error
from tvm_c4n.pruning.recipe import Choice
from tvm_c4n.torch_blocks import Routing

TOKENS, COLS, EXPERTS = 40, 8, 4
GENERATOR = torch.Generator().manual_seed(0)
# Nobody chooses the last expert.
LOGITS = torch.randn(TOKENS, EXPERTS, generator=GENERATOR) + torch.tensor([2.0, 1.0, 0.0, -99.0])
ROUTING = Routing.of(LOGITS, 2)


class Standing:
    """A stream that stands at a projection of experts."""

    def __init__(self, inputs):
        self.inputs, self.routing = inputs, ROUTING


def test_pairs_are_ordered_by_expert():
    assert sum(ROUTING.counts) == 2 * TOKENS
    assert ROUTING.counts[3] == 0
    for expert in range(EXPERTS):
        mine = (LOGITS.topk(2).indices == expert).any(1).nonzero()[:, 0]
        found = ROUTING.of_expert(torch.arange(TOKENS).view(2, -1, 1), expert)[:, 0]
        assert torch.equal(found, mine)
    sums = torch.zeros(TOKENS).index_add(0, ROUTING.tokens, ROUTING.shares)
    torch.testing.assert_close(sums, torch.ones(TOKENS))


@pytest.mark.parametrize("weighted", [False, True])
def test_an_expert_that_nobody_chose_has_the_average(weighted):
    x = torch.randn(2, TOKENS // 2, COLS, generator=GENERATOR)
    weights = torch.rand(2, TOKENS // 2, 1, generator=GENERATOR) if weighted else None
    scaled = (x if weights is None else x * weights.sqrt()).flatten(0, 1)
    found = list(expert_grams([Standing(x)], None if weights is None else [weights]))
    prior = scaled.T @ scaled / TOKENS * PRIOR_SHARE * COLS
    for expert, gram in enumerate(found):
        mine = ROUTING.of_expert(scaled[None], expert)
        torch.testing.assert_close(gram, mine.T @ mine + prior)


def test_channels_of_their_own_have_the_mean_of_their_squares():
    y = torch.randn(2 * TOKENS, COLS, generator=GENERATOR)
    *_, last = expert_grams([Standing(y)])
    mean = float(y.square().mean())
    torch.testing.assert_close(last, torch.eye(COLS) * mean * PRIOR_SHARE * COLS)


@pytest.mark.parametrize("each", [(2, 2, 2, 2), (2, 1, 0, 2)])
def test_the_matrices_are_pruned_one_by_one(each):
    weight = torch.randn(EXPERTS * 6, COLS, generator=GENERATOR)
    grams = list(expert_grams([Standing(torch.randn(1, TOKENS, COLS, generator=GENERATOR))]))

    choices = [Choice(n, "int8") for n in each]
    pruned = prune_experts(weight, choices, grams, prune_matrix)
    found = pruned.joined()
    assert found.weight.removed == (2 if each == (2, 2, 2, 2) else each)
    parts = zip(weight.chunk(EXPERTS), grams, choices, strict=True)
    alone = [prune_matrix(*part) for part in parts]
    assert pruned.errors().fitted == [one.output_error for one in alone]
    dense = torch.from_numpy(found.weight.dense())
    assert torch.equal(dense, torch.cat([torch.from_numpy(p.weight.dense()) for p in alone]))
    whole = torch.block_diag(*grams)
    # One matrix whose columns are those of all experts has the errors of all.
    wide = [torch.block_diag(*w.chunk(EXPERTS)) for w in (weight, dense)]
    assert found.output_error == pytest.approx(relative_output_error(*wide, whole), rel=1e-4)
    assert found.masked_error > found.output_error > 0
