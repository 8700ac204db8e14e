"""What a deployment settles to: the formula beside the simulation of the queue, and at its limits."""

import pytest

from cordee.hw.accelerator import accelerators
from cordee.plan.costs.pass_work import PassWork
from cordee.plan.costs.passes import Batch, Passes
from cordee.plan.costs.serving_calibration import ServingCalibration
from cordee.plan.deployment import Deployment, Engine, Scheduling
from cordee.plan.model import named
from cordee.plan.serving.steady import Steady, crossing, steady, works_of
from cordee.plan.serving.traffic import Served, Traffic, serve

USUAL = ServingCalibration()


def deployment(**given: object) -> Deployment:
    found = accelerators().find("H100")
    return Deployment(model=named("Llama-3.1-8B"), chip=found, **given)  # type: ignore[arg-type]


def apart() -> Deployment:
    """One copy reads prompts for four."""
    return deployment(prefill=Engine(), prefill_replicas=1, replicas=4)


def by_formula(one: Deployment, traffic: Traffic) -> Steady:
    return steady(works_of(one), traffic, USUAL)


def simulated(one: Deployment, traffic: Traffic) -> Served:
    return serve(one, traffic, USUAL)


@pytest.mark.parametrize("mixed", [True, False], ids=["mixed", "prompts first"])
@pytest.mark.parametrize("clients", [1, 8, 64])
def test_the_formula_is_near_the_simulation(clients: int, mixed: bool) -> None:
    one = deployment(scheduling=Scheduling(mixed=mixed))
    traffic = Traffic(prompt=2048, answer=512, clients=clients)
    formula, queue = by_formula(one, traffic), simulated(one, traffic)
    assert formula.between_s == pytest.approx(queue.between(0.5), rel=0.1)
    assert formula.first_s == pytest.approx(queue.first(0.5), rel=0.3)
    assert formula.requests_per_s == pytest.approx(queue.requests_per_s, rel=0.1)


def test_the_formula_knows_that_newcomers_are_noticed_late() -> None:
    one = deployment(scheduling=Scheduling(mixed=False, polls=30))
    traffic = Traffic(prompt=2048, answer=512, clients=8)
    formula, queue = by_formula(one, traffic), simulated(one, traffic)
    assert formula.first_s == pytest.approx(queue.first(0.5), rel=0.3)
    assert formula.first_s > by_formula(deployment(), traffic).first_s


@pytest.mark.parametrize("clients", [4, 100, 400])
def test_where_prompts_are_read_apart_too(clients: int) -> None:
    traffic = Traffic(prompt=8192, answer=256, clients=clients)
    formula, queue = by_formula(apart(), traffic), simulated(apart(), traffic)
    assert formula.between_s == pytest.approx(queue.between(0.5), rel=0.15)
    assert formula.first_s == pytest.approx(queue.first(0.5), rel=0.25)
    assert formula.requests_per_s == pytest.approx(queue.requests_per_s, rel=0.15)


def test_more_clients_only_wait_where_reading_prompts_is_the_limit() -> None:
    few, many = (
        by_formula(apart(), Traffic(prompt=8192, answer=256, clients=clients))
        for clients in (400, 800)
    )
    assert many.requests_per_s == pytest.approx(few.requests_per_s, rel=0.02)
    assert many.first_s > 1.9 * few.first_s


def test_clients_with_equal_lengths_do_not_come_and_go_together() -> None:
    one = deployment(scheduling=Scheduling(mixed=False))
    traffic = Traffic(prompt=4096, answer=512, clients=64)
    alone_s = by_formula(one, Traffic(prompt=4096, answer=512, clients=1)).first_s
    assert simulated(one, traffic).first(0.5) < 5 * alone_s


def test_passes_that_are_launched_kernel_by_kernel_wait_for_the_host() -> None:
    captured, eager = (
        deployment(scheduling=Scheduling(captured=captured)) for captured in (True, False)
    )
    slow = ServingCalibration(launch_s=1e-4)
    quick_s, slow_s = (
        Passes(PassWork(one, one.engine), slow).seconds(Batch(given=1, seen=100))
        for one in (captured, eager)
    )
    assert slow_s > 2 * quick_s


@pytest.mark.parametrize("steep", [1.0, 8.0])
def test_a_crossing_is_found_where_a_function_falls_steeply(steep: float) -> None:
    def falling(at: float) -> float:
        return 2 / (0.5 + at) ** steep

    found = crossing(falling, 4.0)
    assert falling(found) == pytest.approx(found, rel=1e-4)


def test_a_run_is_measured_once_those_who_all_came_at_once_are_through() -> None:
    one = deployment(prefill=Engine(), prefill_replicas=6, replicas=4)
    traffic = Traffic(prompt=8192, answer=512, clients=160)
    formula, queue = by_formula(one, traffic), simulated(one, traffic)
    # All 160 prompts of the beginning take six copies more than three seconds.
    assert queue.mean_first_s == pytest.approx(formula.first_s, rel=0.3)
    assert queue.requests_per_s == pytest.approx(formula.requests_per_s, rel=0.02)
