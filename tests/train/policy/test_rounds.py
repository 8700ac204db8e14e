"""When do workers with weak links exchange what?"""

from dataclasses import replace

import pytest

from cordee.core.errors import UsageError
from cordee.train.policy.rounds import (
    FAR_TIMES,
    Cadence,
    Said,
    Stray,
    every_next,
    fragment_of,
    steps_apart,
    steps_between,
    weights,
)

CADENCE = Cadence(fragments=4, steps=16, least=8, most=64, apart=0.1)
SAID = Said(fragment=0, shards=4, apart=0.1, exchange_s=0.1, step_s=1.0, loss=2.0)


def test_fragments_take_turns() -> None:
    assert [fragment_of(number, CADENCE) for number in range(6)] == [0, 1, 2, 3, 0, 1]


def test_workers_as_far_apart_as_wanted_keep_their_cadence() -> None:
    assert every_next(CADENCE, 4, [SAID, SAID]) == 4


def test_workers_that_drift_apart_meet_sooner_and_others_later() -> None:
    far, near = replace(SAID, apart=0.4), replace(SAID, apart=0.01)
    assert every_next(CADENCE, 8, [far, far]) < 8
    assert every_next(CADENCE, 8, [near, near]) > 8


def test_the_cadence_stays_within_its_bounds() -> None:
    far, near = replace(SAID, apart=9.0), replace(SAID, apart=0.001)
    slow, fast = 4, 4
    for _ in range(50):
        slow, fast = every_next(CADENCE, slow, [near, near]), every_next(CADENCE, fast, [far, far])
    assert (fast * CADENCE.fragments, slow * CADENCE.fragments) == (8, 64)


def test_a_step_more_or_less_in_a_round_is_possible_however_few_there_are() -> None:
    cadence = replace(CADENCE, steps=8, least=1)
    far, near = replace(SAID, apart=0.2), replace(SAID, apart=0.05)
    assert [every_next(cadence, every, [near]) for every in (1, 2, 3)] == [2, 3, 4]
    assert [every_next(cadence, every, [far]) for every in (2, 3, 4)] == [1, 2, 3]


def test_the_cadence_stays_at_the_step_that_is_nearest_to_what_the_drift_asks_for() -> None:
    """A step of its own takes a worker as far as the one before."""
    found = [2]
    for _ in range(6):
        found.append(every_next(CADENCE, found[-1], [replace(SAID, apart=0.1 * found[-1] / 5.2)]))
    assert found == [2, 3, 4, 5, 5, 5, 5]


def test_many_steps_change_by_a_quarter_at_most() -> None:
    far, near = replace(SAID, apart=9.0), replace(SAID, apart=0.001)
    assert every_next(CADENCE, 12, [near]) == 15
    assert every_next(CADENCE, 15, [far]) == 12


def test_a_link_that_cannot_carry_it_makes_workers_meet_later_however_they_drift() -> None:
    far = replace(SAID, apart=9.0)
    slow = replace(far, exchange_s=8.0)
    assert every_next(CADENCE, 4, [far, slow]) == 10  # 8 s of exchange in 10 s of steps


def test_all_decide_by_what_the_first_has_found() -> None:
    newcomer = replace(SAID, apart=0.0)
    assert every_next(CADENCE, 8, [newcomer, replace(SAID, apart=0.4)]) < 8
    assert every_next(CADENCE, 8, [newcomer, newcomer]) == 8


def test_members_weigh_what_they_have_computed() -> None:
    assert weights([SAID, replace(SAID, shards=12)]) == [0.25, 0.75]
    assert weights([replace(SAID, shards=0)] * 2) == [0.0, 0.0]


@pytest.mark.parametrize(
    "wrong",
    [{"fragments": 0}, {"warmup": -1}, {"steps": 4}, {"apart": 0.0}, {"momentum": 1.0}],
)
def test_a_cadence_that_makes_no_sense_is_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(UsageError):
        replace(CADENCE, **wrong)  # type: ignore[arg-type]


def test_steps_apart_are_as_many_as_the_drift_of_one_asks_for() -> None:
    cadence = Cadence(apart=0.01, least=8, most=256)
    assert steps_apart(cadence, 0.0003) == 33
    assert steps_apart(cadence, 0.00001) == 256
    assert steps_apart(cadence, 0.0016) == 6


def test_who_strays_too_far_before_the_first_exchange_does_not_train_by_itself() -> None:
    cadence = Cadence(apart=0.01, least=8)
    assert steps_apart(cadence, FAR_TIMES * 0.01 / 7) == 0


def test_workers_exchange_as_often_as_their_drift_asks_for_or_the_link_allows() -> None:
    stray = Stray(steps=20, size_bytes=1_000_000)
    assert steps_between([stray, replace(stray, steps=30)], 1e6, 1.0) == 20
    assert steps_between([stray], 1e6 / 32, 1.0) == 40  # in use for 80 % of the time
    assert steps_between([stray], 1e6 / 32 / FAR_TIMES, 1.0) == 0


def test_one_of_whom_nothing_is_known_does_not_train_by_itself() -> None:
    assert steps_between([Stray(20, 1_000_000), Stray()], 1e6, 1.0) == 0
