"""What a planner must know of a chip of any maker: rates, memory, links, power and prices.

A chip is what the framework addresses: of an Ascend 910C it is one of the two dies of a package.
`chips.toml` says what the emulator must know of those that can be emulated; `soc_name` leads there.
A file of the user's has the same tables, and a row in it takes the place of ours of that name.
"""

import difflib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import ClassVar

from cordee.core.errors import UsageError
from cordee.core.facts import Fact, only, rows

DTYPES = ("fp32", "tf32", "fp16", "bf16", "int8", "fp8", "fp4")


@dataclass(frozen=True, slots=True, kw_only=True)
class Accelerator(Fact):
    """One kind of chip. A figure is None where no source gives it."""

    name: str
    """What people call it."""
    maker: str
    """Who makes it."""
    generation: str = ""
    """Chips that make the same of their peaks: the cores are alike, their number and clock differ."""
    aliases: list[str] = field(default_factory=list)
    """Other names people use for it."""
    soc_name: str | None = None
    """Name that the driver reports of an Ascend."""
    part: str = ""
    """Which part of what is sold a chip is, where that is not all of it."""
    flops_per_s: dict[str, float]
    """Peak rate of dense matrix products by dtype, as the vendor states it."""
    vector_flops_per_s: dict[str, float] = field(default_factory=dict)
    """Peak rate of everything else by dtype, where the chip has cores of its own for it."""
    cores: int | None = None
    """How many cores share a matrix product: streaming multiprocessors, or cube cores."""
    memory_bytes: int
    """Size of the memory on the chip."""
    memory_bytes_per_s: float | None = None
    """Peak rate of the memory."""
    link: str = ""
    """What joins the chips of a node."""
    link_bytes_per_s: float | None = None
    """Peak rate of a chip to all others of its node together, in one direction."""
    link_peers: int | None = None
    """To how many chips that rate is divided where links go from chip to chip; None with a switch."""
    chips_per_node: int = 8
    """How many chips a node has."""
    supernode: str = ""
    """What one calls nodes whose links are joined."""
    supernode_chips: int | None = None
    """How many chips that is."""
    network_bytes_per_s: float | None = None
    """Peak rate of a chip to other nodes, in one direction."""
    power_w: float | None = None
    """The power that it is built for."""
    available: str = ""
    """When it can be had, where it cannot yet."""
    checked: str
    """"opened": the figures were read in the source; "recalled": they are to be read again there."""

    CHECKED: ClassVar = ("opened", "recalled")

    def __post_init__(self) -> None:
        unknown = sorted(self.flops_per_s.keys() - set(DTYPES))
        if unknown or not self.flops_per_s:
            known = ", ".join(DTYPES)
            raise UsageError(
                f"flops_per_s of {self.name}: {', '.join(unknown) or 'empty'}: {known}"
            )
        if self.checked not in self.CHECKED:
            raise UsageError(f"checked = {self.checked!r}: one of {', '.join(self.CHECKED)}")
        for name in ("memory_bytes", "chips_per_node"):
            if not getattr(self, name) > 0:
                raise UsageError(f"{name} of {self.name} = {getattr(self, name)!r}: above 0")
        for name in ("memory_bytes_per_s", "link_bytes_per_s", "network_bytes_per_s", "power_w"):
            figure = getattr(self, name)
            if figure is not None and not figure > 0:
                raise UsageError(f"{name} of {self.name} = {figure!r}: above 0, or left out")
        for name, rate in self.flops_per_s.items():
            if not rate > 0:
                raise UsageError(f"flops_per_s of {self.name}: {name} = {rate!r}: above 0")

    def peak_flops_per_s(self, dtype: str) -> float:
        """The peak rate at `dtype`. Raises `UsageError` where the chip has none."""
        found = self.flops_per_s.get(dtype)
        if found is None:
            able = ", ".join(self.flops_per_s)
            raise UsageError(f"{self.name} does not multiply in {dtype}; it does in {able}")
        return found


