"""What becomes of a job when workers come, go, fall silent and err?"""

from collections.abc import Sequence
from dataclasses import replace

import pytest

from cordee.train.policy.effects import (
    Begin,
    Commit,
    Effect,
    Evict,
    Feed,
    Finish,
    Plan,
    Restart,
)
from cordee.train.policy.membership import Membership
from cordee.train.policy.workers import Limits, Phase, Report


def job(workers: int = 3, **limits: float) -> Membership:
    """One with so many members, that has agreed on its first step."""
    made = Membership(Limits(shards=6, workers=workers, **limits))  # type: ignore[arg-type]
    for number in range(workers):
        made.joined(number, 0.0)
        effects = made.ready(number, 0.0)
    assert effects == [Begin(1, 0, tuple(range(workers)), (), "the job begins", anew=True)]
    report(made, 1, {number: Report(0, False, ()) for number in range(workers)})
    return made


def report(made: Membership, epoch: int, reports: dict[int, Report]) -> Sequence[Effect]:
    effects: Sequence[Effect] = []
    for number, said in reports.items():
        effects = made.reported(number, epoch, said, 0.0)
    return effects


def step(made: Membership, number: int) -> Sequence[Effect]:
    effects: Sequence[Effect] = []
    for member in made.members:
        effects = made.done(member, made.epoch, number, 0.0)
    return effects


def test_a_step_is_committed_when_all_members_hold_its_gradient() -> None:
    made = job()
    assert made.done(0, 1, 0, 0.0) == []
    assert made.done(2, 1, 0, 0.0) == []
    assert made.done(1, 1, 0, 0.0) == [Commit(1, 0)]
    assert made.step == 1


def test_a_vote_of_an_epoch_that_is_over_does_not_count() -> None:
    made = job()
    made.done(0, 1, 0, 0.0)
    made.closed(2, 0.0, "it died")
    assert made.done(1, 1, 0, 0.0) == []


def test_the_others_go_on_without_one_that_is_gone() -> None:
    made = job()
    assert made.closed(1, 0.0, "it died") == [Begin(2, 0, (0, 2), (1,), "it died")]
    effects = report(made, 2, {0: Report(0, False, (0, 1)), 2: Report(0, False, (4, 5))})
    (plan,) = effects
    assert isinstance(plan, Plan)
    assert plan.owners == (0, 0, 0, 2, 2, 2)


def test_one_that_missed_a_commit_makes_it_from_what_it_holds() -> None:
    made = job()
    step(made, 0)
    made.closed(1, 0.0, "it died")
    (plan,) = report(made, 2, {0: Report(1, False, ()), 2: Report(0, True, (4, 5))})
    assert plan == Plan(2, 1, (0,), (), (0, 0, 0, 2, 2, 2))


def test_one_that_is_behind_gets_the_state() -> None:
    made = job()
    step(made, 0)
    step(made, 1)
    made.closed(1, 0.0, "it died")
    (plan,) = report(made, 2, {0: Report(2, False, ()), 2: Report(0, True, ())})
    assert isinstance(plan, Plan)
    assert (plan.sources, plan.restore) == ((0,), (2,))


def test_one_that_waits_is_fed_and_comes_in_between_two_steps() -> None:
    made = job()
    made.joined(7, 0.0)
    assert made.ready(7, 0.0) == []  # a spare
    effects = made.closed(1, 0.0, "it died")
    assert effects[1:] == [Feed(2, 7)]
    report(made, 2, {0: Report(0, False, ()), 2: Report(0, False, ())})
    assert step(made, 0) == [Commit(2, 0)]
    made.caught_up(7, 1, 0.0)
    assert step(made, 1) == [Commit(2, 1), Begin(3, 2, (0, 2, 7), (), "worker 7 joins")]


def test_one_whose_source_died_is_fed_by_another() -> None:
    made = job()
    made.joined(7, 0.0)
    made.ready(7, 0.0)
    made.closed(1, 0.0, "it died")
    assert made.closed(2, 0.0, "it died, too")[1:] == [Feed(0, 7)]


def test_with_too_few_members_the_job_waits_for_another() -> None:
    made = job(least=3)
    made.closed(1, 0.0, "it died")
    assert report(made, 2, {0: Report(0, False, ()), 2: Report(0, False, ())}) == []
    made.joined(7, 0.0)
    made.ready(7, 0.0)
    assert made.caught_up(7, 0, 0.0) == [Begin(3, 0, (0, 2, 7), (), "worker 7 joins")]


def test_one_that_says_nothing_is_evicted() -> None:
    made = job(silent_s=2.0)
    for number in (0, 2):
        made.beat(number, "reduce", 0.1, 5.0)
    assert made.tick(1.9) == []
    effects = made.tick(6.0)
    assert effects[0] == Evict(1, "says nothing")
    assert isinstance(effects[1], Begin)
    assert effects[1].members == (0, 2)


