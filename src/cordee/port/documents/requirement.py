"""What rules see of a package that is asked for, of pip or conda, wherever that is written."""

import re
from dataclasses import dataclass

from packaging.requirements import InvalidRequirement
from packaging.requirements import Requirement as Parsed
from packaging.utils import canonicalize_name

from cordee.port.python.file import Span

REPOSITORY = re.compile(
    r"(?:-e\s+|--editable[ =])?(?:(?P<name>[\w.\-]+)\s*@\s*)?"
    r"(?P<url>(?:git\+|https?:|ssh:|file:)\S*?(?P<last>[\w.\-]+?)(?:\.git|\.whl|\.zip|/)?(?:[@#]\S*)?)$"
)
LOOSE = re.compile(
    r"(?P<name>[A-Za-z0-9][\w.\-]*)(?:\[(?P<extras>[^\]]*)\])?\s*(?P<rest>[<>=!~].*)?$"
)
CONDA = re.compile(
    r"(?:(?P<channel>[\w./\-]+)::)?(?P<name>[A-Za-z0-9_][\w.\-]*)(?:\s*(?P<rest>[<>=!~ ].*))?$"
)


@dataclass(frozen=True, slots=True)
class Requirement:
    """One package. `versions` is what is said of them, as it is written: `==2.1.0`, `>=2`."""

    name: str  # in lower case, with dashes
    versions: str
    extras: frozenset[str]
    text: str
    span: Span
    manager: str = "pip"  # pip, poetry or conda
    marker: str = ""
    another: str = ""  # how one more is written behind it; "" where it cannot be
    nearby: str = ""  # the text in which others are asked for
    direct: bool = False  # from a URL or a repository

    @property
    def exact(self) -> str:
        """The one version that is asked for, without what names a build: 2.1.0 for 2.1.0+cu118."""
        match = re.fullmatch(r"={1,3}\s*(\d[\w.]*)(?:\+[\w.]*)?", self.versions.strip())
        return match[1] if match and not match[1].endswith((".*", ".")) else ""

    @property
    def build(self) -> str:
        """What is said of the build: cu118 of 2.1.0+cu118."""
        match = re.search(r"\+(\w+)", self.versions)
        return match[1] if match else ""


def pip_requirement(text: str, start: int, another: str, nearby: str) -> Requirement | None:
    """What `text`, which stands at `start`, asks pip for."""
    text = text.strip()
    span = Span(start, start + len(text))
    bare = re.split(r"\s+--|\s+\\$", text)[0].strip()
    try:
        parsed = Parsed(bare)
    except InvalidRequirement:
        return _loose(bare, text, span, another, nearby)
    return Requirement(
        canonicalize_name(parsed.name),
        _versions(bare) if not parsed.url else "",
        frozenset(parsed.extras),
        text,
        span,
        "pip",
        str(parsed.marker or ""),
        another,
        nearby,
        bool(parsed.url),
    )


def _versions(text: str) -> str:
    """What is written behind the name and extras, before a marker."""
    match = re.match(r"[\w.\-]+\s*(?:\[[^\]]*\])?\s*\(?([^;)]*)", text)
    return match[1].strip() if match else ""


def _loose(bare: str, text: str, span: Span, another: str, nearby: str) -> Requirement | None:
    if match := REPOSITORY.match(bare):
        egg = re.search(r"#egg=([\w.\-]+)", bare)
        name = egg[1] if egg else match["name"] or match["last"].partition("-")[0]
        if not egg and not match["name"] and not bare.endswith(".whl"):
            name = match["last"]
        return Requirement(
            canonicalize_name(name), "", frozenset(), text, span, "pip", "", "", nearby, True
        )
    if match := LOOSE.match(bare):
        extras = frozenset(part.strip() for part in (match["extras"] or "").split(",") if part)
        name = canonicalize_name(match["name"])
        versions = match["rest"] or ""
        return Requirement(name, versions, extras, text, span, "pip", "", another, nearby)
    return None


def conda_requirement(text: str, start: int, nearby: str) -> Requirement | None:
    """What `text`, which stands at `start`, asks conda for."""
    match = CONDA.match(text.strip())
    if match is None:
        return None
    span = Span(start, start + len(text))
    name = match["name"].lower().replace("_", "-")
    versions = (match["rest"] or "").strip()
    return Requirement(name, versions, frozenset(), text, span, "conda", "", "", nearby)
