"""What the page of a plan shows, whether of training or of serving, as it stands there."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from markupsafe import Markup

from cordee.core.pages import environment, save
from cordee.hw.accelerator import Accelerator, Price

FULL = 0.5
"""The change that fills its half of a chart of sensitivities."""


@dataclass(frozen=True, slots=True)
class Part:
    """A piece of a bar."""

    place: int
    """Among all names of its chart, for its colour."""
    name: str
    width: float
    """In percent of the longest bar."""
    text: str
    """How much it is."""


@dataclass(frozen=True, slots=True)
class Bar:
    """One kind of chip in a chart of bars."""

    title: str
    text: str
    """The whole."""
    parts: tuple[Part, ...]

    @property
    def words(self) -> str:
        """For those who cannot see it."""
        return f"{self.title}: " + ", ".join(f"{part.name} {part.text}" for part in self.parts)


@dataclass(frozen=True, slots=True, kw_only=True)
class Sensitivity:
    """What if something of a chip, or of what is asked of it, were another: the change in time."""

    what: str
    change: float | None
    """Of the time as it is; below 0 where it is shorter. None where nothing fits."""
    remark: str = ""
    """What else is another."""

    @property
    def text(self) -> str:
        """The change as a percentage, with its sign."""
        if self.change is None:
            return "does not fit"
        return "no change" if abs(self.change) < 0.0005 else f"{self.change:+.1%}".replace("-", "−")

    @property
    def width(self) -> float:
        """Of its half of the chart, in percent."""
        return min(abs(self.change or 0.0) / FULL, 1.0) * 100


@dataclass(frozen=True, slots=True, kw_only=True)
class Ranking:
    """The best layouts on a kind of chip, and why they are not the first."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Plot:
    """A drawing with what stands below it."""

    drawing: Markup
    caption: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Basis:
    """What the figures of a kind of chip rest on."""

    chip: str
    interval: str
    judged_by: str
    figures: str
    """Source of the chip's own."""
    price: str


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """Everything on the page, in its order."""

    command: str
    title: str
    lead: str
    facts: tuple[tuple[str, str], ...]
    chips: tuple[str, ...]
    table: tuple[tuple[str, tuple[str, ...]], ...]
    plots: tuple[Plot, ...]
    plotted: str
    time: tuple[Bar, ...]
    time_words: str
    memory: tuple[Bar, ...]
    memory_words: str
    sensitivities: tuple[tuple[str, tuple[Sensitivity, ...]], ...]
    sensitivity_words: str
    sensitivity_titles: tuple[str, str, str]
    """Above the bars, the changes and the remarks."""
    rankings: tuple[Ranking, ...]
    basis: tuple[Basis, ...]
    remarks: tuple[str, ...]
    rankings_title: str = "Why the others lost"


def bars(
    found: Sequence[tuple[str, str, Mapping[str, float]]], unit: str, scale: float, most: float = 0
) -> tuple[Bar, ...]:
    """Bars of which the longest is as wide as there is room: title, text of the whole, and parts."""
    names = list(dict.fromkeys(name for _, _, parts in found for name in parts))
    longest = max(most, *(sum(parts.values()) for _, _, parts in found)) or 1.0
    return tuple(
        Bar(
            title,
            text,
            tuple(
                Part(names.index(name), name, value / longest * 100, f"{value / scale:.3g} {unit}")
                for name, value in parts.items()
                if value > 0.0005 * longest
            ),
        )
        for title, text, parts in found
    )


def bettered(spot: tuple[float, float], every: Iterable[tuple[float, float]]) -> bool:
    """Whether another is as good in both, and better in one: less is better."""
    return any(one != spot and one[0] <= spot[0] and one[1] <= spot[1] for one in every)


def price_text(price: Price | None) -> str:
    """Of an hour, and where it stands."""
    if price is None:
        return "none known"
    return f"{price.low_usd:g} to {price.high_usd:g} USD an hour, {price.date}: {price.source}"


def source_text(chip: Accelerator) -> str:
    """Where its figures stand, and whether they were read there."""
    return f"{chip.source} ({'read there' if chip.checked == 'opened' else 'recalled'})"


def write_page(view: View, target: Path, more: Sequence[str] = ()) -> None:
    """Write the page, with `more` remarks. Raises `UsageError` where the file cannot be written."""
    shown = replace(view, remarks=(*more, *view.remarks))
    save(environment("cordee.plan.page").get_template("page.html.j2").render(v=shown), target)
