"""Does a simulated year agree with the formulas, and does all time go somewhere?"""

from dataclasses import replace

import pytest

from cordee.plan.goodput import closed_form
from cordee.plan.goodput.answers import simulate
from cordee.plan.goodput.cluster import DAY_S, Checkpoint, Cluster, Recovery, Scenario
from cordee.plan.goodput.coordinator import Coordinator
from cordee.plan.goodput.rates import rates
from cordee.train.policy.effects import Begin, Feed, Plan

RESTART = Recovery(name="restart", in_place=False, notice_s=60, resume_s=240)
IN_PLACE = Recovery(name="in-place", in_place=True, notice_s=3, resume_s=10)


def cluster(rate: str = "2e-5", **other: object) -> Cluster:
    made = Cluster(
        chips=16384,
        group_chips=128,
        spare_chips=512,
        rates=rates(rate, "hopper"),
        shards=16,
        stages=8,
    )
    return replace(made, **other)  # type: ignore[arg-type]


def scenario(made: Cluster, recovery: Recovery, every_s: float = 600, **other: float) -> Scenario:
    checkpoint = Checkpoint(every_s=every_s, write_s=5)
    given = {"days": 40.0, **other}
    return Scenario(cluster=made, recovery=recovery, checkpoint=checkpoint, **given)  # type: ignore[arg-type]


@pytest.mark.parametrize(("rate", "every_s"), [("4e-6", 900), ("2e-5", 330), ("1e-4", 150)])
def test_restarts_agree_with_the_exact_formula(rate: str, every_s: float) -> None:
    made = cluster(rate, least_groups=1, repair_s=3600.0)
    run = scenario(made, RESTART, every_s, days=120.0)
    said = closed_form.restarted(run.checkpoint, RESTART.down_s, closed_form.between_s(made))
    assert simulate(run).goodput == pytest.approx(said, abs=0.015)


@pytest.mark.parametrize("spare_chips", [0, 64, 512])
def test_going_on_in_place_agrees_with_its_formula(spare_chips: int) -> None:
    made = cluster(spare_chips=spare_chips)
    run = scenario(made, IN_PLACE, 3600)
    said = closed_form.in_place(made, IN_PLACE, run.checkpoint)
    assert simulate(run).goodput == pytest.approx(said, abs=0.01)


@pytest.mark.parametrize("recovery", [RESTART, IN_PLACE], ids=lambda way: way.name)
def test_all_time_goes_somewhere(recovery: Recovery) -> None:
    found = simulate(scenario(cluster("1e-4"), recovery, days=3.0))
    assert sum(found.spent_s.values()) == pytest.approx(3 * DAY_S)
    assert found.stops > 50


def test_going_on_in_place_loses_no_step_where_others_are_left() -> None:
    found = simulate(scenario(cluster("1e-4"), IN_PLACE, days=3.0))
    assert found.spent_s["done twice"] == 0
    assert found.epochs > 2 * found.stops * 0.9  # one without the lost replica, one with another


def test_the_same_seed_gives_the_same_run_and_another_another() -> None:
    run = scenario(cluster("1e-4"), IN_PLACE, days=1.0)
    assert simulate(run) == simulate(run)
    assert simulate(run) != simulate(replace(run, seed=1))


def test_a_job_of_one_replica_begins_again_from_what_was_kept() -> None:
    made = cluster("1e-3", chips=128, spare_chips=128, repair_s=7200.0)
    found = simulate(scenario(made, IN_PLACE, days=30.0))
    assert found.spent_s["done twice"] > 0
    assert 0.3 < found.goodput < 0.99


def test_one_that_hangs_while_others_die_does_not_stop_the_job_for_long() -> None:
    found = simulate(scenario(cluster("5e-4"), IN_PLACE, days=1.0))
    assert found.longest_stop_s < 600


def test_a_few_replicas_decide_as_thousands_do() -> None:
    kinds = []
    for groups in (40, 2000):
        made = cluster(chips=groups * 8, group_chips=8, spare_chips=0)
        coordinator = Coordinator(made)
        coordinator.size = groups if groups == 40 else coordinator.size
        for _ in range(coordinator.size):
            coordinator.arrive(0, 0.0)
        coordinator.report(0, 0.0, under_way=False)
        coordinator.arrive(0, 1.0)
        effects = coordinator.shuts([3], 2.0)
        effects += coordinator.report(7, 2.0, under_way=True)
        effects += coordinator.caught_up(coordinator.size, 7, 3.0)
        effects += coordinator.commit(7, 4.0)
        effects += coordinator.report(8, 5.0, under_way=False)
        kinds.append([type(effect) for effect in effects])
    assert kinds[0] == kinds[1]
    assert [kind for kind in kinds[0] if kind in (Begin, Feed, Plan)] == [
        Begin,
        Feed,
        Plan,
        Begin,
        Plan,
    ]
