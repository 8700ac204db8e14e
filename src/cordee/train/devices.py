"""Kinds of devices that workers train on, and what their processes must find in the environment."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from glob import glob
from importlib.resources import files

from cordee.core.errors import UsageError
from cordee.core.facts import Fact, rows

TABLES = files("cordee.train")
MACHINE = "CORDEE_MACHINE"
"""Set where `cordee run` gives a program virtual chips."""


@dataclass(frozen=True, slots=True)
class Device(Fact):
    """One kind."""

    name: str
    """What PyTorch calls it."""
    visible: str
    """The variable that says which of a computer's chips a process sees."""
    nodes: str
    """Files that there are where a computer has some, as patterns."""


@dataclass(frozen=True, slots=True)
class Variable(Fact):
    """What a library that we do not start ourselves is told."""

    name: str
    value: str
    why: str


@cache
def devices() -> tuple[Device, ...]:
    """All kinds but the CPU."""
    return tuple(rows(TABLES / "devices.toml", Device))


@cache
def variables() -> dict[str, str]:
    """What each worker finds in its environment, whatever its device."""
    return {row.name: row.value for row in rows(TABLES / "variables.toml", Variable)}


def check_chips(count: int, workers: int, environment: Mapping[str, str]) -> None:
    """Raises `UsageError` where this process may not see so many, of whatever kind, or where workers need more."""
    given = _given(environment)
    if given and all(len(chips) < count for chips in given.values()):
        names = " and ".join(f"{name}={environment[name]}" for name in given)
        raise UsageError(f"--chips {count}: there are fewer in {names}")
    if 0 < count < workers:
        raise UsageError(f"--chips {count}: {workers} workers, with spares, need one each")
    patterns = [pattern for device in devices() for pattern in device.nodes.split()]
    if count and MACHINE not in environment and not any(glob(pattern) for pattern in patterns):
        raise UsageError(f"--chips {count}: this computer has none: no {', '.join(patterns)}")


def one_chip(chip: int, environment: Mapping[str, str]) -> dict[str, str]:
    """Variables by which a process sees one chip, of those that this one may see, whatever kind they are."""
    given, own = _given(environment), str(chip)
    chosen = {name: dict(enumerate(chips)).get(chip, own) for name, chips in given.items()}
    return {device.visible: chosen.get(device.visible, own) for device in devices()}


def _given(environment: Mapping[str, str]) -> dict[str, list[str]]:
    """The chips that this process was given, by each variable that is set."""
    names = [device.visible for device in devices() if environment.get(device.visible)]
    return {name: environment[name].split(",") for name in names}
