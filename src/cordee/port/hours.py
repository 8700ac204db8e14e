"""How long people work: an estimate in hours, always as a range."""

from dataclasses import dataclass
from enum import Enum, auto

from cordee.port.finding import Confidence, Effort, Finding

DAY_H = 8


@dataclass(frozen=True, slots=True)
class Hours:
    """From an easy case to a hard one."""

    low_h: float = 0
    high_h: float = 0

    def __add__(self, other: "Hours") -> "Hours":
        return Hours(self.low_h + other.low_h, self.high_h + other.high_h)

    @property
    def middle_h(self) -> float:
        """What weights and lengths of bars are made of."""
        return (self.low_h + self.high_h) / 2


# Our own estimates of what minutes, hours and days mean; nobody has measured them.
HOURS = {Effort.S: Hours(5 / 60, 20 / 60), Effort.M: Hours(1, 4), Effort.L: Hours(8, 40)}
REPEATED = Hours(1 / 60, 5 / 60)  # what takes minutes the first time, done again
LOOK_H = 0.05  # to see that an unsure finding is none
NEXT_SMALLER = {Effort.L: HOURS[Effort.M], Effort.M: HOURS[Effort.S], Effort.S: REPEATED}


class Known(Enum):
    """What people know of a tie when they come to it."""

    NOTHING = auto()
    KIND = auto()  # another of this kind was in the same file
    WAY = auto()  # the way over was found before, anywhere in the repository


def hours(finding: Finding, known: Known = Known.NOTHING) -> Hours:
    """What one tie takes a person."""
    match known:
        case Known.NOTHING:
            usual = HOURS[finding.effort]
        case Known.KIND:
            usual = NEXT_SMALLER[finding.effort]
        case Known.WAY:
            usual = REPEATED if finding.effort is Effort.S else HOURS[Effort.S]
    if finding.confidence is Confidence.UNSURE:
        return Hours(min(LOOK_H, usual.low_h), usual.high_h)
    return usual


def size(middle_h: float) -> Effort:
    """How much that is, in the words that findings use."""
    if middle_h < HOURS[Effort.M].low_h:
        return Effort.S
    return Effort.M if middle_h < HOURS[Effort.L].low_h else Effort.L


def work_text(work: Hours) -> str:
    """In minutes, hours or person-days: "2\u20135 hours"."""
    if work.high_h == 0:
        return "none"
    for unit, length_h, least in (("day", DAY_H, DAY_H), ("hour", 1, 1), ("minute", 1 / 60, 0)):
        if work.high_h >= least:
            return _range(work.low_h / length_h, work.high_h / length_h, unit)
    raise AssertionError("minutes hold everything")


def _range(low: float, high: float, unit: str) -> str:
    first, last = (
        (_rounded(low), _rounded(high)) if unit != "minute" else (_fives(low), _fives(high))
    )
    if first == last:
        return f"{last} {unit}" if last == "1" else f"{last} {unit}s"
    many = unit if last == "1" else f"{unit}s"
    return f"up to {last} {many}" if first == "0" else f"{first}\u2013{last} {many}"


def _fives(minutes: float) -> str:
    return f"{round(minutes) if minutes < 7 else round(minutes / 5) * 5}"


def _rounded(number: float) -> str:
    """To halves below ten and to whole numbers above: more would pretend to know."""
    if number >= 10:
        return f"{number:,.0f}".replace(",", "\u202f")
    return f"{round(number * 2) / 2:g}"
