"""What engines of others tell of themselves in Prometheus' format: how much they have to do, and that they go on."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from importlib import resources

from prometheus_client.parser import text_string_to_metric_families

from cordee.core.facts import Fact, rows

PATH = "/metrics"


@dataclass(frozen=True, slots=True)
class Vitals:
    """One engine at one time."""

    running: int
    waiting: int
    cache_used: float
    """Share of its cache."""
    steps: int | None
    """How many it has made, where it says so."""
    progress: tuple[float, ...]
    """Another with each step."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Names(Fact):
    """A row of vitals.toml: what is called how, by age of the engine's version."""

    engine: str
    running: list[str]
    waiting: list[str]
    cache_used: list[str]
    steps: list[str] = field(default_factory=list)
    progress: list[str] = field(default_factory=list)


NAMES = tuple(rows(resources.files(__package__) / "vitals.toml", Names))
KNOWN = tuple(
    name
    for row in NAMES
    for name in (*row.running, *row.waiting, *row.cache_used, *row.steps, *row.progress)
)


def read(text: str) -> Vitals | None:
    """What an engine says; None where it is none of those that are known here."""
    try:
        values = _values(text)
    except ValueError:
        return None
    for names in NAMES:
        running = _first(values, names.running)
        if running:
            waiting, used = (
                _first(values, names.waiting),
                max(_first(values, names.cache_used), default=0.0),
            )
            steps = _first(values, names.steps)
            progress = [sum(values.get(name, ())) for name in names.progress]
            return Vitals(
                int(sum(running)),
                int(sum(waiting)),
                used,
                int(sum(steps)) if steps else None,
                (sum(running), sum(waiting), used, sum(steps), *progress),
            )
    return None


def _values(text: str) -> Mapping[str, list[float]]:
    """Of each name that is known here those of all its labels: an engine may consist of several."""
    lines = [line for line in text.splitlines() if line.startswith(KNOWN)]
    values: dict[str, list[float]] = {}
    for family in text_string_to_metric_families("\n".join((*lines, ""))):
        for sample in family.samples:
            values.setdefault(sample.name, []).append(sample.value)
    return values


def _first(values: Mapping[str, list[float]], names: Iterable[str]) -> list[float]:
    return next((values[name] for name in names if name in values), [])
