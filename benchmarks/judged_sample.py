"""A hundred places that were rewritten, drawn by a fixed seed, and what a person says of them."""

import difflib
import hashlib
import tomllib
from dataclasses import dataclass
from pathlib import Path

from ported_repository import Outcome

from cordee.port.finding import Finding, apply

TABLE = Path(__file__).parent / "real_repositories" / "sample.toml"
SEED, SIZE = 20261126, 100
AROUND = 6  # lines shown before and after
RIGHT, WRONG, UNJUDGED = "right", "wrong", "not judged"


@dataclass(frozen=True)
class Place:
    """One rewritten place."""

    repository: str
    path: str
    line: int
    rule: str


@dataclass(frozen=True)
class Drawn:
    """A place of the sample, and all that was made in its file."""

    place: Place
    finding: Finding
    text: str  # of the file, before


def sample(outcomes: list[Outcome], checkouts: Path) -> list[Drawn]:
    """Those with the lowest lots, from every repository as many as it has, up to the same number."""
    turns: list[tuple[int, bytes, str, Finding]] = []
    for each in outcomes:
        lots = sorted(((_lot(each.name, f), f) for f in each.ported.made), key=lambda lot: lot[0])
        turns += [(turn, lot, each.name, finding) for turn, (lot, finding) in enumerate(lots)]
    drawn = sorted(turns, key=lambda item: item[:2])[:SIZE]
    return [_drawn(name, finding, checkouts) for _, _, name, finding in drawn]


def _lot(name: str, finding: Finding) -> bytes:
    """Each place has its own lot: where rules change, the others stay in the sample."""
    place = f"{SEED} {name} {finding.path} {finding.line} {finding.column} {finding.rule}"
    return hashlib.blake2b(place.encode()).digest()


def verdicts() -> dict[Place, str]:
    """The table."""
    rows = tomllib.loads(TABLE.read_text()).get("row", [])
    return {
        Place(row["repository"], row["path"], row["line"], row["rule"]): row["verdict"]
        for row in rows
    }


def _drawn(name: str, finding: Finding, checkouts: Path) -> Drawn:
    data = (checkouts / name / finding.path).read_bytes()
    place = Place(name, finding.path, finding.line, finding.rule)
    return Drawn(place, finding, data.decode("utf-8", errors="replace"))


def shown(drawn: Drawn) -> str:
    """Before and after, with what is around."""
    assert drawn.finding.fix is not None
    after = apply(drawn.text, [drawn.finding.fix])
    difference = difflib.unified_diff(
        drawn.text.splitlines(), after.splitlines(), lineterm="", n=AROUND
    )
    place = drawn.place
    head = f"=== {place.repository} {place.path}:{place.line} {place.rule}: {drawn.finding.says}"
    return "\n".join([head, *list(difference)[2:]])
