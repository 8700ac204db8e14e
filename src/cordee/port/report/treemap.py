"""The repository as a map: area is lines, colour the effort left."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from urllib.parse import quote

from markupsafe import Markup

from cordee.core.pages.numbers import plural
from cordee.port.hours import Hours, size, work_text
from cordee.port.report.rectangles import Box, divided
from cordee.port.ties import File

LABEL = 16  # height of a folder's name
LETTER = 6.6  # width of a letter of a name
WIDE_LETTER = 7.4  # of one in bold: of folders, and of files with days left
FRAMED = 2  # levels of folders that are shown by name
SMALLEST = 100  # area below which files of a folder are drawn as one


@dataclass(slots=True)
class Place:
    """A file, a folder, or what is too small to be drawn one by one."""

    path: str
    name: str
    lines: int = 0
    files: int = 0
    ties: int = 0
    left: int = 0
    work: Hours = field(default_factory=Hours)
    inside: dict[str, "Place"] = field(default_factory=dict)

    def add(self, file: File) -> None:
        """Count a file in."""
        self.lines += max(file.judged.lines, 1)
        self.files += 1
        self.ties += len(file.ties)
        self.left += len(file.left)
        self.work += file.work

    @property
    def tone(self) -> str:
        """The class of its colour."""
        if self.left:
            return f"left-{size(self.work.middle_h).lower()}"
        return "settled" if self.ties else "free"


def treemap(files: Sequence[File], width: int, height: int) -> Markup:
    """An SVG in which every file with ties is a link that filters the page by it."""
    root = _tree(files)
    parts = [
        f'<svg class="treemap" viewBox="0 0 {width} {height}" role="group"'
        ' aria-label="Map of the repository: area is lines, colour the effort left">'
    ]
    parts += _drawn(root, Box(0, 0, width, height), 0)
    return Markup("".join([*parts, "</svg>"]))


def _tree(files: Sequence[File]) -> Place:
    root = Place("", "")
    for file in files:
        root.add(file)
        place, path = root, ""
        for name in file.judged.path.split("/"):
            path = f"{path}/{name}" if path else name
            place = place.inside.setdefault(name, Place(path, name))
            place.add(file)
    return root


def _drawn(place: Place, box: Box, depth: int) -> Iterator[str]:
    while len(place.inside) == 1 and depth:
        (only,) = place.inside.values()
        place = _joined(place, only)
    if not place.inside or box.area < 2 * SMALLEST:
        yield _cell(place, box)
        return
    inner = box
    if 0 < depth <= FRAMED and box.width > 60 and box.height > 3 * LABEL:
        inner = box.within(2, LABEL)
        yield _frame(place, box)
    elif depth:
        inner = box.within(1, 1)
    children = _children(place, inner)
    for child, part in zip(children, divided(inner, [c.lines for c in children]), strict=True):
        yield from _drawn(child, part, depth + 1)


def _joined(outer: Place, only: Place) -> Place:
    """A folder that holds one thing, and that thing, as one."""
    joined = Place(only.path, f"{outer.name}/{only.name}", inside=only.inside)
    joined.lines, joined.files, joined.ties = only.lines, only.files, only.ties
    joined.left, joined.work = only.left, only.work
    return joined


def _children(place: Place, box: Box) -> list[Place]:
    """Those inside, large first; those that would be specks are one."""
    least = SMALLEST * place.lines / max(box.area, 1)
    ordered = sorted(place.inside.values(), key=lambda child: (-child.lines, child.path))
    large = [child for child in ordered if child.lines >= least]
    specks = [child for child in ordered if child.lines < least]
    if len(specks) < 2:
        return ordered
    rest = Place(place.path, f"{len(specks)} small ones")
    for speck in specks:
        rest.lines += speck.lines
        rest.files += speck.files
        rest.ties += speck.ties
        rest.left += speck.left
        rest.work += speck.work
    return sorted([*large, rest], key=lambda child: -child.lines)


def _frame(place: Place, box: Box) -> str:
    name = _fitting(f"{place.name}/", box.width, WIDE_LETTER)
    return (
        f'<text class="folder" x="{box.x + 4:.1f}" y="{box.y + 11.5:.1f}" aria-hidden="true">'
        f"{Markup.escape(name)}</text>"
    )


def _cell(place: Place, box: Box) -> str:
    gap = 1 if min(box.width, box.height) > 4 else 0
    words = Markup.escape(_words(place))
    drawn = (
        f'<rect class="{place.tone}" x="{box.x:.1f}" y="{box.y:.1f}"'
        f' width="{max(box.width - gap, 0.5):.1f}" height="{max(box.height - gap, 0.5):.1f}"'
        f' rx="2"><title>{words}</title></rect>'
    )
    if place.ties:
        address = Markup.escape(f"#path={quote(place.path, errors='replace')}")
        drawn = f'<a href="{address}" aria-label="{words}">{drawn}</a>'
    bold = place.tone == "left-l"
    name = _fitting(place.name, box.width, WIDE_LETTER if bold else LETTER)
    if not name or box.height <= 18:
        return drawn
    at = f'x="{box.x + 4:.1f}" y="{box.y + 13.5:.1f}"'
    return (
        f'{drawn}<text class="on-{place.tone}" {at} aria-hidden="true">{Markup.escape(name)}</text>'
    )


def _words(place: Place) -> str:
    """What a cell says when it is pointed at."""
    path = place.path or "the repository"
    of = path if place.files == 1 else f"{path}, {plural(place.files, 'file')}"
    if not place.ties:
        return f"{of}: {plural(place.lines, 'line')}, no tie"
    if not place.left:
        return f"{of}: {plural(place.lines, 'line')}, {plural(place.ties, 'tie')}, none left"
    ties = f"{place.left} of {plural(place.ties, 'tie')} left"
    return f"{of}: {plural(place.lines, 'line')}, {ties}, {work_text(place.work)}"


def _fitting(name: str, width: float, letter: float = LETTER) -> str:
    """As much of a name as there is room for; nothing if that tells nothing."""
    room = int((width - 8) / letter)
    if len(name) <= room:
        return name
    return f"{name[: room - 1]}…" if room >= 5 else ""
