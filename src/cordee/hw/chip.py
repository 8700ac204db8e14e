"""The catalogue of chips: what the driver reports, and figures with their sources."""

import difflib
from dataclasses import dataclass, field
from functools import cache
from importlib.resources import files

from cordee.core.errors import UsageError
from cordee.core.facts import Fact, rows


@dataclass(frozen=True, slots=True, kw_only=True)
class Chip(Fact):
    """One kind of device as torch_npu sees it. Figures are None where no source gives them."""

    soc_name: str
    """Name that the driver reports."""
    aliases: list[str] = field(default_factory=list)
    """Other names people use for it."""
    memory_bytes: int
    """Size of the memory on the device."""
    program_bytes: int | None = None
    """What the driver leaves of it to programs: the total that torch_npu reports."""
    l2_bytes: int | None = None
    """Size of the cache that all cores share."""
    cube_cores: int
    """Cores that multiply matrices; AI cores on chips that do not tell the two kinds apart."""
    vector_cores: int
    """Cores for everything else."""
    operator_timeout_s: int
    """How long an operator may take unless a program asks for less."""
    cube_hertz: int | None = None
    """Highest clock rate of the cube cores."""
    memory_bytes_per_s: int | None = None
    """Peak rate of the memory."""
    fp16_flops_per_s: int | None = None
    """Peak rate of dense fp16 matrix products, as the vendor states it."""
    int8_ops_per_s: int | None = None
    """Peak rate of dense int8 matrix products, as the vendor states it."""

    @property
    def usable_bytes(self) -> int:
        """Memory that programs can fill, as far as that is known."""
        return self.program_bytes or self.memory_bytes


@cache
def chips() -> tuple[Chip, ...]:
    """Every chip of the catalogue, in the order of its table."""
    return tuple(rows(files("cordee.hw") / "chips.toml", Chip))


def chip(name: str) -> Chip:
    """The chip with that name or alias, in any case of letters. Raises `UsageError` otherwise."""
    found = _by_name().get(name.lower())
    if found is None:
        raise UsageError(_unknown(name))
    return found


@cache
def _by_name() -> dict[str, Chip]:
    names: dict[str, Chip] = {}
    for known in chips():
        for name in (known.soc_name, *known.aliases):
            assert name.lower() not in names, f"two chips are called {name}"
            names[name.lower()] = known
    return names


def _unknown(name: str) -> str:
    known = ", ".join(known.soc_name for known in chips())
    close = difflib.get_close_matches(name.lower(), _by_name(), n=1, cutoff=0.5)
    hint = f" Did you mean {_by_name()[close[0]].soc_name}?" if close else ""
    return f"{name}: no such chip in the catalogue.{hint} It has {known}"
