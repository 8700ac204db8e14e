"""Least squares without NumPy."""

from dataclasses import replace
from math import exp, inf

import pytest

from cordee.plan.calibration.least_squares import Problem, solve

TRUTH = (0.7, -1.2)
PLACES = [n / 4 for n in range(20)]


def problem(noise: dict[int, float] | None = None, belief: float = 1e-6) -> Problem:
    measured = [TRUTH[0] * exp(TRUTH[1] * x) for x in PLACES]
    for place, value in (noise or {}).items():
        measured[place] += value

    def residuals(at: list[float]) -> list[float]:
        return [at[0] * exp(at[1] * x) - y for x, y in zip(PLACES, measured, strict=True)]

    return Problem(
        residuals=residuals,
        start=[1.0, -0.5],
        spread=[1.0, 1.0],
        low=[0.0, -3.0],
        high=[2.0, 0.0],
        belief=belief,
    )


def test_the_truth_is_found() -> None:
    assert solve(problem()) == pytest.approx(TRUTH, abs=1e-3)


def test_a_wrong_measurement_hardly_bends_the_fit() -> None:
    assert solve(problem({3: 1.0})) == pytest.approx(TRUTH, abs=0.15)


def test_a_belief_falls_where_everything_is_measured_exactly() -> None:
    kept, found = (solve(replace(problem(belief=1.0), scatter=scatter)) for scatter in (None, 0.3))
    assert abs(found[1] - TRUTH[1]) < 0.7 * abs(kept[1] - TRUTH[1])


def test_a_strong_belief_keeps_the_unknowns_near_their_start() -> None:
    assert solve(problem(belief=100.0)) == pytest.approx([1.0, -0.5], abs=0.01)


def test_a_search_begins_where_else_it_is_told_and_the_best_end_counts() -> None:
    # Two valleys, of which the nearer one is less deep.
    one = Problem(
        residuals=lambda at: [min(abs(at[0] + 1) + 0.5, abs(at[0] - 2))],
        start=[-0.9],
        spread=[1e3],
        low=[-5.0],
        high=[5.0],
    )
    assert solve(one) == pytest.approx([-1.0], abs=0.1)
    assert solve(replace(one, begins=[[1.5]])) == pytest.approx([2.0], abs=0.1)
    assert solve(replace(one, start=[1.5], begins=[[-0.9]])) == pytest.approx([2.0], abs=0.1)


def test_an_unknown_that_is_far_from_what_was_thought_is_held_back_less_where_surprises_are_allowed() -> (
    None
):
    # The second is 7 of its spreads away.
    kept, found = (
        solve(replace(problem(belief=0.02), spread=[1.0, 0.1], surprise=surprise))
        for surprise in (inf, 1.0)
    )
    assert abs(found[1] - TRUTH[1]) < 0.7 * abs(kept[1] - TRUTH[1])
