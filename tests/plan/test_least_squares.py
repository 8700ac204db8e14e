"""Least squares without NumPy."""

from dataclasses import replace
from math import exp

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
