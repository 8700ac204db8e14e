"""Are a gateway's decisions what an operator would want, in cases that are hard to bring about?"""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cordee.serve.policy.admission import Bucket, Queue, retry_after_s
from cordee.serve.policy.breaker import FAILURES, FIRST_PAUSE_S, Breaker
from cordee.serve.policy.canary import Agreement, Limits, Tally, decide, gates, interval
from cordee.serve.policy.failover import FAILURES_MOST, OTHERS, Signs, after_failure, blame, hangs
from cordee.serve.policy.hedging import BURST, ENOUGH, LATEST_S, Budget, Late
from cordee.serve.policy.routing import Candidate, Memory, pick, pieces, split
from cordee.serve.policy.warming import Peer, source


def test_a_prompt_goes_where_its_beginning_is_known() -> None:
    assert pick([Candidate("a", 3), Candidate("b", 3, known=5)]) == "b"


def test_but_not_where_much_more_waits() -> None:
    assert pick([Candidate("a", 0), Candidate("b", 9, known=5)]) == "a"
    assert pick([]) is None


def test_prompts_with_the_same_beginning_share_its_names() -> None:
    one, other = pieces(b"x" * 700 + b"a"), pieces(b"x" * 700 + b"b" * 300)
    assert one[:2] == other[:2]
    assert one[2] != other[2]
    memory = Memory()
    memory.see(one)
    assert (memory.known(one), memory.known(other)) == (3, 2)


def test_who_starts_takes_prefixes_from_who_has_seen_most() -> None:
    assert source([Peer("a", 3, 0), Peer("b", 9, 5), Peer("c", 9, 1)]) == Peer("c", 9, 1)
    assert source([Peer("a", 0, 0)]) is None
    assert source([]) is None


@given(st.lists(st.floats(0, 1), min_size=1, max_size=5), st.floats(0, 1, exclude_max=True))
def test_a_share_of_the_traffic_is_never_that_of_a_pool_without_any(
    shares: list[float], number: float
) -> None:
    named = [(f"p{i}", share) for i, share in enumerate(shares)]
    found = split(named, number)
    assert (found is None) == (sum(shares) == 0)
    assert found is None or dict(named)[found] > 0


def test_a_replica_that_fails_is_left_alone_then_tried_once() -> None:
    breaker = Breaker()
    for _ in range(FAILURES):
        assert breaker.allows(0)
        breaker.failed(0)
    for _ in range(50):
        breaker.failed(0)  # all that it had breaks off at once
    assert not breaker.allows(FIRST_PAUSE_S - 0.01)
    assert breaker.allows(FIRST_PAUSE_S)
    breaker.begin(FIRST_PAUSE_S)
    assert not breaker.allows(FIRST_PAUSE_S)
    breaker.succeeded()
    assert breaker.state(FIRST_PAUSE_S) == "closed"


def test_where_the_one_that_tries_goes_away_another_may_try() -> None:
    breaker = Breaker()
    for _ in range(FAILURES):
        breaker.failed(0)
    breaker.begin(FIRST_PAUSE_S)
    breaker.left()
    assert breaker.allows(FIRST_PAUSE_S)


@pytest.mark.parametrize(
    ("signs", "gone"),
    [
        (Signs(0.1, 0.1, 0.01, True), False),
        (Signs(0.9, 0.1, 0.01, True), True),
        (Signs(0.1, 2.0, 0.01, True), True),
        (Signs(0.1, 2.0, 0.01, False), False),
        (Signs(0.1, 5.0, 1.0, True), False),
        (Signs(0.9, 0.1, 0.01, True, longest_answer_s=0.5), False),
        (Signs(2.1, 0.1, 0.01, True, longest_answer_s=0.5), True),
        (Signs(5.1, 0.1, 0.01, True, longest_answer_s=9.0), True),
        (Signs(0.1, 2.0, 0.0, True, steps=0), False),
        (Signs(0.1, 10.1, 0.0, True, steps=0), True),
    ],
    ids=[
        *("well", "silent", "stuck", "idle", "slow but moving"),
        *("slow to answer", "silent for one that is slow", "silent for anybody"),
        *("makes its first step", "makes no first step"),
    ],
)
def test_a_replica_is_gone_when_it_gives_no_sign_of_life(signs: Signs, gone: bool) -> None:
    assert (hangs(signs) is not None) is gone


