"""What is done about a link that is slow?"""

from collections.abc import Sequence
from dataclasses import replace

from cordee.train.policy.links import DOUBT_STEPS, STEPS_LEAST, USUAL_STEPS, Found, Pair
from cordee.train.policy.pace import EVICT_GAIN, Late
from cordee.train.policy.rounds import Stray
from cordee.train.policy.standstill import Again, Apart, Out, Spare
from cordee.train.policy.ties import Ties
from cordee.train.policy.workers import Limits, Worker

MEMBERS = (0, 1, 2)
LIMITS = Limits(shards=6, workers=3)
COMPUTE_S, USUAL_S = 1.0, 0.1


def workers(ways: int = 1) -> dict[int, Worker]:
    return {number: Worker(number, 0.0, ways=ways) for number in MEMBERS}


def told(ties: Ties, pairs: Sequence[Pair]) -> str:
    """All pairs have measured their links."""
    said = ""
    for pair in pairs:
        said = ties.probed(pair, 1e6 if pair == (1, 2) else 400e6)
    return said


def slow(reduce_s: float, compute_s: float = COMPUTE_S, usual_s: float = USUAL_S) -> Ties:
    """Those of three members whose reductions have become slow, for the link of the last two is."""
    ties, now_s, probe = Ties(), 0.0, None
    for step in range(USUAL_STEPS + STEPS_LEAST):
        came_s = now_s + compute_s
        now_s = came_s + (usual_s if step < USUAL_STEPS else reduce_s)
        probe = ties.stepped(Late(0, 0.0, came_s), now_s, MEMBERS)
    assert probe is not None
    said = told(ties, probe.pairs)
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


def slightly() -> Ties:
    """Reductions take four times as long as usual, and far longer than all the rest."""
    return slow(4.0, compute_s=0.1, usual_s=1.0)


def test_shards_move_away_from_a_link_that_is_fast_enough_for_half_of_what_it_carries() -> None:
    exact = replace(LIMITS, exact=True)
    ties = slightly()
    found = ties.relief(workers(ways=2), exact)
    assert isinstance(found, Spare)
    assert found.workers == (1, 2)


def test_they_do_not_where_that_is_not_enough_or_nothing_is_saved_by_it() -> None:
    exact = replace(LIMITS, exact=True)
    assert isinstance(slow(20.0).relief(workers(ways=2), exact), Again)
    assert isinstance(slightly().relief(workers(ways=2), LIMITS), Again)


def test_where_they_have_moved_and_it_is_slow_nevertheless_the_next_thing_is_done() -> None:
    exact = replace(LIMITS, exact=True)
    ties = slightly()
    ties.relief(workers(ways=2), exact)
    now_s, probe = 1e6, None
    while probe is None:
        now_s += 4.0
        probe = ties.stepped(Late(0, 0.0, now_s - 3.9), now_s, MEMBERS)
    assert now_s == 1e6 + 4.0 * DOUBT_STEPS
    told(ties, probe.pairs)
    assert isinstance(ties.relief(workers(ways=2), exact), Again)


def test_members_whose_drift_allows_it_train_by_themselves_before_one_leaves() -> None:
    ties = slow(20.0)
    ties.strays = dict.fromkeys(MEMBERS, Stray(steps=50, size_bytes=5_000_000))
    found = ties.relief(workers(), LIMITS)
    assert isinstance(found, Apart)
    assert found.steps == 50


def test_one_leaves_where_the_link_needs_more_steps_than_their_drift_allows() -> None:
    ties = slow(20.0)
    ties.strays = dict.fromkeys(MEMBERS, Stray(steps=50, size_bytes=50_000_000))
    assert isinstance(ties.relief(workers(), LIMITS), Out)


def test_a_link_carries_what_reductions_have_sent_over_it_whatever_a_probe_beside_them_says() -> (
    None
):
    ties = slow(20.0)  # 60 MB in 20 s: three times what the probe says
    ties.strays = dict.fromkeys(MEMBERS, Stray(50, 50_000_000, gradient_bytes=90_000_000))
    assert isinstance(ties.relief(workers(), LIMITS), Apart)


def test_one_of_whom_nothing_is_known_does_not_train_by_itself() -> None:
    ties = slow(20.0)
    ties.strays = dict.fromkeys(MEMBERS[1:], Stray(steps=50, size_bytes=5_000_000))
    assert isinstance(ties.relief(workers(), LIMITS), Out)


def test_it_is_done_once() -> None:
    ties = slow(20.0)
    assert ties.relief(workers(), LIMITS) is not None
    assert ties.relief(workers(), LIMITS) is None


def test_where_no_link_stands_out_nothing_is_done() -> None:
    assert Ties(_slow=Found("all are slow")).relief(workers(ways=2), LIMITS) is None
