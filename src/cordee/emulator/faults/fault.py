"""The faults that a virtual machine can have: what, where, and when."""

from collections.abc import Mapping
from dataclasses import MISSING, asdict, dataclass, fields
from typing import Any, ClassVar, Literal

from cordee.core.errors import UsageError

TRIGGERS = ("at_step", "after_s", "for_s")
OPERATOR_BYTES = 63  # what machine.h has room for, less the end
LARGEST = "largest"


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """A fault; with neither `at_step` nor `after_s` it strikes at once."""

    kind: ClassVar[str]
    """Its name in a schedule."""
    mends: ClassVar[bool] = False
    """Whether it can end by itself."""

    at_step: int | None = None
    """Strikes when the chip's process has done so many steps of its optimizer."""
    after_s: float | None = None
    """Strikes so many seconds after it was asked for; a schedule is, when its machine starts."""
    for_s: float | None = None
    """Ends so many seconds after it struck."""

    def __post_init__(self) -> None:
        if self.at_step is not None:
            self._whole("at_step", self.at_step, 1)
            if self.after_s is not None:
                raise UsageError(f"{self.kind}: at_step or after_s, not both")
        for name in ("after_s", "for_s"):
            if getattr(self, name) is not None:
                self._number(name, getattr(self, name), 0)
        if self.for_s is not None and not self.mends:
            raise UsageError(f"{self.kind}: does not end by itself, so it takes no for_s")

    @property
    def place(self) -> str:
        """Where it strikes, in words."""
        raise NotImplementedError

    def _whole(self, name: str, value: object, least: int, most: int = 2**63 - 1) -> None:
        right = isinstance(value, int) and not isinstance(value, bool)
        if not right or not least <= value <= most:  # type: ignore[operator]
            raise UsageError(f"{self.kind}: {name} = {value!r} is not a whole number from {least}")

    def _number(self, name: str, value: object, above: float, most: float = 1e9) -> None:
        right = isinstance(value, int | float) and not isinstance(value, bool)
        if not right or not above < value <= most:  # type: ignore[operator]
            raise UsageError(
                f"{self.kind}: {name} = {value!r} is not over {above} and up to {most:g}"
            )

    def _two(self, name: str, values: object) -> None:
        if not isinstance(values, tuple) or len(values) != 2 or values[0] == values[1]:
            raise UsageError(f"{self.kind}: {name} = {values!r} are not two different numbers")
        for value in values:
            self._whole(name, value, 0)


@dataclass(frozen=True, slots=True, kw_only=True)
class ChipFault(Fault):
    """A fault of one chip."""

    chip: int
    """Its number in the machine."""

    def __post_init__(self) -> None:
        Fault.__post_init__(self)
        self._whole("chip", self.chip, 0)

    @property
    def place(self) -> str:
        return f"chip {self.chip}"


@dataclass(frozen=True, slots=True, kw_only=True)
class ChipLost(ChipFault):
    """The chip answers nothing any more."""

    kind: ClassVar[str] = "chip-lost"


@dataclass(frozen=True, slots=True, kw_only=True)
class BadMemory(ChipFault):
    """Memory of the chip has an error that its code cannot correct (UCE)."""

    kind: ClassVar[str] = "memory"

    allocation: int | str = LARGEST
    """Which allocation of the process: its number in order of address, or "largest"."""
    report: Literal["ecc", "uce"] = "ecc"
    """As what the chip reports it: "HBM MULTI BIT ECC ERROR" or "UCE ERROR"."""

    def __post_init__(self) -> None:
        ChipFault.__post_init__(self)
        if self.allocation != LARGEST:
            self._whole("allocation", self.allocation, 0)
        if self.report not in ("ecc", "uce"):
            raise UsageError(f"{self.kind}: report = {self.report!r} is neither 'ecc' nor 'uce'")

    @property
    def place(self) -> str:
        return f"chip {self.chip}, allocation {self.allocation}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Hang(ChipFault):
    """The chip takes work and does not end it."""

    kind: ClassVar[str] = "hang"
    mends: ClassVar[bool] = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Slow(ChipFault):
    """Operators on the chip take longer."""

    kind: ClassVar[str] = "slow"
    mends: ClassVar[bool] = True

    factor: float
    """How many times as long."""

    def __post_init__(self) -> None:
        ChipFault.__post_init__(self)
        self._number("factor", self.factor, 1, 1e6)

    @property
    def place(self) -> str:
        return f"chip {self.chip}, x{self.factor:g}"


@dataclass(frozen=True, slots=True, kw_only=True)
class WrongResult(ChipFault):
    """An operator's results are silently wrong on the chip: a bit of the first element."""

    kind: ClassVar[str] = "wrong-result"
    mends: ClassVar[bool] = True

    operator: str
    """Its name, such as aten::mm, with or without the overload."""
    bit: int
    """Which, from the least significant; a result with narrower elements stays right."""

    def __post_init__(self) -> None:
        ChipFault.__post_init__(self)
        self._whole("bit", self.bit, 0, 127)
        name: object = self.operator
        if not isinstance(name, str) or "::" not in name or len(name.encode()) > OPERATOR_BYTES:
            raise UsageError(f"{self.kind}: operator = {name!r} is not a name such as 'aten::mm'")

    @property
    def place(self) -> str:
        return f"chip {self.chip}, bit {self.bit} of {self.operator}"


