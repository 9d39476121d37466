"""Measure the best candidate and the default again, in turns, before one replaces the other."""

from __future__ import annotations

from collections.abc import Callable
from statistics import median

from tvm_c4n.errors import TuneError
from tvm_c4n.ops.spec import OpSpec
from tvm_c4n.tuning.duels import FAILURES, Decided, Duels
from tvm_c4n.tuning.meter import Built, Meter, last_line

TOGETHER = 3
"""Pairs that share a process: what it gets by chance, as where its stack begins, it keeps, and that
was a quarter of the time of one kernel."""


def fight(
    meter: Meter,
    duels: Duels,
    spec: OpSpec,
    candidate: Decided,
    default: Decided,
    after_pair: Callable[[], None],
) -> None:
    """Measure the pairs that a leg of a duel lacks; each is written at once.

    The two take turns at going first: what a device that gets slower does to one of them it does to
    the other as well. On this machine every few pairs have a process of their own.

    Raises
    ------
    TuneError
        The device does not run the default either, several times in a row.
    """
    duel, dead, ended = duels.begin(spec, candidate, default), 0, False
    with meter.built(spec, [dict(default), dict(candidate)]) as built:
        while not (ended or duel.complete):
            if len(duel.pairs) % TOGETHER == 0:
                meter.renew()
            turned = len(duel.pairs) % 2 == 1
            by_turn = [_seconds(meter, one) for one in (built[::-1] if turned else built)]
            (old, default_error), (new, _) = by_turn[::-1] if turned else by_turn
            if old is None:
                dead += 1
                if dead == FAILURES:
                    raise TuneError(
                        f"the default does not run any more ({default_error}): look after the "
                        "device, then run again; what was measured is kept"
                    )
                continue
            dead = 0
            if new is None:
                duel.failed += 1
            else:
                duel.pairs.append((old, new))
                ended = duel.between_legs
            duels.write()
            after_pair()


def _seconds(meter: Meter, one: Built) -> tuple[float | None, str]:
    """Return the median of a candidate's samples, or why there is none."""
    result = meter.again(one)
    if not result.run_secs:
        return None, last_line(result)
    return median(float(s) for s in result.run_secs), ""
