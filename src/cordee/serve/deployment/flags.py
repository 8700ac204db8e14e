"""The flags of `vllm serve`: their names, how many words they take, and which version has them."""

import difflib
from dataclasses import dataclass, field
from functools import cache
from importlib.resources import files

from packaging.version import InvalidVersion, Version

from cordee.core.errors import UsageError
from cordee.core.facts import Fact, rows

TABLES = files("cordee.serve.deployment")
LONGEST = 80
"""Letters of a name that could be meant for a flag."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Flag(Fact):
    """One flag. tools/vllm_flags.py writes the table from vLLM's sources."""

    name: str
    aliases: list[str] = field(default_factory=list)
    kind: str
    """flag (with a --no- form), switch, value, optional (a value or none), many, json."""
    choices: list[str] = field(default_factory=list)
    group: str = ""
    since: str
    """The first version looked at that has it."""
    until: str = ""
    """The last one; empty where the newest has it."""

    def there(self, version: str) -> bool:
        """Whether a version of vLLM has this flag."""
        return _between(self.since, version, self.until)


@dataclass(frozen=True, slots=True, kw_only=True)
class Variable(Fact):
    """One environment variable that vLLM reads."""

    name: str
    since: str
    until: str = ""

    def there(self, version: str) -> bool:
        """Whether a version of vLLM reads this variable."""
        return _between(self.since, version, self.until)


def _between(since: str, version: str, until: str) -> bool:
    at = Version(version)
    return Version(since) <= at and (not until or at <= Version(until))


@dataclass(frozen=True, slots=True, kw_only=True)
class Release(Fact):
    """One release of vllm-ascend and the version of vLLM that it stands on."""

    vllm: str
    ascend: str
    cann: str


@cache
def flags() -> tuple[Flag, ...]:
    """Every flag of every version looked at."""
    return tuple(rows(TABLES / "flags.toml", Flag))


@cache
def keys() -> dict[str, Flag]:
    """The keys of flags that take JSON, by the flag's name and the key behind a dot."""
    return {key.name: key for key in rows(TABLES / "keys.toml", Flag)}


@cache
def closed() -> frozenset[str]:
    """The flags whose keys are all in the table, and the keys that hold others."""
    return frozenset(name.rpartition(".")[0] for name in keys())


@cache
def variables() -> dict[str, Variable]:
    """Every variable that vLLM reads, by its name."""
    return {variable.name: variable for variable in rows(TABLES / "variables.toml", Variable)}


@cache
def releases() -> tuple[Release, ...]:
    """Releases of vllm-ascend; the first is the one to take."""
    return tuple(rows(TABLES / "releases.toml", Release))


def release(version: str | None) -> Release:
    """The release for a version of vLLM, or the newest final one. Raises `UsageError`."""
    if version is None:
        return releases()[0]
    try:
        wanted = Version(version.removeprefix("v"))
    except InvalidVersion as error:
        raise UsageError(f"--vllm {version}: this is no version, such as 0.23.0") from error
    for known in releases():
        if Version(known.vllm) == wanted:
            return known
    have = ", ".join(known.vllm for known in releases())
    raise UsageError(
        f"--vllm {version}: no release of vllm-ascend is known for it; there are {have}"
    )


@cache
def _by_name() -> dict[str, tuple[Flag, ...]]:
    found: dict[str, tuple[Flag, ...]] = {}
    for flag in flags():
        for name in (flag.name, *flag.aliases):
            found[name] = (*found.get(name, ()), flag)
    return found


def named(name: str, version: str) -> Flag | None:
    """The flag with that name or alias, rather one that this version has."""
    found = _by_name().get(name, ())
    return next((flag for flag in found if flag.there(version)), found[0] if found else None)


def abbreviated(name: str, version: str) -> Flag | None:
    """The one flag that begins so, as argparse takes abbreviations."""
    found = {f.name: f for f in flags() if f.there(version) and f.name.startswith(name)}
    return next(iter(found.values())) if len(found) == 1 and len(name) > 4 else None


def meant(name: str) -> str | None:
    """The flag, or the key of one, that an unknown name most resembles."""
    if len(name) > LONGEST:
        return None
    known = keys() if "." in name else _by_name()
    near = difflib.get_close_matches(name, known, n=1, cutoff=0.75)
    return near[0] if near else None
