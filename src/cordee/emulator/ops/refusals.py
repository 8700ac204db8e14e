"""Which dtypes an operator refuses on the chip though the CPU would take them."""

from dataclasses import dataclass
from functools import cache
from importlib.resources import files

import torch

from cordee.core.facts import Fact, rows

TABLES = ("refusals.toml", "adapter_refusals.toml")


@dataclass(frozen=True, slots=True)
class Row(Fact):
    """Operators of PyTorch with the same refusals for the same reason."""

    operators: list[str]  # "mm" for every overload, "sort.stable" for one
    dtypes: list[str]
    supported: list[str]


@dataclass(frozen=True, slots=True)
class Refusal:
    """What the chip does not take, and what an error says of it."""

    dtypes: list[torch.dtype]
    why: str
    """What an error says after it has named operator, argument and dtype."""


NONE = Refusal([], "")


def refusal(name: str) -> Refusal:
    """What the operator "aten::name.overload" refuses."""
    overload = name.removeprefix("aten::")
    keys = {overload, overload.partition(".")[0]}
    found = [row for key in sorted(keys) for row in _rows().get(key, [])]
    if not name.startswith("aten::") or not found:
        return NONE
    dtypes = {getattr(torch, dtype) for row in found for dtype in row.dtypes}
    why = " ".join(f"It takes {_listed(row.supported)} ({row.source})." for row in found)
    return Refusal(list(dtypes), why)


def rows_of(table: str) -> list[Row]:
    """The rows of one of `TABLES`."""
    return list(rows(files(__package__) / table, Row))


@cache
def _rows() -> dict[str, list[Row]]:
    found: dict[str, list[Row]] = {}
    for table in TABLES:
        for row in rows_of(table):
            for operator in row.operators:
                found.setdefault(operator, []).append(row)
    return found


def _listed(words: list[str]) -> str:
    return " and ".join(filter(None, [", ".join(words[:-1]), words[-1]]))
