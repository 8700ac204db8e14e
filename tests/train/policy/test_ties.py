"""What is done about a link that is slow?"""

from collections.abc import Collection, Sequence

from cordee.train.policy.links import STEPS_LEAST, USUAL_STEPS, Found, Pair
from cordee.train.policy.pace import EVICT_GAIN, Late
from cordee.train.policy.rounds import Stray
from cordee.train.policy.standstill import Again, Apart, Around, Out
from cordee.train.policy.ties import Ties
from cordee.train.policy.workers import Limits, Worker

MEMBERS = (0, 1, 2)
LIMITS = Limits(shards=6, workers=3)
COMPUTE_S, USUAL_S = 1.0, 0.1
ONE: tuple[Pair, ...] = ((1, 2),)
ALL_OF_TWO: tuple[Pair, ...] = ((0, 2), (1, 2))


def workers(ways: int = 1) -> dict[int, Worker]:
    return {number: Worker(number, 0.0, ways=ways) for number in MEMBERS}


def told(ties: Ties, pairs: Sequence[Pair], slow: Collection[Pair]) -> str:
    """All pairs have measured their links."""
    said = ""
    for pair in pairs:
        said = ties.probed(pair, 1e6 if pair in slow else 400e6)
    return said


def slow(reduce_s: float, links: Collection[Pair] = ALL_OF_TWO) -> Ties:
    """Those of three members whose reductions have become slow, for these links are."""
    ties, now_s, probe = Ties(), 0.0, None
    for step in range(USUAL_STEPS + STEPS_LEAST):
        came_s = now_s + COMPUTE_S
        now_s = came_s + (USUAL_S if step < USUAL_STEPS else reduce_s)
        probe = ties.stepped(Late(0, 0.0, came_s), now_s, MEMBERS)
    assert probe is not None
    assert "slow" in told(ties, probe.pairs, links)
    return ties


def test_the_ends_use_other_addresses_where_they_have_any() -> None:
    found = slow(20.0, ONE).relief(workers(ways=2), LIMITS)
    assert isinstance(found, Again)
    assert (found.ends, found.down) == ((1, 2), False)


def test_one_whose_links_are_all_slow_leaves_if_the_others_are_far_faster() -> None:
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


def test_without_another_address_nothing_goes_over_the_link_any_more() -> None:
    ties = slow(20.0, ONE)
    assert isinstance(ties.relief(workers(), LIMITS), Around)
    assert ties.links.adders(MEMBERS) == (0,)
    assert ties.links.fellows(1, MEMBERS) == (0, 1)
    assert ties.links.fellows(0, MEMBERS) == MEMBERS


def test_that_lasts_as_long_as_both_ends_are_members() -> None:
    ties = slow(20.0, ONE)
    ties.relief(workers(), LIMITS)
    ties.changed((0, 1, 2, 3))
    assert ties.links.adders((0, 1, 2, 3)) == (0, 3)
    ties.changed((0, 1, 3))
    assert ties.links.adders((0, 1, 3)) == ()
    assert ties.links.fellows(1, (0, 1, 3)) == (0, 1, 3)


def test_it_takes_a_third_member() -> None:
    found = Found("", (0, 1), 1.0, 1e6, COMPUTE_S, 20.0, USUAL_S)
    assert found.around(2) is None
    assert found.around(3) == (0, 1)


def test_it_must_make_steps_clearly_shorter() -> None:
    for reduce_s, shorter in ((2.0, True), (0.4, False)):
        found = Found("", (0, 1), 1.0, 1e6, COMPUTE_S, reduce_s, USUAL_S)
        assert (found.around(4) is not None) is shorter


def test_a_link_over_which_nothing_goes_is_not_measured_and_another_time_is_usual() -> None:
    ties = slow(20.0, ONE)
    ties.relief(workers(), LIMITS)
    ties.changed(MEMBERS)
    now_s, probe, steps = 1e6, None, 0
    while probe is None:
        reduce_s, steps = (1.0 if steps < USUAL_STEPS else 4.0), steps + 1
        now_s += COMPUTE_S + reduce_s
        probe = ties.stepped(Late(0, 0.0, now_s - reduce_s), now_s, MEMBERS)
    assert steps == USUAL_STEPS + STEPS_LEAST
    assert probe.pairs == ((0, 1), (0, 2))


def test_members_whose_drift_allows_it_train_by_themselves_before_one_leaves() -> None:
    ties = slow(20.0)
    ties.strays = dict.fromkeys(MEMBERS, Stray(steps=50, size_bytes=5_000_000))
    found = ties.relief(workers(), LIMITS)
    assert isinstance(found, Apart)
    assert found.steps == 50


def test_one_leaves_where_the_link_needs_far_more_steps_than_their_drift_asks_for() -> None:
    ties = slow(20.0)
    ties.strays = dict.fromkeys(MEMBERS, Stray(steps=10, size_bytes=50_000_000))
    assert isinstance(ties.relief(workers(), LIMITS), Out)


def test_a_link_carries_what_reductions_have_sent_over_it_whatever_a_probe_beside_them_says() -> (
    None
):
    ties = slow(20.0)  # 60 MB in 20 s: three times what the probe says
    ties.strays = dict.fromkeys(MEMBERS, Stray(10, 50_000_000, gradient_bytes=90_000_000))
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
