"""How the chip differs from the CPU in the dtypes that an operator takes and computes in."""

from collections.abc import Iterator
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import cache
from importlib.resources import files

import torch

from cordee.core.facts import Fact, rows
from cordee.emulator.ops.refusals import refusal


@dataclass(frozen=True, slots=True)
class Row(Fact):
    """What holds for some aten operators."""

    names: list[str]  # every overload; `*` stands for any text

    def __contains__(self, name: str) -> bool:
        namespace, _, base = name.partition(".")[0].partition("::")
        return namespace == "aten" and any(fnmatchcase(base, known) for known in self.names)


@dataclass(frozen=True, slots=True)
class HalfPrecision(Row):
    """Operators that are computed in float32 and rounded once when given half precision.

    The first row that has an operator's name holds.
    """

    dtypes: tuple[str, ...] = ("float16", "bfloat16")
    float_results: tuple[int, ...] = ()  # positions of results that stay in float32


@dataclass(frozen=True, slots=True)
class IndexDtype(Row):
    """Operators that take int32 where the CPU wants int64."""

    arguments: list[str]


@dataclass(frozen=True, slots=True)
class Rules:
    """What the kernel is told of an operator: see Rules in ../kernel/kernel.h."""

    refused_dtypes: list[torch.dtype]
    why: str
    in_float: list[torch.dtype]
    float_results: int
    long_arguments: int


def rules(name: str) -> Rules:
    """Those of the operator "aten::name.overload"."""
    refused = refusal(name)
    half = next((row for row in _half_precision() if name in row), None)
    return Rules(
        refused_dtypes=refused.dtypes,
        why=refused.why,
        in_float=[getattr(torch, dtype) for dtype in half.dtypes] if half else [],
        float_results=sum(1 << position for position in half.float_results) if half else 0,
        long_arguments=sum(1 << position for position in _long_arguments(name)),
    )


def _long_arguments(name: str) -> Iterator[int]:
    """Positions of the arguments of `name` in which int32 stands for int64."""
    for row in _index_dtypes():
        if name in row:
            base, _, overload = name.partition(".")
            schema = torch._C._get_schema(base, overload)
            for position, argument in enumerate(schema.arguments):
                if argument.name in row.arguments:
                    yield position


@cache
def _half_precision() -> list[HalfPrecision]:
    return list(rows(files(__package__) / "half_precision.toml", HalfPrecision))


@cache
def _index_dtypes() -> list[IndexDtype]:
    return list(rows(files(__package__) / "index_dtypes.toml", IndexDtype))
