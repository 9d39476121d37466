"""Turns: prompts are read part by part beside answers, and kept states are gone on from."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from time import monotonic

import pytest

from tvm_c4n.runtime.engine import Engine
from tvm_c4n.runtime.prefix_cache import PrefixCache
from tvm_c4n.runtime.sampling import SamplingParams
from tvm_c4n.server.api_error import ApiError
from tvm_c4n.server.job import Job
from tvm_c4n.server.lane import Lane
from tvm_c4n.server.limits import Limits
from tvm_c4n.server.mailbox import Mailbox, Piece
from tvm_c4n.server.metrics import Metrics
from tvm_c4n.server.service import slots_of


@pytest.fixture(scope="module")
def engine(talking) -> Engine:
    return Engine.load(talking, threads=1)


@pytest.fixture(autouse=True)
def loop() -> Iterator[None]:
    """Mailboxes belong to a loop, which here never has to run."""
    made = asyncio.new_event_loop()
    asyncio.set_event_loop(made)
    yield
    made.close()


class Box(Mailbox):
    """A mailbox that keeps what it gets."""

    def __init__(self) -> None:
        self.pieces: list[Piece] = []
        self.error: ApiError | None = None
        self.behind = self.left = False

    def put(self, piece: Piece) -> None:
        self.pieces.append(piece)

    def fail(self, error: ApiError) -> None:
        self.error = error

    def pause(self) -> bool:
        return self.behind

    @property
    def text(self) -> str:
        return "".join(piece.text for piece in self.pieces)

    @property
    def ended(self) -> bool:
        return any(piece.finish for piece in self.pieces)


def job(ids: list[int], limit: int = 8, n: int = 1, secs: float = 60) -> Job:
    return Job(ids, range(n), SamplingParams(), limit, Box(), monotonic() + secs)


def lane_of(engine: Engine, slots: int = 2, cache_bytes: int = 1 << 24) -> Lane:
    limits = Limits(slots=slots)
    return Lane(engine, slots_of(engine, slots), PrefixCache(cache_bytes), limits, Metrics())


def run(lane: Lane, *jobs: Job) -> None:
    for one in jobs:
        lane.add(one)
    while not lane.empty:
        lane.turn()


def test_answers_beside_each_other_are_those_alone(engine: Engine) -> None:
    prompts = [[0, 1, 2], [0, 3], [0, 4, 5, 6], [0, 7], [0, 8, 9]]
    alone, together = ([job(ids, 5 + len(ids)) for ids in prompts] for _ in range(2))
    lane = lane_of(engine)
    for one in alone:
        run(lane, one)
    run(lane_of(engine), *together)
    assert [one.mailbox.text for one in together] == [one.mailbox.text for one in alone]
    assert all(one.mailbox.ended for one in together)


def test_a_long_prompt_holds_up_no_answer(engine: Engine) -> None:
    lane = lane_of(engine)
    short, long = job([0, 1], 200), job([0, *([5, 6, 7] * 3000)], 3)
    lane.add(short)
    lane.turn()
    lane.add(long)
    grew = []
    while not long.mailbox.pieces:
        before = len(short.mailbox.pieces)
        lane.turn()
        grew.append(len(short.mailbox.pieces) - before)
    # Between any two parts of the long prompt the short answer got a token.
    assert len(grew) > 2
    assert set(grew) <= {1} if not short.mailbox.ended else grew[0] == 1
    run(lane)


def test_two_long_prompts_take_turns(engine: Engine) -> None:
    lane = lane_of(engine)
    first, second = (job([0, *([one] * 9000)], 1) for one in (5, 6))
    short = job([0, 1], 1)
    for one in (first, second):
        lane.add(one)
    lane.turn()
    lane.turn()
    lane.turn()
    assert not first.mailbox.pieces
    run(lane, short)
    assert first.mailbox.ended and second.mailbox.ended and short.mailbox.ended


def test_the_next_turn_of_a_chat_reads_only_what_is_new(engine: Engine) -> None:
    lane = lane_of(engine)
    first = job([0, 1, 2, 3], 6)
    run(lane, first)
    assert first.cached == 0
    answer = lane_answer(engine, first.ids, 6)
    second = job([*first.ids, *answer, 4, 5], 6)
    run(lane, second)
    # The answer's last token was drawn and never read.
    assert second.cached == 4 + 5
    fresh = job(second.ids, 6)
    run(lane_of(engine), fresh)
    assert second.mailbox.text == fresh.mailbox.text
    again = job(second.ids, 6)
    run(lane, again)
    assert again.cached == len(second.ids)
    assert again.mailbox.text == fresh.mailbox.text


def lane_answer(engine: Engine, ids: list[int], limit: int) -> list[int]:
    from tvm_c4n.runtime.generate import generate_tokens

    return list(generate_tokens(engine, ids, limit))


def test_what_prompts_have_in_common_is_read_twice_and_then_kept(engine: Engine) -> None:
    lane = lane_of(engine)
    common = [0, *([9, 8, 7] * 40)]
    jobs = [job([*common, one, 3], 2) for one in (20, 21, 22)]
    for one in jobs:
        run(lane, one)
    assert [one.cached for one in jobs] == [0, 0, len(common)]


def test_answers_of_one_prompt_share_its_reading(engine: Engine) -> None:
    lane = lane_of(engine)
    several = job([0, 1, 2], 4, n=5)
    run(lane, several)
    texts = {index: "" for index in range(5)}
    for piece in several.mailbox.pieces:
        texts[piece.choice] += piece.text
    assert len(set(texts.values())) == 1  # greedily they are all the same
    assert sum(piece.finish is not None for piece in several.mailbox.pieces) == 5


def test_a_reader_who_is_behind_gives_up_his_slot(engine: Engine) -> None:
    lane = lane_of(engine, slots=1)
    slow, other = job([0, 1], 6), job([0, 2], 6)
    lane.add(slow)
    lane.turn()
    slow.mailbox.behind = True
    lane.add(other)
    for _ in range(20):
        lane.turn()
    assert other.mailbox.ended
    assert not slow.mailbox.ended
    assert lane.idle and not lane.empty
    slow.mailbox.behind = False
    run(lane)
    alone = job([0, 1], 6)
    run(lane_of(engine), alone)
    assert slow.mailbox.text == alone.mailbox.text


def test_time_that_is_over_ends_an_answer_and_refuses_a_prompt(engine: Engine) -> None:
    lane = lane_of(engine, slots=1)
    late, waiting = job([0, 1], 1000), job([0, 2], 10)
    lane.add(late)
    lane.turn()
    lane.add(waiting)
    late.deadline = waiting.deadline = monotonic()
    run(lane)
    assert [piece.finish for piece in late.mailbox.pieces if piece.finish] == ["length"]
    assert waiting.mailbox.error is not None
    assert waiting.mailbox.error.status == 503
    assert not waiting.mailbox.pieces


def test_a_failure_reaches_all_jobs(engine: Engine) -> None:
    lane = lane_of(engine, slots=1)
    jobs = [job([0, one], 50) for one in (1, 2, 3)]
    for one in jobs:
        lane.add(one)
        lane.turn()
    lane.fail(ApiError(500, "broken"))
    assert all(str(one.mailbox.error) == "broken" for one in jobs)
    assert lane.empty
    after = job([0, 1], 3)
    run(lane, after)
    assert after.mailbox.ended
