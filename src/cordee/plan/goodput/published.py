"""What long runs have published of failures, beside what the planner's formulas and simulation say of them."""

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from functools import cache
from importlib.resources import files
from statistics import fmean
from typing import ClassVar

from cordee.core.errors import UsageError
from cordee.core.facts import Fact, rows
from cordee.plan.goodput import closed_form
from cordee.plan.goodput.answers import Asked, answer
from cordee.plan.goodput.cluster import DAY_S, HOUR_S, Checkpoint, Cluster, Recovery
from cordee.plan.goodput.rates import Rates, rates

ABSOLUTE = ("goodput", "spares")
"""Of these the error is a difference; of others it is relative."""
SEEDS = range(5)
TABLE = files("cordee.plan.goodput") / "published.toml"


@dataclass(frozen=True, slots=True, kw_only=True)
class Run(Fact):
    """One published quantity, with the inputs that predict it."""

    QUANTITIES: ClassVar = ("goodput", "hours", "failures", "spares")
    ASSUMABLE: ClassVar = ("chips", "days", "rate", "notice_s", "resume_s", "every_s", "write_s")

    name: str
    quantity: str
    generation: str
    chips: int
    node_chips: int = 8
    days: float
    rate: str
    notice_s: float = 0.0
    resume_s: float = 0.0
    every_s: float | None = None
    """None: the best."""
    write_s: float = 5.0
    repair_s: float = DAY_S
    surety: float = 0.99
    low: float
    high: float
    assumed: list[str] = field(default_factory=list)
    known: bool = False
    checked: str
    note: str = ""

    def __post_init__(self) -> None:
        if self.quantity not in self.QUANTITIES:
            raise UsageError(f"quantity = {self.quantity!r}: one of {', '.join(self.QUANTITIES)}")
        if wrong := set(self.assumed) - set(self.ASSUMABLE):
            raise UsageError(f"assumed = {sorted(wrong)}: some of {', '.join(self.ASSUMABLE)}")

    @property
    def cluster(self) -> Cluster:
        """With nodes that stand by for 99 of 100 moments, for no publication says how many did."""
        alone = Cluster(
            chips=self.chips // self.node_chips * self.node_chips,
            group_chips=self.node_chips,
            node_chips=self.node_chips,
            rates=rates(self.rate, self.generation),
            repair_s=self.repair_s,
        )
        spares = closed_form.spares_for(alone.broken_nodes, 0.99)
        return replace(alone, spare_chips=spares * self.node_chips)


@dataclass(frozen=True, slots=True, kw_only=True)
class Beside:
    """A published quantity and what is predicted."""

    run: Run
    predicted: float
    """By formula."""
    simulated: float | None
    """The mean of five runs; None where there is nothing to simulate."""
    least: float
    most: float
    """The formula with every assumed input half and twice as large."""

    @property
    def error(self) -> float:
        """How far outside of what was published: a difference of parts, else relative. 0 within."""
        nearest = min(max(self.predicted, self.run.low), self.run.high)
        off = self.predicted - nearest
        return off if self.run.quantity in ABSOLUTE else off / nearest


@cache
def runs() -> tuple[Run, ...]:
    """Every row."""
    return tuple(rows(TABLE, Run, table="run"))


def beside() -> Iterator[Beside]:
    """All of them."""
    for run in runs():
        bounds = [_predicted(_scaled(run, factor)) for factor in (0.5, 1.0, 2.0)]
        yield Beside(
            run=run,
            predicted=bounds[1],
            simulated=_simulated(run) if run.quantity == "goodput" else None,
            least=min(bounds),
            most=max(bounds),
        )


def _scaled(run: Run, factor: float) -> Run:
    """With what is assumed so many times as large; of a longer run the goodput is the same."""

    def times(name: str) -> float:
        return factor if name in run.assumed else 1.0

    rate = f"{rates(run.rate, run.generation).total * factor:g}"
    return replace(
        run,
        chips=round(run.chips * times("chips")),
        days=run.days * times("days"),
        rate=rate if "rate" in run.assumed else run.rate,
        notice_s=run.notice_s * times("notice_s"),
        resume_s=run.resume_s * times("resume_s"),
        every_s=run.every_s and run.every_s * times("every_s"),
        write_s=run.write_s * times("write_s"),
    )


def _predicted(run: Run) -> float:
    cluster = run.cluster
    between_s = closed_form.between_s(cluster)
    match run.quantity:
        case "goodput":
            every_s = run.every_s or closed_form.best_interval_s(run.write_s, between_s)
            kept = Checkpoint(every_s=every_s, write_s=run.write_s)
            return closed_form.restarted(kept, run.notice_s + run.resume_s, between_s)
        case "hours":
            return between_s / HOUR_S
        case "failures":
            return run.days * DAY_S / between_s
        case _:
            return _spares(run, cluster.rates)


def _spares(run: Run, found: Rates) -> float:
    mean = found.total * run.chips / HOUR_S * run.repair_s
    return closed_form.spares_for(mean, run.surety) * run.node_chips / run.chips


def _simulated(run: Run) -> float:
    way = Recovery(name="published", in_place=False, notice_s=run.notice_s, resume_s=run.resume_s)
    asked = Asked(
        cluster=run.cluster,
        recoveries=[way],
        every_s=run.every_s,
        write_s=run.write_s,
        days=run.days,
    )
    return fmean(answer(replace(asked, seed=s), way).outcome.goodput for s in SEEDS)
