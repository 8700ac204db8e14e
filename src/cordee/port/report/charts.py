"""Bars: the effort left by kind of file and by family of rules, and what became of all ties."""

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from markupsafe import Markup

from cordee.core.pages.numbers import plural
from cordee.port.finding import Effort
from cordee.port.hours import Hours, work_text
from cordee.port.report.families import rule_named
from cordee.port.score import Score
from cordee.port.ties import File, State, Tie, total


@dataclass(frozen=True, slots=True)
class Bar:
    """One kind or family: its ties, and the effort left in them."""

    name: str
    ties: int
    left: int
    work: Hours
    drawing: Markup

    @property
    def work_text(self) -> str:
        """The effort left, in words."""
        return work_text(self.work)


@dataclass(frozen=True, slots=True)
class Share:
    """A piece of the bar over all ties."""

    tone: str
    label: str
    ties: int


def by_kind(files: Sequence[File]) -> list[Bar]:
    """Bars for kinds of files, most effort first."""
    return _bars(files, lambda tie: tie.finding.kind)


def by_family(files: Sequence[File]) -> list[Bar]:
    """Bars for families of rules, most effort first."""
    return _bars(files, lambda tie: rule_named(tie.finding.rule).family)


def shares(files: Sequence[File], score: Score) -> list[Share]:
    """All ties: those that need nobody, then those left by their effort."""
    pieces = [
        Share("settled", "rewritten", score.states[State.REWRITTEN]),
        Share("settled", "rewritten by cordee port", score.states[State.REWRITABLE]),
        Share("runs", "run as they are", score.states[State.RUNS]),
    ]
    left = [tie for file in files for tie in file.left if not tie.is_glance]
    for effort, words in ((Effort.S, "minutes"), (Effort.M, "hours"), (Effort.L, "days")):
        count = sum(tie.finding.effort is effort for tie in left)
        pieces.append(Share(f"left-{effort.lower()}", f"left, {words} each", count))
    glances = sum(tie.is_glance for file in files for tie in file.ties)
    pieces.append(Share("glance", "left, a glance each: likely run as they are", glances))
    return [piece for piece in pieces if piece.ties]


def _bars(files: Sequence[File], name: Callable[[Tie], str]) -> list[Bar]:
    groups: dict[str, list[Tie]] = defaultdict(list)
    for file in files:
        for tie in file.ties:
            groups[name(tie)].append(tie)
    work = {key: total(tuple(tie for tie in ties if tie.is_left)) for key, ties in groups.items()}
    longest_h = max((hours.middle_h for hours in work.values()), default=0)
    bars = [
        Bar(key, len(ties), sum(t.is_left for t in ties), work[key], _bar(key, ties, longest_h))
        for key, ties in groups.items()
    ]
    return sorted(bars, key=lambda bar: (-bar.work.middle_h, -bar.ties, bar.name))


def _bar(name: str, ties: Sequence[Tie], longest_h: float) -> Markup:
    """Widths are percentages, so that the bar fits any page and its ends stay round."""
    left = [tie for tie in ties if tie.is_left]
    words = f"{name}: {plural(len(left), 'tie')} left of {len(ties)}"
    parts = [
        f'<svg class="hbar" width="100%" height="14" role="img" aria-label="{Markup.escape(words)}">'
    ]
    parts.append('<rect class="rail" width="100%" height="14" rx="3"/>')
    at = 0.0
    for effort in (Effort.L, Effort.M, Effort.S):
        mine_h = total(tuple(t for t in left if t.finding.effort is effort)).middle_h
        width = 100 * mine_h / longest_h if longest_h else 0
        if width:
            parts.append(
                f'<rect class="left-{effort.lower()}" x="{at:.2f}%" width="{max(width, 0.6):.2f}%" height="14" rx="3"/>'
            )
        at += width
    return Markup("".join([*parts, "</svg>"]))
