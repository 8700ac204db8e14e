"""What systems that hand out chips call those of a device."""

from dataclasses import dataclass
from functools import cache
from importlib.resources import files

from cordee.core.facts import Fact, rows


@dataclass(frozen=True, slots=True)
class Resource(Fact):
    """The name of a device's chips in one system."""

    system: str
    device: str
    name: str


@cache
def resource(system: str, device: str) -> str | None:
    """The name of a device's chips; None where it has none that are counted."""
    table = files("cordee.hw") / "resources.toml"
    found = [row for row in rows(table, Resource) if (row.system, row.device) == (system, device)]
    return found[0].name if found else None
