"""Losses that a program printed, and how far two runs of it are apart."""

import math
import re
from collections import defaultdict
from dataclasses import dataclass

LOSS = re.compile(
    r"\b((?:[a-z]+[ _./-])?[a-z]*loss(?:[_ ][a-z]+)?)\b[\"']?[^\w\n+-]{0,8}"
    r"([-+]?(?:\d+(?:\.\d*)?|\.\d+)(?:e[-+]?\d+)?|nan|inf)",
    re.IGNORECASE,
)
# "20: 3.1415", as programs print a step and its loss that name neither.
UNNAMED = re.compile(r"(?<![\w.:])\d+: +([-+]?\d+\.\d+(?:e[-+]?\d+)?|nan|inf)\s*$", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class LossComparison:
    """One series of losses on the chip and on the CPU."""

    name: str
    chip: tuple[float, ...]
    cpu: tuple[float, ...]

    @property
    def difference(self) -> float:
        """The largest difference over the value, step by step; infinite if one is longer."""
        if len(self.chip) != len(self.cpu):
            return math.inf
        return max((_apart(*pair) for pair in zip(self.chip, self.cpu, strict=True)), default=0.0)


def losses(output: str) -> dict[str, tuple[float, ...]]:
    """Every series of losses in a program's output, by the words before the numbers."""
    found: dict[str, list[float]] = defaultdict(list)
    for match in LOSS.finditer(output):
        found[" ".join(match[1].lower().split())].append(float(match[2]))
    if not found:
        found["numbers of steps"] = [float(match[1]) for match in UNNAMED.finditer(output)]
    return {name: tuple(values) for name, values in found.items() if values}


def compared(chip: str, cpu: str) -> tuple[LossComparison, ...]:
    """The series that both outputs have."""
    ours, theirs = losses(chip), losses(cpu)
    return tuple(LossComparison(name, ours[name], theirs[name]) for name in ours if name in theirs)


def _apart(one: float, other: float) -> float:
    if math.isnan(one) or math.isnan(other) or math.isinf(one) or math.isinf(other):
        return 0.0 if repr(one) == repr(other) else math.inf
    return abs(one - other) / max(abs(one), abs(other), 1e-8)
