"""What is done about a link that is slow?"""

from cordee.train.policy.links import STEPS_LEAST, USUAL_STEPS, Found
from cordee.train.policy.pace import EVICT_GAIN, Late
from cordee.train.policy.standstill import Again, Out
from cordee.train.policy.ties import Ties
from cordee.train.policy.workers import Limits, Worker

MEMBERS = (0, 1, 2)
LIMITS = Limits(shards=6, workers=3)
COMPUTE_S, USUAL_S = 1.0, 0.1


def workers(ways: int = 1) -> dict[int, Worker]:
    return {number: Worker(number, 0.0, ways=ways) for number in MEMBERS}


def slow(reduce_s: float) -> Ties:
    """Those of three members whose reductions have become slow, for the link of the last two is."""
    ties, now_s, probe = Ties(), 0.0, None
    for step in range(USUAL_STEPS + STEPS_LEAST):
        came_s = now_s + COMPUTE_S
        now_s = came_s + (USUAL_S if step < USUAL_STEPS else reduce_s)
        probe = ties.stepped(Late(0, 0.0, came_s), now_s, MEMBERS)
    assert probe is not None
    for pair in probe.pairs:
        said = ties.probed(pair, 1e6 if pair == (1, 2) else 400e6)
    assert said.startswith("the link between workers 1 and 2 is slow")
    return ties


def test_the_ends_use_other_addresses_where_they_have_any() -> None:
    found = slow(20.0).relief(workers(ways=2), LIMITS)
    assert isinstance(found, Again)
    assert (found.ends, found.down) == ((1, 2), False)


def test_without_another_address_an_end_leaves_if_the_others_are_far_faster() -> None:
    found = slow(20.0).relief(workers(), LIMITS)
    assert isinstance(found, Out)
    assert found.workers == (2,)


def test_where_steps_would_not_be_far_shorter_nobody_leaves() -> None:
    shorter = COMPUTE_S * 3 / 2 + USUAL_S
    assert slow(EVICT_GAIN * shorter - COMPUTE_S - 0.1).relief(workers(), LIMITS) is None
    assert slow(EVICT_GAIN * shorter - COMPUTE_S + 0.1).relief(workers(), LIMITS) is not None


def test_nobody_leaves_where_all_are_needed() -> None:
    needed = Limits(shards=6, workers=3, least=3)
    assert slow(20.0).relief(workers(), needed) is None


def test_it_is_done_once() -> None:
    ties = slow(20.0)
    assert ties.relief(workers(), LIMITS) is not None
    assert ties.relief(workers(), LIMITS) is None


def test_where_no_link_stands_out_nothing_is_done() -> None:
    assert Ties(_slow=Found("all are slow")).relief(workers(ways=2), LIMITS) is None
