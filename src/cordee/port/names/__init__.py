"""Which names a version of torch and torch-npu offers, and the parameters they take.

The tables beside this module are written by tools/names.py from the published wheels. They speak
of the newest release of each minor version, and of the modules that `covered` knows. A name is
one that a program can reach: a module counts even where it must be imported first.
"""

from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import TypeAlias

from cordee.core.errors import UsageError

TABLES = ("torch.txt", "torch_npu.txt")

# The adapter registers its module as torch's, and its operators as names of its own.
SAME = {"torch_npu.npu": "torch.npu", "torch.ops.npu": "torch_npu"}

Version: TypeAlias = tuple[int, int]


@dataclass(frozen=True, slots=True)
class Span:
    """Versions without a break in which a name takes the same parameters.

    Where parameters are known, "*" stands before those given by keyword only, and "*args" and
    "**kwargs" keep their stars.
    """

    since: Version
    until: Version
    parameters: tuple[str, ...] | None


def offered(name: str, version: str) -> bool:
    """Whether `name`, such as torch.npu.empty_cache, exists in `version`, such as 2.13.0.

    No for any name of a module that no table covers. Raises `UsageError` for a version that the
    tables do not speak of.
    """
    return _span(name, version) is not None


def parameters(name: str, version: str) -> tuple[str, ...] | None:
    """The parameters of `name` in order. None for what is not offered or whose source is not Python.

    Raises `UsageError` for a version that the tables do not speak of.
    """
    span = _span(name, version)
    return span.parameters if span else None


def covered(name: str) -> bool:
    """Whether the tables would list `name` if there were such a name: only then is "no" an answer.

    They list the names of modules, the members of enumerations and what is called on a class
    itself, but not what is called on its objects.
    """
    spans = _tables()[1]
    known = _known_as(name)
    while known not in spans and "." in known:
        known = known.rpartition(".")[0]
    return known in spans and (known == _known_as(name) or known in _owners())


def versions() -> tuple[str, ...]:
    """The minor versions that the tables speak of, the oldest first."""
    return tuple(f"{major}.{minor}" for major, minor in _tables()[0])


def _span(name: str, version: str) -> Span | None:
    known, spans = _tables()
    asked = _minor(version)
    if asked not in known:
        raise UsageError(
            f"version {version} is not in the tables of names: they go from "
            f"{versions()[0]} to {versions()[-1]}"
        )
    found = spans.get(_known_as(name), ())
    return next((span for span in found if span.since <= asked <= span.until), None)


def _known_as(name: str) -> str:
    for prefix, same in SAME.items():
        if name == prefix or name.startswith(f"{prefix}."):
            return same + name.removeprefix(prefix)
    return name


def _minor(version: str) -> Version:
    """2.13.0.post1 -> (2, 13)."""
    try:
        major, minor = version.split(".")[:2]
        return int(major), int(minor)
    except ValueError as error:
        raise UsageError(f"{version!r} is not a version such as 2.13 or 2.13.0") from error


@cache
def _tables() -> tuple[tuple[Version, ...], dict[str, tuple[Span, ...]]]:
    known: set[Version] = set()
    spans: dict[str, tuple[Span, ...]] = {}
    for table in TABLES:
        text = (files(__name__) / table).read_text("utf-8")
        lines = [line.split(" ") for line in text.splitlines() if not line.startswith("#")]
        mine = sorted(map(_minor, lines[0][1:]))  # "versions 2.6 2.7 …"
        known.update(mine)
        for name, since, until, given in lines[1:]:
            span = Span(
                _minor(since),
                mine[-1] if until == "-" else _minor(until),
                None if given == "-" else tuple(filter(None, given[1:-1].split(","))),
            )
            spans[name] = (*spans.get(name, ()), span)
    return tuple(sorted(known)), spans


@cache
def _owners() -> frozenset[str]:
    """Modules, and classes that are not for making objects, some of whose names are listed."""
    spans = _tables()[1]
    above = {name.rpartition(".")[0] for name in spans}
    return frozenset(name for name in above & spans.keys() if spans[name][-1].parameters is None)
