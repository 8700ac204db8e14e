"""Which workers hold a model together, and what becomes of them when one of them is gone?"""

from cordee.train.policy.effects import Begin, Commit, Feed, Finish, Plan, Seat
from cordee.train.policy.membership import Membership
from cordee.train.policy.sums import Part, Total, total_of
from cordee.train.policy.teams import held_by, teams, vacant
from cordee.train.policy.trust import Vote
from cordee.train.policy.workers import Limits, Report

PLACES = {0: 0, 1: 1, 2: 0, 3: 1}


def job() -> Membership:
    """Two replicas of two workers, after the first step was agreed upon."""
    made = Membership(Limits(shards=4, workers=4, replica=2))
    for number, place in PLACES.items():
        assert made.joined(number, 0.0) == [Seat(number, place)]
        effects = made.ready(number, 0.0)
    assert effects == [Begin(1, 0, (0, 1, 2, 3), (), "the job begins", anew=True)]
    (plan,) = report(made, {number: Report(0, False, ()) for number in PLACES})
    assert plan.teams == ((0, 1), (2, 3))
    assert (plan.sources, plan.restore) == ((0, 1), (2, 3))
    return made


def report(made: Membership, reports: dict[int, Report]) -> list[Plan]:
    effects: list[Plan] = []
    for number, said in reports.items():
        effects = made.reported(number, made.epoch, said, 0.0)  # type: ignore[assignment]
    return effects


def test_members_of_each_place_make_a_team_and_those_that_were_one_stay_it() -> None:
    assert teams(PLACES, 2) == ((0, 1), (2, 3))
    assert teams({0: 0, 2: 0, 3: 1, 4: 1}, 2, ((0, 1), (2, 3))) == ((0, 4), (2, 3))
    assert teams({0: 0, 2: 0, 3: 1}, 2, ((0, 1), (2, 3))) == ((2, 3),)


def test_one_that_is_left_of_each_of_two_teams_makes_a_new_one() -> None:
    assert teams({1: 1, 2: 0}, 2, ((0, 1), (2, 3))) == ((2, 1),)


def test_a_newcomer_gets_the_place_that_fewest_have() -> None:
    assert [vacant(taken, 2, 4) for taken in ([], [0], [0, 1], [0, 1, 0])] == [0, 1, 0, 1]
    assert vacant([0, 0, 1, 1], 2, 4) is None


def test_a_shard_counts_where_the_whole_team_has_it() -> None:
    held = {0: (0, 1), 1: (0, 1), 2: (2,), 3: (2, 3)}
    assert held_by([(0, 1), (2, 3)], held) == ({0: (0, 1)}, (2, 3))


def test_the_other_team_gets_the_shards_and_who_is_left_computes_nothing() -> None:
    made = job()
    for number in PLACES:
        made.done(number, 1, 0, 0.0)
    assert made.closed(1, 0.0, "it died") == [Begin(2, 1, (0, 2, 3), (1,), "it died")]
    said = {0: Report(1, False, (0,)), 2: Report(1, False, (2, 3)), 3: Report(1, False, (2, 3))}
    (plan,) = report(made, said)
    assert (plan.teams, plan.owners) == (((2, 3),), (2, 2, 2, 2))
    assert plan.columns == ((0, 2), (3,))
    assert plan.forget == (0,)
    assert plan.restore == ()


def test_a_spare_takes_the_place_and_is_fed_by_one_that_has_the_same() -> None:
    made = job()
    assert made.joined(4, 0.0) == []
    seat, *_ = made.closed(1, 0.0, "it died")
    assert seat == Seat(4, 1)
    assert made.ready(4, 0.0) == [Feed(3, 4)]
    report(made, {number: Report(0, False, ()) for number in (0, 2, 3)})
    made.caught_up(4, 1, 0.0)
    for number in (0, 2, 3):
        effects = made.done(number, 2, 0, 0.0)
    assert effects == [Commit(2, 0), Begin(3, 1, (0, 2, 3, 4), (), "worker 4 joins")]
    assert made.teams == ((0, 4), (2, 3))


def test_with_no_whole_team_the_job_waits() -> None:
    made = job()
    made.closed(1, 0.0, "it died")
    made.closed(2, 0.0, "so did it")
    assert made.teams == ((0, 3),)
    made.closed(0, 0.0, "and it")
    assert (made.members, made.teams) == ((3,), ())
    assert report(made, {3: Report(0, False, ())}) == []


def alone() -> Membership:
    """One replica of two workers, seven steps on; worker 1 is gone and worker 2 has its place."""
    made = Membership(Limits(shards=4, workers=2, replica=2), step=7)
    for number in (0, 1):
        made.joined(number, 0.0)
        made.ready(number, 0.0)
    report(made, {number: Report(7, False, ()) for number in (0, 1)})
    made.closed(1, 0.0, "it died")
    made.joined(2, 0.0)
    return made


def test_where_nobody_has_a_part_all_go_back_to_a_step_of_which_it_was_kept() -> None:
    made = alone()
    assert made.ready(2, 0.0) == [Begin(3, 7, (0, 2), (), "worker 2 joins")]
    said = {0: Report(7, False, (1,), kept=(6, 5)), 2: Report(-1, False, (), kept=(5, 6))}
    (plan,) = report(made, said)
    assert (plan.step, plan.back, plan.restore) == (6, (0, 2), ())
    assert made.step == 6


def test_one_that_has_not_applied_the_step_that_was_kept_makes_it() -> None:
    made = alone()
    made.ready(2, 0.0)
    said = {0: Report(6, True, (), kept=(5, 6)), 2: Report(-1, False, (), kept=(6, 7))}
    (plan,) = report(made, said)
    assert (plan.step, plan.back) == (6, (2,))


def test_where_nothing_was_kept_of_a_part_the_job_ends() -> None:
    made = alone()
    made.ready(2, 0.0)
    said = {0: Report(7, False, ()), 2: Report(-1, False, ())}
    assert report(made, said) == [Finish("a part of the model is lost: nothing was kept of it")]


def test_what_a_step_has_is_that_of_all_parts() -> None:
    assert total_of([Part(9.0, None), Part(16.0, 2.0)]) == Total(5.0, 2.0)
    assert total_of([Part(9.0, 1.0), Part(None, 2.0)]) == Total(None, 1.5)
    assert total_of([None]) is None


def test_a_step_whose_gradient_is_not_finite_is_left_out() -> None:
    made = job()
    for number in PLACES:
        part = Part(None if number % 2 else 1.0, 1.0)
        effects = made.done(number, 1, 0, 0.0, Vote(part=part))
    _, commit = effects
    assert isinstance(commit, Commit)
    assert commit.skip


def test_only_those_with_the_same_part_are_compared() -> None:
    made = job()
    for number, place in PLACES.items():
        effects = made.done(number, 1, 0, 0.0, Vote(state=100 + place))
    assert effects == [Commit(1, 0)]
