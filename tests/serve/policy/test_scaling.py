"""Does a pool grow at once when it must, and shrink only when it surely can?"""

from hypothesis import given
from hypothesis import strategies as st

from cordee.serve.policy.scaling import Candidate, Limits, Load, Scaler, needed, superfluous

LIMITS = Limits(min=1, max=5, requests=4, first_token_s=1.0, grow_s=10, shrink_s=60)


def test_it_grows_at_once_to_what_the_requests_need() -> None:
    scaler = Scaler(LIMITS, 1)
    assert scaler.wanted(Load(1, 10), 0) == 3
    assert "10 requests" in scaler.reason


def test_it_grows_no_further_until_what_was_started_can_count() -> None:
    scaler = Scaler(LIMITS, 1)
    late = Load(1, 2, first_token_s=3.0)
    assert [scaler.wanted(late, now) for now in (0, 5, 9.9, 10)] == [2, 2, 2, 3]
    assert "3.00 s" in scaler.reason


def test_a_full_cache_counts_like_many_requests() -> None:
    assert needed(Load(2, 1, cache_used=0.95), Limits(max=5), 2)[0] == 3
    assert needed(Load(2, 1, cache_used=0.79), Limits(max=5), 2)[0] == 2


def test_late_first_tokens_of_nobody_count_for_nothing() -> None:
    assert needed(Load(1, 0, first_token_s=9.0), LIMITS, 1)[0] == 1


def test_it_shrinks_only_when_fewer_were_enough_all_the_time() -> None:
    scaler = Scaler(LIMITS, 3)
    quiet, busy = Load(3, 1), Load(3, 12)
    for now in range(59):
        assert scaler.wanted(quiet, now) == 3
    assert scaler.wanted(busy, 59) == 3  # and the time begins anew
    assert [scaler.wanted(quiet, now) for now in (60, 100, 119)] == [3, 3, 3]
    assert scaler.wanted(quiet, 119.5) == 1
    assert "60 s" in scaler.reason


def test_a_load_at_the_edge_starts_and_ends_nothing_again_and_again() -> None:
    scaler = Scaler(LIMITS, 3)
    numbers = {scaler.wanted(Load(2, 8 + now % 2), now) for now in range(600)}
    assert numbers == {3}


@given(st.lists(st.tuples(st.integers(0, 99), st.floats(0, 1), st.floats(0, 30)), max_size=60))
def test_it_stays_within_its_limits(loads: list[tuple[int, float, float]]) -> None:
    scaler = Scaler(LIMITS, 2)
    for now, (requests, used, late) in enumerate(loads):
        load = Load(scaler.number, requests, used, late)
        assert LIMITS.min <= scaler.wanted(load, 7.0 * now) <= LIMITS.max


def test_those_end_that_do_nothing_yet_then_the_least_busy_then_the_youngest() -> None:
    made = [
        Candidate(0, True, 1),
        Candidate(1, True, 1),
        Candidate(2, True, 9),
        Candidate(3, False, 0),
    ]
    assert [one.number for one in superfluous(made, 3)] == [3, 1, 0]
