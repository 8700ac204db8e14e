"""The story of a run as one page."""

import difflib
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

from markupsafe import Markup

from cordee.core.pages import environment, save
from cordee.core.pages.chart import Scale, drawing, grid, lines, uprights
from cordee.journey.course import Journey
from cordee.journey.porting import Ran
from cordee.journey.serving import Piece
from cordee.journey.training import Trained

MOST_LINES = 60
"""Of a patch, on the page."""
MOST_OPERATORS = 8
"""That are named, beside those that a real chip has no kernel for."""


@dataclass(frozen=True, slots=True)
class Changed:
    """A line of a patch: its kind for the style, its text, and which parts of it are new or gone."""

    kind: str
    text: Markup


@dataclass(frozen=True, slots=True)
class Stretch:
    """What one replica made of an answer."""

    replica: str
    text: str


def write(journey: Journey, folder: Path) -> Path:
    """Write `report.html` into a folder, that of all that the run made; gives its path."""
    templates = environment("cordee.journey")
    templates.filters["short"] = short
    page = templates.get_template("page.html.j2")
    text = page.render(
        j=journey,
        patch=tuple(_patch(journey.ported.patch)),
        operators=tuple(_named(journey.ported.ran)),
        course=course(journey.trained),
        stretches=tuple(_stretches(journey.served.pieces)),
        port_report=Path(journey.ported.report).relative_to(journey.order.folder).as_posix(),
    )
    save(text, folder / "report.html")
    return folder / "report.html"


def _named(ran: Iterable[Ran]) -> Iterator[Ran]:
    """Those called most, and all that have no kernel."""
    return (one for place, one in enumerate(ran) if place < MOST_OPERATORS or not one.native)


def short(number: float) -> str:
    """A large number in words: 2 trillion."""
    for size, word in ((1e12, "trillion"), (1e9, "billion"), (1e6, "million")):
        if number >= size:
            return f"{number / size:g} {word}"
    return f"{number:g}"


def course(trained: Trained) -> Markup:
    """The loss of every step, and when a worker went and another one came."""
    losses = trained.losses
    scale = Scale(len(losses), min(losses), max(losses), first=0)
    marks: list[tuple[float, str, str]] = []
    known: tuple[int, ...] = trained.changes[0].members
    for change in trained.changes[1:]:
        if change.step >= len(losses):
            break  # one that came when all was done
        gone, come = set(known) - set(change.members), set(change.members) - set(known)
        words = ", ".join(
            [*(f"chip {w} is lost" for w in gone), *(f"worker {w} comes" for w in come)]
        )
        marks.append((change.step, words, "lost" if gone else "come"))
        known = change.members
    words = f"loss over {len(losses)} steps, from {losses[0]:.3f} to {losses[-1]:.3f}"
    return drawing(
        "curves", words, (*grid(scale), *uprights(marks, scale), *lines(losses, scale, "loss"))
    )


def _patch(patch: str) -> Iterator[Changed]:
    """The first lines of a patch that say something, with what differs inside of them."""
    told = patch.splitlines()
    begins = next((at for at, line in enumerate(told) if line.startswith("--- ")), 0)
    shown = [line for line in told[begins:] if not line.startswith(("index ", "diff --git"))]
    shown = shown[:MOST_LINES]
    at = 0
    while at < len(shown):
        gone = _block(shown, at, "-")
        come = _block(shown, at + len(gone), "+")
        if len(gone) == len(come) and gone:
            pairs = [_inside(a, b) for a, b in zip(gone, come, strict=True)]
            yield from (Changed("gone", Markup("-") + a) for a, _ in pairs)
            yield from (Changed("come", Markup("+") + b) for _, b in pairs)
            at += 2 * len(gone)
            continue
        yield Changed(_kind(shown[at]), Markup.escape(shown[at]))
        at += 1


def _block(shown: list[str], at: int, sign: str) -> list[str]:
    """Lines that follow each other and begin with `sign`, without it."""
    found: list[str] = []
    while at < len(shown) and shown[at].startswith(sign) and not shown[at].startswith(sign * 3):
        found.append(shown[at][1:])
        at += 1
    return found


def _kind(line: str) -> str:
    if line.startswith(("+++", "---")):
        return "file"
    return {"+": "come", "-": "gone", "@": "place"}.get(line[:1], "as-it-was")


def _inside(old: str, new: str) -> tuple[Markup, Markup]:
    """Both lines, with the words in them that differ marked."""
    before, after = re.findall(r"\w+|\W", old), re.findall(r"\w+|\W", new)
    left, right = Markup(""), Markup("")
    for kind, a, b, c, d in difflib.SequenceMatcher(
        None, before, after, autojunk=False
    ).get_opcodes():
        was, now = "".join(before[a:b]), "".join(after[c:d])
        same = kind == "equal"
        left += was if same else Markup("<del>{}</del>").format(was) if was else ""
        right += now if same else Markup("<ins>{}</ins>").format(now) if now else ""
    return left, right


def _stretches(pieces: tuple[Piece, ...]) -> Iterator[Stretch]:
    for replica, made in groupby(pieces, key=lambda piece: piece.replica):
        yield Stretch(replica, "".join(piece.text for piece in made))