@dataclass(frozen=True, slots=True, kw_only=True)
class Disagreement(Fact):
    """Another value that some source gives for a figure of a chip."""

    chip: str
    """Which chip."""
    figure: str
    """Which of its fields."""
    value: str
    """What that source says, with its unit."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Price(Fact):
    """What a chip costs: to rent for an hour, or to buy."""

    KINDS: ClassVar = ("rent", "buy")

    chip: str
    """Which chip."""
    kind: str
    """"rent", per hour, or "buy"."""
    low_usd: float
    """The lowest that is asked."""
    high_usd: float
    """The highest."""
    date: str
    """When that was."""

    def __post_init__(self) -> None:
        if self.kind not in self.KINDS:
            raise UsageError(f"kind = {self.kind!r}: one of {', '.join(self.KINDS)}")
        if not 0 < self.low_usd <= self.high_usd:
            raise UsageError(f"price of {self.chip}: low_usd <= high_usd, both above 0")


@dataclass(frozen=True, slots=True, kw_only=True)
class Catalogue:
    """Chips with what is said of them."""

    accelerators: tuple[Accelerator, ...]
    """Every chip, in the order of the tables."""
    disagreements: tuple[Disagreement, ...]
    """Where sources differ."""
    prices: tuple[Price, ...]
    """What chips cost."""

    def find(self, name: str) -> Accelerator:
        """The chip of that name or alias, in any case of letters. Raises `UsageError` otherwise."""
        names = self._names()
        if found := names.get(name.lower()):
            return found
        close = difflib.get_close_matches(name.lower(), names, n=1, cutoff=0.5)
        hint = f" Did you mean {names[close[0]].name}?" if close else ""
        known = ", ".join(known.name for known in self.accelerators)
        raise UsageError(f"{name}: no such chip in the catalogue.{hint} It has {known}")

    def price(self, chip: Accelerator, kind: str) -> Price | None:
        """What that chip costs; the row that was read last counts."""
        found = [price for price in self.prices if (price.chip, price.kind) == (chip.name, kind)]
        return found[-1] if found else None

    def disputed(self, chip: Accelerator) -> tuple[Disagreement, ...]:
        """What other sources say of that chip."""
        return tuple(other for other in self.disagreements if other.chip == chip.name)

    def extended(self, path: Path) -> "Catalogue":
        """With the tables in a file of the user's, whose rows come before ours of the same name."""
        theirs = _read([path])
        named = {chip.name for chip in theirs.accelerators}
        ours = tuple(chip for chip in self.accelerators if chip.name not in named)
        merged = Catalogue(
            accelerators=ours + theirs.accelerators,
            disagreements=self.disagreements + theirs.disagreements,
            prices=self.prices + theirs.prices,
        )
        told_of = [row.chip for row in theirs.prices] + [row.chip for row in theirs.disagreements]
        for name in told_of:
            if name not in {chip.name for chip in merged.accelerators}:
                raise UsageError(f"{path}: {name}: {_unknown(merged, name)}")
        merged._names()
        return merged

    def _names(self) -> Mapping[str, Accelerator]:
        names: dict[str, Accelerator] = {}
        for known in self.accelerators:
            own = {known.name, *known.aliases, *([known.soc_name] if known.soc_name else [])}
            for name in sorted(own):
                taken = names.setdefault(name.lower(), known)
                if taken is not known:
                    raise UsageError(f"two chips are called {name}: {taken.name} and {known.name}")
        return names


@cache
def accelerators() -> Catalogue:
    """The catalogue of every maker's chips."""
    folder = files("cordee.hw") / "accelerators"
    return _read(table for table in _sorted(folder) if table.name.endswith(".toml"))


def _sorted(folder: Traversable) -> list[Traversable]:
    return sorted(folder.iterdir(), key=lambda table: table.name)


def _read(tables: Iterable[Traversable]) -> Catalogue:
    chips: list[Accelerator] = []
    others: list[Disagreement] = []
    prices: list[Price] = []
    for table in tables:
        only(table, "chip", "disagreement", "price")
        chips += rows(table, Accelerator, table="chip")
        others += rows(table, Disagreement, table="disagreement")
        prices += rows(table, Price, table="price")
    return Catalogue(accelerators=tuple(chips), disagreements=tuple(others), prices=tuple(prices))


def _unknown(catalogue: Catalogue, name: str) -> str:
    try:
        found = catalogue.find(name)
    except UsageError as error:
        return str(error)
    return f"write it as the catalogue does: {found.name}"


def catalogue_with(own: Path | None) -> Catalogue:
    """All of them, behind those of a user's own file where there is one."""
    return accelerators().extended(own) if own else accelerators()
