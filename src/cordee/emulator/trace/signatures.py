"""Tells calls of the same operator on the same shapes from others, and numbers them."""

import json
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from cordee.emulator.ops.schema import operator
from cordee.emulator.trace.records import Support

# Seen from the outputs, or about how a call is made.
UNTOLD = frozenset(("layout", "memory_format", "pin_memory", "non_blocking", "timeout"))

PROCESS_GROUP = "c10d.ProcessGroup"

# A tensor as a key: dtype, shape, whether it is on the host. A list of tensors: a tuple of those.
Key = tuple[Any, ...]


@dataclass(frozen=True, slots=True)
class Plan:
    """Which arguments of an operator to look at."""

    name: str
    schema: torch.FunctionSchema
    tensors: tuple[int, ...]
    written: tuple[int, ...]
    others: tuple[int, ...]
    group: int | None

    def inputs(self, arguments: tuple[Any, ...]) -> Key:
        """What tells this call from others, as far as its arguments go."""
        tensors = tuple(_key(arguments[i]) for i in self.tensors)
        others = tuple(_other(arguments[i]) for i in self.others)
        group = None if self.group is None else _group(arguments[self.group])
        return tensors, others, group

    def outputs(self, results: tuple[Any, ...], inputs: Key) -> Key:
        """The same of the results; what is written in place where nothing is returned."""
        if results:
            return tuple(_key(result) for result in results)
        by_position = dict(zip(self.tensors, inputs[0], strict=True))
        return tuple(by_position[i] for i in self.written)


def plan(name: str) -> Plan:
    """What to look at in calls of the operator `name`."""
    found = operator(name)._schema
    kinds = [str(argument.type) for argument in found.arguments]
    tensors = tuple(i for i, kind in enumerate(kinds) if "Tensor" in kind)
    written = (i for i in tensors if (alias := found.arguments[i].alias_info) and alias.is_write)
    others = (
        i
        for i, kind in enumerate(kinds)
        if any(word in kind for word in ("int", "bool", "str", "SymInt"))
        and found.arguments[i].name not in UNTOLD
        and not found.arguments[i].name.endswith("dtype")
    )
    groups = (i for i, kind in enumerate(kinds) if PROCESS_GROUP in kind)
    return Plan(name, found, tensors, tuple(written), tuple(others), next(groups, None))


def tensors_in(value: Any) -> Iterator[Tensor]:
    """The tensors in an argument or a result: itself, or in lists of lists."""
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, list | tuple):
        for item in value:
            yield from tensors_in(item)


class Signatures:
    """Numbers every signature, and tells it the first time."""

    def __init__(self, tell: Callable[[dict[str, object]], None]) -> None:
        self._tell = tell
        self._numbers: dict[Key, int] = {}

    def number(self, plan: Plan, support: Support, inputs: Key, outputs: Key) -> int:
        """The number of a signature."""
        key = (plan.name, support, inputs, outputs)
        found = self._numbers.get(key)
        if found is None:
            found = self._numbers[key] = len(self._numbers)
            self._tell({"signature": found} | _entry(plan, support, inputs, outputs))
        return found


def _key(value: Any) -> Key | None:
    if isinstance(value, Tensor):
        return value.dtype, value.shape, value.get_device() < 0
    if isinstance(value, list):
        if value and isinstance(value[0], Tensor):  # hundreds of parameters in one call
            return ("list", *[(t.dtype, t.shape, t.get_device() < 0) for t in value])
        return ("list", *map(_key, value))
    return None


def _other(value: Any) -> Any:
    if isinstance(value, list):
        return tuple(value)
    return value if isinstance(value, int | bool | str) else None


def _group(value: torch.ScriptObject) -> tuple[str, int]:
    from torch._C._distributed_c10d import ProcessGroup

    group = ProcessGroup.unbox(value)
    return group.group_name, group.size()


def _entry(plan: Plan, support: Support, inputs: Key, outputs: Key) -> dict[str, object]:
    tensors, others, group = inputs
    names = [plan.schema.arguments[i].name for i in plan.tensors]
    rows = [row for name, key in zip(names, tensors, strict=True) for row in _rows(name, key)]
    results = [row for key in outputs for row in _rows("", key)]
    return {
        "operator": plan.name,
        "support": support,
        "inputs": [row for row, _ in rows],
        "arguments": dict(_arguments(plan, others, group)),
        "outputs": [row for row, _ in results],
        "input_bytes": sum(size for _, size in rows),
        "output_bytes": sum(size for _, size in results),
    }


def _rows(name: str, key: Key | None) -> Iterator[tuple[list[object], int]]:
    """Each tensor in `key` as in the file, and its size in bytes."""
    if key is None:
        return
    if key[0] == "list":
        for item in key[1:]:
            yield from _rows(name, item)
        return
    dtype, shape, on_host = key
    row = [name, str(dtype).removeprefix("torch."), list(shape), *(["cpu"] if on_host else [])]
    yield row, math.prod(shape) * dtype.itemsize  # type: ignore[misc]


def _arguments(
    plan: Plan, others: tuple[Any, ...], group: tuple[str, int] | None
) -> Iterator[tuple[str, object]]:
    for i, value in zip(plan.others, others, strict=True):
        argument = plan.schema.arguments[i]
        is_default = argument.has_default_value() and argument.default_value == value
        if value is not None and not is_default:
            yield argument.name, value
    if group:
        yield "group", group[0]
        yield "group_size", group[1]


def text(entry: object) -> str:
    """As it stands in a line of the file."""
    return json.dumps(entry)
