"""How often chips and what is around them fail: published rates, and what is chosen among them for a chip."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import ClassVar

from cordee.core.errors import UsageError
from cordee.core.facts import Fact, rows

PARTS = ("chip", "memory", "host", "network", "software")
SPLIT = "llama3"
"""The set by which a rate of all failures is shared out over parts where its source does not."""
TABLE = files("cordee.plan.goodput") / "rates.toml"


@dataclass(frozen=True, slots=True, kw_only=True)
class Rate(Fact):
    """How often something fails, in one publication."""

    CHECKED: ClassVar = ("opened", "second", "recalled")

    set: str
    generation: str
    what: str
    part: str
    events: float | None = None
    chips: int | None = None
    days: float | None = None
    per_chip_hour: float | None = None
    checked: str
    note: str = ""

    def __post_init__(self) -> None:
        if self.part not in (*PARTS, "all"):
            raise UsageError(f"part = {self.part!r}: one of {', '.join(PARTS)}, all")
        if self.checked not in self.CHECKED:
            raise UsageError(f"checked = {self.checked!r}: one of {', '.join(self.CHECKED)}")
        if self.per_chip_hour is None and not (self.events and self.chips and self.days):
            raise UsageError("per_chip_hour, or events, chips and days")

    @property
    def hourly(self) -> float:
        """Failures of one chip, or of its part of what it shares, in an hour."""
        if self.per_chip_hour is not None:
            return self.per_chip_hour
        assert self.events, "the row was checked"
        assert self.chips, "the row was checked"
        assert self.days, "the row was checked"
        return self.events / (self.chips * self.days * 24)


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice(Fact):
    """Which sets are taken for a generation of chips; that of "" for all others."""

    generation: str
    low: str
    typical: str
    high: str
    note: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Share(Fact):
    """A part of all failures."""

    what: str
    value: float
    checked: str
    note: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rates:
    """Failures of a chip in an hour, by the part that fails."""

    words: str
    """Where they come from."""
    by_part: Mapping[str, float]
    remarks: tuple[str, ...] = ()

    @property
    def total(self) -> float:
        return sum(self.by_part.values())

    @property
    def hardware(self) -> float:
        """Of what is to be repaired."""
        return self.total - self.by_part.get("software", 0.0)


@cache
def published() -> tuple[Rate, ...]:
    """Every row."""
    return tuple(rows(TABLE, Rate, table="rate"))


@cache
def hang_share() -> float:
    """The part of failures that are a hang."""
    return next(row.value for row in rows(TABLE, Share, table="share") if row.what == "hangs")


def sets() -> list[str]:
    """Names of sets that say how often anything at all fails."""
    known = dict.fromkeys(rate.set for rate in published())
    return [name for name in known if _complete(name)]


def rates(name: str, generation: str, option: str = "--rate") -> Rates:
    """Those of "low", "typical", "high", a set, or a number of failures of a chip in an hour.

    Raises `UsageError` in the words of the option that names them.
    """
    choice = _choice(generation)
    chosen = {"low": choice.low, "typical": choice.typical, "high": choice.high}
    if name in chosen:
        return _of_set(chosen[name], f"{name}: ", choice.note if name == "typical" else "")
    if name in sets():
        return _of_set(name, "", "")
    try:
        number = float(name)
    except ValueError:
        known = ", ".join([*chosen, *sets()])
        raise UsageError(
            f"{option} {name}: a number of failures of a chip in an hour such as 2e-5, or one of {known}"
        ) from None
    if not 0 < number < 1:
        raise UsageError(f"{option} {name}: above 0 and below 1, such as 2e-5")
    return Rates(words="your own", by_part=_split(number))


def _choice(generation: str) -> Choice:
    found = {choice.generation: choice for choice in rows(TABLE, Choice, table="choice")}
    return found.get(generation, found[""])


def _complete(name: str) -> bool:
    """Whether a set tells of all failures, not of some parts only."""
    parts = {rate.part for rate in published() if rate.set == name}
    return "all" in parts or len(parts) > 3


def _of_set(name: str, prefix: str, note: str) -> Rates:
    found = [rate for rate in published() if rate.set == name]
    remarks = [note, *dict.fromkeys(rate.note for rate in found)]
    if any(rate.part == "all" for rate in found):
        by_part = _split(sum(rate.hourly for rate in found))
        remarks.append(f"{name} does not tell parts apart: they are shared out as in {SPLIT}")
    else:
        by_part = _parts(name)
    if any(rate.checked == "recalled" for rate in found):
        remarks.append(f"{name} is recalled, not read")
    words = f"{prefix}{name}, {found[0].source}"
    return Rates(words=words, by_part=by_part, remarks=tuple(r for r in remarks if r))


def _parts(name: str) -> dict[str, float]:
    return {
        part: sum(rate.hourly for rate in published() if (rate.set, rate.part) == (name, part))
        for part in PARTS
    }


def _split(total: float) -> dict[str, float]:
    known = _parts(SPLIT)
    whole = sum(known.values())
    return {part: total * value / whole for part, value in known.items()}