def test_one_that_computes_on_while_all_others_wait_is_evicted() -> None:
    made = job(hang_s=2.0)
    for now_s in (1.0, 2.0, 3.0, 4.0):
        made.beat(0, "reduce", 0.1, now_s)
        made.beat(1, "compute", 0.1, now_s)
        made.beat(2, "reduce", 0.1, now_s)
        found = made.tick(now_s)
        assert (found != []) == (now_s > 3.0)
    assert found[0] == Evict(1, "hangs in its own code")


@pytest.mark.parametrize("phase", ["compute", "reduce"])
def test_one_that_hangs_while_the_others_gather_again_is_evicted_too(phase: Phase) -> None:
    made = job(hang_s=2.0)
    for number in (1, 2):
        made.beat(number, phase, 0.1, 1.0)
    made.closed(0, 1.0, "it died")
    assert made.tick(3.5) == []  # nobody waits for it yet: all may compute a long shard
    made.reported(2, 2, Report(0, False, ()), 4.0)
    for now_s in (5.0, 6.0, 6.5):
        made.beat(1, phase, 0.1, now_s)
        made.beat(2, "compute", 0.1, now_s)
        found = made.tick(now_s)
        assert (found != []) == (now_s > 6.0)
    assert found[0] == Evict(1, "hangs in its own code")
    assert made.members == (2,)


def test_one_whose_shards_take_long_has_the_time_for_them() -> None:
    made = job(hang_s=2.0)
    for now_s in (1.0, 3.0, 5.0, 7.0):
        made.beat(0, "reduce", 4.0, now_s)
        made.beat(1, "compute", 4.0, now_s)
        made.beat(2, "reduce", 4.0, now_s)
        assert made.tick(now_s) == []


def test_a_program_that_fails_everywhere_ends_the_job_with_its_error() -> None:
    made = job()
    made.crashed(0, "KeyError: 'x'", 0.0)
    made.crashed(1, "KeyError: 'x'", 0.0)
    assert made.crashed(2, "KeyError: 'x'", 0.0) == [
        Finish("at step 0 3 workers failed; the last error: KeyError: 'x'")
    ]


def test_the_job_is_over_when_all_members_are() -> None:
    made = job()
    assert made.finished(0, 0.0) == []
    assert made.finished(1, 0.0) == []
    assert made.finished(2, 0.0) == [Finish()]


def test_a_job_of_which_no_worker_is_left_begins_again_where_others_find_its_state() -> None:
    made = job(2)
    step(made, 0)
    made.closed(0, 0.0, "it died")
    assert made.closed(1, 0.0, "so did it") == [Restart("so did it", 1)]
    for number in (2, 3):
        made.joined(number, 0.0)
        effects = made.ready(number, 0.0)
    assert effects == [Begin(3, 0, (2, 3), (), "the job begins again", anew=True)]
    plan = report(made, 3, {2: Report(1, False, ()), 3: Report(1, False, ())})
    assert plan == [Plan(3, 1, (2,), (), (2, 2, 2, 3, 3, 3))]


def test_a_spare_that_has_a_state_is_taken_when_all_members_are_gone() -> None:
    made = job(1)
    for number in (7, 8, 9):
        made.joined(number, 0.0)
        made.ready(number, 0.0)
    made.caught_up(8, 5, 0.0)
    restart, begin = made.closed(0, 0.0, "it died")
    assert isinstance(restart, Restart)
    assert isinstance(begin, Begin)
    assert begin.members == (8,)


def test_a_job_that_begins_again_and_gets_no_further_ends() -> None:
    made = job(1, restarts=2)
    for number in (1, 2):
        assert made.closed(number - 1, 0.0, "it died") == [Restart("it died", number)]
        made.joined(number, 0.0)
        made.ready(number, 0.0)
        report(made, made.epoch, {number: Report(0, False, ())})
    assert made.closed(2, 0.0, "it died") == [Finish("no worker is left: it died")]


def test_one_that_gets_further_each_time_begins_again_as_often_as_it_must() -> None:
    made = job(1, restarts=1)
    for number in (1, 2, 3, 4):
        step(made, number - 1)
        assert made.closed(number - 1, 0.0, "it died") == [Restart("it died", 1)]
        made.joined(number, 0.0)
        made.ready(number, 0.0)
        report(made, made.epoch, {number: Report(number, False, ())})


def test_a_job_begins_again_with_as_many_as_there_is_room_for() -> None:
    made = job(3)
    for number in range(3):
        made.closed(number, 1.0, "its host fell")
    made.joined(3, 1.0)
    made.ready(3, 1.0)
    assert made.tick(1.0) == []  # two more may come
    made.limits = replace(made.limits, room=1)
    assert made.tick(1.0) == [Begin(4, 0, (3,), (), "the job begins again", anew=True)]


def test_a_job_does_not_begin_again_with_fewer_than_it_needs() -> None:
    made = job(3, least=2)
    for number in range(3):
        made.closed(number, 1.0, "its host fell")
    made.limits = replace(made.limits, room=1)
    made.joined(3, 1.0)
    assert made.ready(3, 1.0) == made.tick(1.0) == []
    made.limits = replace(made.limits, room=2)
    made.joined(4, 1.0)
    assert Begin in {type(effect) for effect in made.ready(4, 1.0)}
