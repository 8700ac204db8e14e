"""Environment variables of NVIDIA's software: what each is on Ascend, name and value.

A variable set for NVIDIA does no harm on Ascend. A portable port sets Ascend's beside it, a native
one puts it in its place.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

from cordee.core.facts import Fact, rows
from cordee.port.finding import Confidence, Effort, Meaning, Safety

# A value that the shell or Python fills in; what it will be is not known.
FILLED_IN = re.compile(r"[$`{%]")
ALLOCATOR = frozenset({
    "expandable_segments", "garbage_collection_threshold", "max_split_size_mb",
    "roundup_power2_divisions", "pinned_use_background_threads",
})  # fmt: skip
MEGABYTE = 1024 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Variable(Fact):
    """A variable, or all that begin with a name that ends in `*`."""

    name: str
    ascend: str = ""  # its counterpart's name; "" where it has none
    values: str = ""  # how a value is translated, by a name in VALUES; "" by a person
    effect: str = ""  # "kept" where it is read on Ascend as it is, under its own name
    least: int = 0  # of a number
    most: int = 0
    step: int = 1
    effort: str = "S"
    confidence: str = "certain"  # that it is NVIDIA's; "unsure" where only its prefix says so
    advice: str = ""


@dataclass(frozen=True, slots=True)
class Translation:
    """What a variable set for NVIDIA is on Ascend."""

    name: str  # of its counterpart; "" where it has none
    value: str | None  # what the counterpart is set to; None where that is not known
    safety: Safety  # of setting it so, where the value is known
    meaning: Meaning
    says: str
    advice: str
    effort: Effort
    confidence: Confidence
    source: str
    same: bool  # the counterpart takes every value as it is

    @property
    def kept(self) -> bool:
        """Whether nothing has to change: it is read on Ascend as well, or was of no use there."""
        return self.meaning is Meaning.RUNS


def translation(name: str, value: str | None) -> Translation | None:
    """What `name` set to `value` is on Ascend; None if it is not NVIDIA's.

    `value` is None where it is not written down, as where a variable is only read. Text that is
    filled in later, such as $DEVICES, is taken as it is where the counterpart takes every value.
    """
    row = _row(name)
    if row is None:
        return None
    new, safety = _value(row, value)
    return Translation(
        name=row.ascend,
        value=new,
        safety=safety,
        meaning=_meaning(row, value, new),
        says=_says(name, row),
        advice=row.advice,
        effort=Effort(row.effort),
        confidence=Confidence(row.confidence),
        source=row.source,
        same=row.values == "same",
    )


def _row(name: str) -> Variable | None:
    exact, prefixes = _table()
    if name in exact:
        return exact[name]
    return next((row for prefix, row in prefixes if name.startswith(prefix)), None)


@cache
def _table() -> tuple[dict[str, Variable], list[tuple[str, Variable]]]:
    """Variables by name, and those known by a prefix, the longest first."""
    found = list(rows(files(__package__) / "environment.toml", Variable))
    exact = {row.name: row for row in found if not row.name.endswith("*")}
    prefixes = [(row.name.rstrip("*"), row) for row in found if row.name.endswith("*")]
    return exact, sorted(prefixes, key=lambda pair: -len(pair[0]))


def _meaning(row: Variable, value: str | None, new: str | None) -> Meaning:
    if row.ascend == row.name:
        return Meaning.RUNS if value == new else Meaning.SIGNATURE
    if not row.ascend:
        return Meaning.RUNS
    return Meaning.RENAMED if row.values == "same" or value == new else Meaning.SIGNATURE


def _says(name: str, row: Variable) -> str:
    if row.effect == "kept":
        return f"`{name}` is read on Ascend under the same name"
    if not row.ascend:
        return f"`{name}` is not read on Ascend, and has no counterpart"
    if row.ascend == name:
        return f"`{name}` takes another value on Ascend"
    return f"`{name}` is `{row.ascend}` on Ascend"


def _value(row: Variable, value: str | None) -> tuple[str | None, Safety]:
    if value is None or not row.values:
        return None, Safety.UNSAFE
    if row.values == "same":
        return value, Safety.SAFE
    if FILLED_IN.search(value):
        # Likely numbers as the counterpart wants them; a person should look.
        return (value if row.values in ("devices", "container") else None), Safety.UNSAFE
    return VALUES[row.values](row, value)


def _devices(_: Variable, value: str) -> tuple[str | None, Safety]:
    """Ascending numbers without spaces. Ascend cannot renumber devices, nor hide all of them."""
    numbers = [part.strip() for part in value.split(",")]
    if not all(part.isdigit() for part in numbers):
        return None, Safety.UNSAFE
    ascending = sorted({int(part) for part in numbers})
    same_order = ascending == [int(part) for part in numbers]
    safety = Safety.SAFE if same_order else Safety.UNSAFE
    return ",".join(map(str, ascending)), safety


def _container(row: Variable, value: str) -> tuple[str | None, Safety]:
    if value.strip() in ("none", "void"):
        return "void", Safety.SAFE
    return _devices(row, value)


def _number(row: Variable, value: str) -> tuple[str | None, Safety]:
    """A number within the counterpart's bounds means the same: both set one field of RDMA."""
    if not value.strip().isdigit():
        return None, Safety.UNSAFE
    number = int(value)
    fits = row.least <= number <= row.most and number % row.step == 0
    return (str(number), Safety.UNSAFE) if fits else (None, Safety.UNSAFE)


def _megabytes(_: Variable, value: str) -> tuple[str | None, Safety]:
    """Bytes, rounded up. One buffer of NCCL is for a channel, of HCCL for a communicator."""
    if not value.strip().isdigit():
        return None, Safety.UNSAFE
    return str(max(1, -(-int(value) // MEGABYTE))), Safety.UNSAFE


def _allocator(_: Variable, value: str) -> tuple[str | None, Safety]:
    """The options that torch_npu knows. It refuses two that PyTorch takes together."""
    options = [part.strip() for part in value.split(",") if part.strip()]
    known = [part for part in options if part.partition(":")[0].strip() in ALLOCATOR]
    names = {part.partition(":")[0].strip() for part in known}
    expandable = any(re.fullmatch(r"expandable_segments\s*:\s*True", part) for part in known)
    if not known or (expandable and names & {"max_split_size_mb", "garbage_collection_threshold"}):
        return None, Safety.UNSAFE
    return ",".join(known), Safety.SAFE if known == options else Safety.UNSAFE


def _accelerator(_: Variable, value: str) -> tuple[str | None, Safety]:
    return ("npu", Safety.SAFE) if value == "cuda" else (value, Safety.SAFE)


VALUES: dict[str, Callable[[Variable, str], tuple[str | None, Safety]]] = {
    "devices": _devices,
    "container": _container,
    "number": _number,
    "megabytes": _megabytes,
    "allocator": _allocator,
    "accelerator": _accelerator,
}