@dataclass(frozen=True, slots=True, kw_only=True)
class LinkFault(Fault):
    """A fault of every link on the ways between two chips, in both directions."""

    mends: ClassVar[bool] = True

    between: tuple[int, int]
    """The chips."""

    def __post_init__(self) -> None:
        Fault.__post_init__(self)
        self._two("between", self.between)

    @property
    def place(self) -> str:
        return f"chips {self.between[0]} - {self.between[1]}"


@dataclass(frozen=True, slots=True, kw_only=True)
class LinkDown(LinkFault):
    """Nothing passes."""

    kind: ClassVar[str] = "link-down"


@dataclass(frozen=True, slots=True, kw_only=True)
class LinkSlow(LinkFault):
    """Transfers take longer."""

    kind: ClassVar[str] = "link-slow"

    factor: float
    """How many times as long."""

    def __post_init__(self) -> None:
        LinkFault.__post_init__(self)
        self._number("factor", self.factor, 1, 1e6)

    @property
    def place(self) -> str:
        return f"{LinkFault.place.fget(self)}, x{self.factor:g}"  # type: ignore[attr-defined]


@dataclass(frozen=True, slots=True, kw_only=True)
class LinkLossy(LinkFault):
    """Packets get lost and are sent again."""

    kind: ClassVar[str] = "link-lossy"

    fraction: float
    """Of the packets: between 0 and 1."""

    def __post_init__(self) -> None:
        LinkFault.__post_init__(self)
        self._number("fraction", self.fraction, 0, 1)

    @property
    def place(self) -> str:
        return f"{LinkFault.place.fget(self)}, {self.fraction:.4%} lost"  # type: ignore[attr-defined]


@dataclass(frozen=True, slots=True, kw_only=True)
class LinkFlapping(LinkFault):
    """The link comes and goes, beginning with up."""

    kind: ClassVar[str] = "link-flapping"

    up_s: float
    """How long it is up each time."""
    down_s: float
    """How long it is then down."""

    def __post_init__(self) -> None:
        LinkFault.__post_init__(self)
        for name in ("up_s", "down_s"):
            self._number(name, getattr(self, name), 0, 1e6)

    @property
    def place(self) -> str:
        ends = LinkFault.place.fget(self)  # type: ignore[attr-defined]
        return f"{ends}, up {self.up_s:g} s, down {self.down_s:g} s"


@dataclass(frozen=True, slots=True, kw_only=True)
class Partition(Fault):
    """No link between two nodes lets anything pass."""

    kind: ClassVar[str] = "partition"
    mends: ClassVar[bool] = True

    nodes: tuple[int, int]
    """Their numbers."""

    def __post_init__(self) -> None:
        Fault.__post_init__(self)
        self._two("nodes", self.nodes)

    @property
    def place(self) -> str:
        return f"nodes {self.nodes[0]} - {self.nodes[1]}"


@dataclass(frozen=True, slots=True, kw_only=True)
class HostLost(Fault):
    """A node is gone: its chips answer nothing, and processes that use them are killed."""

    kind: ClassVar[str] = "host-lost"

    node: int
    """Its number."""

    def __post_init__(self) -> None:
        Fault.__post_init__(self)
        self._whole("node", self.node, 0)

    @property
    def place(self) -> str:
        return f"node {self.node}"


KINDS: dict[str, type[Fault]] = {
    kind.kind: kind
    for kind in (
        *(ChipLost, BadMemory, Hang, Slow, WrongResult),
        *(LinkDown, LinkSlow, LinkLossy, LinkFlapping, Partition, HostLost),
    )
}


def from_row(row: Mapping[str, Any]) -> Fault:
    """The fault that a row of a schedule describes. Raises `UsageError`."""
    kind = row.get("kind")
    if kind not in KINDS:
        raise UsageError(f"kind = {kind!r} is none of {', '.join(KINDS)}")
    made = KINDS[kind]
    known = {entry.name: entry.default is MISSING for entry in fields(made)}
    for key in row:
        if key != "kind" and key not in known:
            raise UsageError(f"{kind}: unknown key {key!r}; there are {', '.join(known)}")
    for key, needed in known.items():
        if needed and key not in row:
            raise UsageError(f"{kind}: {key} is missing")
    given: dict[str, Any] = {key: value for key, value in row.items() if key != "kind"}
    for key, value in given.items():
        given[key] = tuple(value) if isinstance(value, list) else value
    return made(**given)


def as_row(fault: Fault) -> dict[str, Any]:
    """What `from_row` makes the fault of."""
    given = {key: value for key, value in asdict(fault).items() if value is not None}
    return {"kind": fault.kind, **given}