def test_an_engine_of_others_may_be_silent_longer_and_longer_without_a_step() -> None:
    assert hangs(Signs(0.9, 0.1, 0.01, True), OTHERS) is None
    assert hangs(Signs(1.1, 0.1, 0.01, True), OTHERS) is not None
    assert hangs(Signs(2.9, 0.1, 0.01, True, longest_answer_s=0.3), OTHERS) is None
    assert hangs(Signs(0.1, 9.9, 0.01, True), OTHERS) is None
    assert hangs(Signs(0.1, 10.1, 0.01, True), OTHERS) is not None


def test_a_request_goes_on_elsewhere_waits_or_is_given_up() -> None:
    plain = {"waited_s": 0.0, "patience_s": 10.0, "failures": FAILURES_MOST - 1}
    assert after_failure(others=2, **plain).kind == "elsewhere"
    assert after_failure(others=0, **plain).kind == "wait"
    assert after_failure(others=0, **{**plain, "waited_s": 11.0}).kind == "give-up"
    assert after_failure(others=2, **{**plain, "failures": FAILURES_MOST}).kind == "give-up"


def test_a_request_that_was_alone_has_the_blame_and_one_among_others_half_of_it() -> None:
    assert (blame(1), blame(40)) == (1.0, 0.5)


def test_a_bucket_gives_a_minutes_worth_and_fills_again() -> None:
    bucket = Bucket(60)
    assert all(bucket.take(1, 0.0) == 0 for _ in range(60))
    assert bucket.take(1, 0.0) == pytest.approx(1.0)
    assert bucket.take(1, 1.0) == 0


def test_the_queue_is_bounded_and_in_order() -> None:
    queue: Queue[str] = Queue(3)
    assert [queue.put(name, priority) for name, priority in (("a", 0), ("b", 5), ("c", 0))]
    assert not queue.put("d", 9)
    queue.remove("a")
    assert [queue.pop(), queue.pop(), queue.pop()] == ["b", "c", None]
    assert retry_after_s(100, 10) == 10
    assert retry_after_s(5, 0) == 1


def test_a_first_token_is_late_after_what_is_usual_and_some() -> None:
    late = Late(quantile=0.95, factor=2.0, least_s=0.05)
    assert late.after_s([0.1] * (ENOUGH - 1)) is None
    assert late.after_s([0.1] * ENOUGH) == pytest.approx(0.2)
    assert late.after_s([0.1] * 96 + [9.0] * 4) == pytest.approx(0.2)
    assert late.after_s([0.001] * ENOUGH) == 0.05
    assert late.after_s([60.0] * ENOUGH) == LATEST_S


def test_few_requests_are_asked_twice_however_many_are_late() -> None:
    budget = Budget(0.03)
    spent = 0
    for _ in range(10_000):
        budget.earn()
        spent += budget.spend()
    assert 299 <= spent <= 302
    for _ in range(10_000):
        budget.earn()
    assert sum(budget.spend() for _ in range(10_000)) == BURST


def tally(requests: int, errors: int = 0, first_s: float = 0.1) -> Tally:
    return Tally(requests, errors, [first_s] * requests, [0.02] * requests)


OLD = tally(200)


@pytest.mark.parametrize(
    ("new", "agreement", "verdict"),
    [
        (tally(100), Agreement(100, 100), "on"),
        (tally(5), Agreement(5, 5), "stay"),
        (tally(100), Agreement(100, 70), "back"),
        (tally(100, errors=20), Agreement(100, 100), "back"),
        (tally(100, first_s=1.0), Agreement(100, 100), "back"),
        (tally(100), Agreement(100, 93), "stay"),
    ],
    ids=["good", "too few", "other answers", "errors", "slow", "unsure"],
)
def test_a_move_goes_on_stays_or_goes_back(new: Tally, agreement: Agreement, verdict: str) -> None:
    assert decide(gates(OLD, new, agreement, Limits(), "canary")) == verdict


@given(st.integers(1, 1000), st.data())
def test_an_interval_holds_the_share_that_was_seen(of: int, data: st.DataObject) -> None:
    hits = data.draw(st.integers(0, of))
    low, high = interval(hits, of)
    assert 0 <= low <= hits / of + 1e-9
    assert hits / of - 1e-9 <= high <= 1
