"""Least squares with few unknowns, without NumPy: Levenberg and Marquardt, on logarithms.

Marquardt, An Algorithm for Least-Squares Estimation of Nonlinear Parameters (1963). Large residuals
count less than by their square (soft L1), so that a wrong label does not bend the fit.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from math import inf, sqrt

Vector = list[float]

SUPPOSED = 4
"""Residuals of the usual scatter that are supposed, besides those that are there."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """Residuals of unknowns, with where these are thought to be and may be at all."""

    residuals: Callable[[Vector], Vector]
    start: Vector
    spread: Vector
    """How far from its start an unknown may be without surprise."""
    low: Vector
    high: Vector
    outlier: float = 0.06
    """From which residual on it counts less."""
    weights: Sequence[float] = ()
    """What each residual counts; 1 where it is left out."""
    belief: float = 0.05
    """How many times a residual of 1 spread counts beside the others."""
    scatter: float | None = None
    """Of residuals, to which `belief` belongs: it falls and rises with theirs. None: it stays."""
    surprise: float = inf
    """Spreads from which on it counts less how far an unknown is: most are as thought, now and then one is not at all."""
    begins: Sequence[Vector] = ()
    """Where the search begins too, beside its start: the best end of all counts."""


def solve(problem: Problem, rounds: int = 25) -> Vector:
    """The unknowns with the least weighted sum of squares, near their start where little is said."""
    ends = [_descended(problem, begin, rounds) for begin in (problem.start, *problem.begins)]
    return min(ends, key=lambda end: end[0])[1]


def _descended(problem: Problem, begin: Vector, rounds: int) -> tuple[float, Vector]:
    """The cost at the end of a search, and the end."""
    at = _inside(problem, begin)
    damping, residuals, belief = 1e-2, problem.residuals(at), problem.belief
    for _ in range(rounds):
        problem = replace(problem, belief=belief * _scattered(problem, residuals))
        cost = _cost(problem, at, residuals)
        matrix, slope = _normal(problem, at, residuals)
        improved = False
        for _ in range(6):
            step = _gauss(_damped(matrix, damping), [-value for value in slope])
            there = _inside(problem, [a + b for a, b in zip(at, step, strict=True)])
            found = problem.residuals(there)
            new = _cost(problem, there, found)
            if new < cost:
                improved = cost - new > 1e-5 * cost
                at, residuals, damping = there, found, damping / 5
                break
            damping *= 5
        if not improved:
            break
    last = replace(problem, belief=belief * _scattered(problem, residuals))
    return _cost(last, at, residuals), at


def _inside(problem: Problem, there: Vector) -> Vector:
    return [
        min(max(value, low), high)
        for value, low, high in zip(there, problem.low, problem.high, strict=True)
    ]


def _weights(problem: Problem, residuals: Vector) -> Sequence[float]:
    return problem.weights or [1.0] * len(residuals)


def _weight(value: float, far: float) -> float:
    """Of a square: 1 for a small value, less for one beyond `far`."""
    return 1 / sqrt(1 + (value / far) ** 2)


def _scattered(problem: Problem, residuals: Vector) -> float:
    """How many times the usual the scatter of residuals is: what is measured exactly is believed more."""
    if problem.scatter is None:
        return 1.0
    supposed = SUPPOSED * problem.scatter**2
    known = SUPPOSED + sum(_weights(problem, residuals))
    return sqrt((supposed + _misfit(problem, residuals)) / known) / problem.scatter


def _cost(problem: Problem, at: Vector, residuals: Vector) -> float:
    beliefs = sum(_square(value, problem.surprise) for value in _surprises(problem, at))
    return _misfit(problem, residuals) + problem.belief**2 * beliefs


def _misfit(problem: Problem, residuals: Vector) -> float:
    return sum(
        weight * _square(value, problem.outlier)
        for value, weight in zip(residuals, _weights(problem, residuals), strict=True)
    )


def _square(value: float, far: float) -> float:
    """Of a small value; for one beyond `far` less (soft L1)."""
    if far == inf:
        return value**2
    return 2 * far**2 * (sqrt(1 + (value / far) ** 2) - 1)


def _surprises(problem: Problem, at: Vector) -> Vector:
    """How many spreads each unknown is from where it was thought to be."""
    return [
        (value - start) / spread
        for value, start, spread in zip(at, problem.start, problem.spread, strict=True)
    ]


def _normal(problem: Problem, at: Vector, residuals: Vector) -> tuple[list[Vector], Vector]:
    """The matrix and the slope of the normal equations at `at`."""
    size, width = len(at), 1e-3
    columns = []
    for place in range(size):
        moved = list(at)
        # Away from a bound, so that the difference is never 0.
        ahead = width if at[place] + width <= problem.high[place] else -width
        moved[place] += ahead
        found = problem.residuals(moved)
        columns.append([(b - a) / ahead for a, b in zip(residuals, found, strict=True)])
    weights = [
        weight * _weight(value, problem.outlier)
        for value, weight in zip(residuals, _weights(problem, residuals), strict=True)
    ]
    matrix = [
        [_weighted(weights, columns[i], columns[j]) for j in range(size)] for i in range(size)
    ]
    slope = [_weighted(weights, columns[i], residuals) for i in range(size)]
    for place, (value, spread) in enumerate(
        zip(_surprises(problem, at), problem.spread, strict=True)
    ):
        own = problem.belief**2 * _weight(value, problem.surprise) / spread
        matrix[place][place] += own / spread
        slope[place] += own * value
    return matrix, slope


def _weighted(weights: Sequence[float], left: Sequence[float], right: Sequence[float]) -> float:
    return sum(w * a * b for w, a, b in zip(weights, left, right, strict=True))


def _damped(matrix: list[Vector], damping: float) -> list[Vector]:
    return [
        [value * (1 + damping * (i == j)) for j, value in enumerate(line)]
        for i, line in enumerate(matrix)
    ]


def _gauss(matrix: list[Vector], right: Vector) -> Vector:
    """Solve a symmetric positive system by elimination with pivots."""
    size = len(right)
    lines = [[*line, value] for line, value in zip(matrix, right, strict=True)]
    for column in range(size):
        pivot = max(range(column, size), key=lambda row: abs(lines[row][column]))
        lines[column], lines[pivot] = lines[pivot], lines[column]
        head = lines[column][column] or 1e-30
        for row in range(column + 1, size):
            factor = lines[row][column] / head
            if factor:
                lines[row] = [
                    a - factor * b for a, b in zip(lines[row], lines[column], strict=True)
                ]
    found = [0.0] * size
    for row in range(size - 1, -1, -1):
        rest = sum(lines[row][column] * found[column] for column in range(row + 1, size))
        found[row] = (lines[row][size] - rest) / (lines[row][row] or 1e-30)
    return found
