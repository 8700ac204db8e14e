"""Compares what an operator gave with the same operator in float32 on the host."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from types import ModuleType
from typing import Any

import torch
from torch import Tensor

from cordee.core.facts import Fact, rows
from cordee.emulator.ops.reference import REFERENCES
from cordee.emulator.ops.schema import operator
from cordee.emulator.trace.records import Difference, Support
from cordee.emulator.trace.signatures import Plan, tensors_in

DTYPES = (torch.float16, torch.bfloat16)

# Their results are drawn, or were never written.
NOT_COMPUTED = ("rand", "dropout", "bernoulli", "multinomial", "normal_", "uniform_", "empty")


@dataclass(frozen=True, slots=True)
class Tolerance(Fact):
    """Differences that the dtype of a result explains."""

    dtype: str
    absolute: float
    relative: float


@dataclass(frozen=True, slots=True)
class Pending:
    """One call between its arguments and its results."""

    plan: Plan
    arguments: tuple[Any, ...]  # on the host, in float32
    written: tuple[Tensor, ...]  # the program's own tensors that the operator writes into
    tolerance: Tolerance | None  # None where no argument is of half precision


class Comparison:
    """Runs every operator a second time, in float32 on the host."""

    def __init__(self, kernel: ModuleType) -> None:
        self._view: Callable[[Tensor], Tensor] = kernel.host_view

    def begin(self, plan: Plan, support: Support, arguments: tuple[Any, ...]) -> Pending | str:
        """Keep the arguments as they are before the operator runs; or why it is left out."""
        why = _reason(plan, support)
        tensors = [t for i in plan.tensors for t in tensors_in(arguments[i])]
        if why is None and any(not _is_plain(t) for t in tensors):
            why = "sparse or complex"
        if why is None and len({t.device for t in tensors}) > 1:
            why = "a copy between host and chip"
        if why is not None:
            return why
        half = [t.dtype for t in tensors if t.dtype in DTYPES]
        values = tuple(
            _in_float(argument.name, self._on_host(value))
            for argument, value in zip(plan.schema.arguments, arguments, strict=True)
        )
        written = tuple(t for i in plan.written for t in tensors_in(arguments[i]))
        return Pending(plan, values, written, _tolerances()[half[0]] if half else None)

    def end(self, pending: Pending, results: tuple[Any, ...]) -> Difference | str:
        """How far `results` are from float32; or why that cannot be said."""
        given = list(pending.written or tensors_in(results))
        half = [t.dtype for t in given if t.dtype in DTYPES]
        tolerance = pending.tolerance or (_tolerances()[half[0]] if half else None)
        if not any(t.is_floating_point() for t in given):
            return "integer"
        if tolerance is None:
            return "float32 already"
        try:
            wanted = _run(pending)
        except (RuntimeError, NotImplementedError, TypeError, ValueError) as error:
            return f"does not run in float32: {str(error).splitlines()[0]}"
        pairs = [
            (self._view(got.detach()).float(), want.float())
            for got, want in zip(given, wanted, strict=True)
            if got.is_floating_point() and got.numel() and got.shape == want.shape
        ]
        return _difference(pairs, tolerance) if pairs else "empty"

    def _on_host(self, value: Any) -> Any:
        if isinstance(value, Tensor):
            return self._view(value.detach()) if value.device.type == "npu" else value
        if isinstance(value, list):
            return [self._on_host(item) for item in value]
        return value


def _reason(plan: Plan, support: Support) -> str | None:
    """Why an operator is never compared."""
    if support is Support.COLLECTIVE:
        return "collective"
    if support in (Support.HOST, Support.MISSING):
        return "runs on the host"
    is_random = torch.Tag.nondeterministic_seeded in operator(plan.name).tags
    return "random" if is_random or any(word in plan.name for word in NOT_COMPUTED) else None


def _is_plain(tensor: Tensor) -> bool:
    return tensor.layout == torch.strided and not tensor.is_complex()


def _in_float(name: str, value: Any) -> Any:
    """A copy that the second run may write into; integers stay as they are."""
    if isinstance(value, Tensor):
        return value.float() if value.dtype in DTYPES else value.clone()
    if isinstance(value, list):
        return [_in_float(name, item) for item in value]
    if name.endswith("dtype") and isinstance(value, int):  # it arrives as a number
        return torch.float32 if _dtype(value) in DTYPES else _dtype(value)
    if isinstance(value, torch.device):
        return torch.device("cpu")
    return value


def _run(pending: Pending) -> list[Tensor]:
    """The results in float32, or the arguments that the operator writes where it has such."""
    plan = pending.plan
    pairs = list(zip(plan.schema.arguments, pending.arguments, strict=True))
    positional = [value for argument, value in pairs if not argument.kwarg_only]
    named = {argument.name: value for argument, value in pairs if argument.kwarg_only}
    reference = REFERENCES.get(plan.name)
    function = reference.function if reference else operator(plan.name)
    with torch.no_grad():
        results = function(*positional, **named)
    if plan.written:
        return [t for i in plan.written for t in tensors_in(pending.arguments[i])]
    return list(tensors_in(results if isinstance(results, tuple | list) else (results,)))


@cache
def _dtype(number: int) -> torch.dtype:
    """The dtype that PyTorch's C++ numbers so."""
    found: torch.dtype = torch.ops.aten.empty.memory_format([0], dtype=number, device="cpu").dtype
    return found


def _difference(pairs: list[tuple[Tensor, Tensor]], tolerance: Tolerance) -> Difference:
    got = torch.cat([got.reshape(-1) for got, _ in pairs])
    want = torch.cat([want.reshape(-1) for _, want in pairs])
    same = (got == want) | (got.isnan() & want.isnan())
    finite = got.isfinite() & want.isfinite()
    distance = torch.where(finite, (got - want).abs(), torch.zeros(()))
    size = want.abs()
    beyond = ~same & ~(finite & (distance <= tolerance.absolute + tolerance.relative * size))
    relative = torch.where(finite & (size > tolerance.absolute), distance / size, torch.zeros(()))
    return Difference(
        absolute=float(distance.max()),
        relative=float(relative.max()),
        beyond=float(beyond.float().mean()),
        lost=int((want.isfinite() & ~got.isfinite()).sum()),
    )


@cache
def _tolerances() -> dict[torch.dtype, Tolerance]:
    table = rows(files(__package__) / "tolerances.toml", Tolerance)
    return {getattr(torch, row.dtype): row for row in table}
