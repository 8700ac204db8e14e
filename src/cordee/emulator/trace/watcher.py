"""Hears of every operator from the kernel, and writes each down when it is over."""

import itertools
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from types import ModuleType
from typing import Any

import torch_npu
from torch import Tensor

from cordee.emulator.trace import coverage
from cordee.emulator.trace.memory import Sampler
from cordee.emulator.trace.numerics import Comparison, Pending
from cordee.emulator.trace.places import Places
from cordee.emulator.trace.records import Difference, Phase, Support
from cordee.emulator.trace.signatures import Key, Plan, Signatures, plan, tensors_in, text
from cordee.emulator.trace.writer import Writer

# A wait for the stream that is shorter is the price of asking.
SHORT_S = 5e-6


@dataclass(slots=True)
class _Running:
    """An operator that has begun."""

    number: int
    operator: "_Operator"
    inputs: Key
    place: int
    device: int
    stream: int
    waited_ns: int
    compared: Pending | str | None = None
    began_s: float = 0.0


@dataclass(frozen=True, slots=True)
class _Operator:
    """What does not change from call to call."""

    plan: Plan
    support: Support


class _Thread(threading.local):
    """The operators that a thread is in, outermost first."""

    def __init__(self) -> None:
        self.running: list[_Running] = []


class Watcher:
    """The observer: see kernel/observer.h for who calls and when."""

    def __init__(
        self,
        kernel: ModuleType,
        writer: Writer,
        native: frozenset[str],
        comparison: Comparison | None,
    ) -> None:
        self.places = Places(writer.add_entry)
        self._writer = writer
        self._native = native
        self._comparison = comparison
        self._signatures = Signatures(writer.add_entry)
        self._sampler = Sampler(writer.add_entry)
        self._operators: dict[str, _Operator] = {}
        self._numbers = itertools.count(1)
        self._last = 0
        self._phase: Phase | None = None
        self._thread = _Thread()
        self.zero_s = time.monotonic()
        self._waited_ns: Callable[[], int] = kernel.waited_ns
        self._device_of: Callable[[], int] = torch_npu._C._npu_getDevice
        self._stream_of: Callable[[int], tuple[int, ...]] = torch_npu._C._npu_getCurrentStream

    def before(self, name: str, arguments: tuple[Any, ...]) -> None:
        """An operator begins."""
        found = self._operators.get(name)
        if found is None:
            known = _Operator(plan(name), coverage.support(name, self._native))
            found = self._operators[name] = known
        device = self._device(found.plan, arguments)
        running = _Running(
            number=next(self._numbers),
            operator=found,
            inputs=found.plan.inputs(arguments),
            place=self.places.number(),
            device=device,
            stream=self._stream_of(device)[0],
            waited_ns=self._waited_ns(),
        )
        self._thread.running.append(running)
        if self._comparison:
            running.compared = self._comparison.begin(found.plan, found.support, arguments)
        running.began_s = self._now_s()

    def after(self, name: str, results: tuple[Any, ...]) -> None:
        """The operator that began last in this thread has given `results`."""
        now_s = self._now_s()
        running = self._end(name)
        compared: Difference | str | None = None
        if self._comparison and running.compared is not None:
            compared = running.compared  # type: ignore[assignment]
            if isinstance(compared, Pending):
                compared = self._comparison.end(compared, results)
        outputs = running.operator.plan.outputs(results, running.inputs)
        self._write(running, now_s, running.operator.support, outputs, _compared(compared))
        phase = self.places.phase(running.place)
        turns, self._phase = phase is not self._phase, phase
        self._sampler.sample(running.device, self._last, self._now_s(), at_once=turns)

    def failed(self, name: str, why: str) -> None:
        """The operator that began last in this thread has raised."""
        now_s = self._now_s()
        running = self._end(name)
        support = running.operator.support
        if support is Support.NATIVE and name in coverage.not_emulated():
            support = Support.NOT_EMULATED
        self._write(running, now_s, support, (), f',"failed":{text(_first_lines(why))}')
        self.sample()

    def sample(self) -> None:
        """Sample the memory of every chip in use now."""
        self._sampler.sample_all(self._last, self._now_s())

    def end(self) -> dict[str, object]:
        """What the last line says."""
        return {"end": self._last, "s": round(self._now_s(), 6)}

    def _now_s(self) -> float:
        return time.monotonic() - self.zero_s

    def _device(self, plan: Plan, arguments: tuple[Any, ...]) -> int:
        for i in plan.tensors:
            value = arguments[i]
            for tensor in (value,) if isinstance(value, Tensor) else tensors_in(value):
                device = tensor.get_device()
                if device >= 0:
                    return device
        return self._device_of()

    def _end(self, name: str) -> _Running:
        running = self._thread.running
        while True:  # one that was left by an exception no one told us of
            last = running.pop()
            if last.operator.plan.name == name:
                return last

    def _write(
        self, running: _Running, now_s: float, support: Support, outputs: Key, more: str
    ) -> None:
        signature = self._signatures.number(running.operator.plan, support, running.inputs, outputs)
        self._last = max(self._last, running.number)
        outer = self._thread.running
        within = f',"within":{outer[-1].number}' if outer else ""
        waited_s = (self._waited_ns() - running.waited_ns) * 1e-9
        waited = f',"waited":{waited_s:.6f}' if waited_s >= SHORT_S else ""
        self._writer.add(
            f'{{"call":{running.number},"of":{signature},"at":{running.place},'
            f'"device":{running.device},"stream":{running.stream},"s":{running.began_s:.6f},'
            f'"took":{now_s - running.began_s:.6f}{waited}{within}{more}}}'
        )


def _compared(result: Difference | str | None) -> str:
    if result is None:
        return ""
    if isinstance(result, str):
        return f',"uncompared":{text(result)}'
    numbers = [result.absolute, result.relative, result.beyond, result.lost]
    return f',"difference":{text(numbers)}'


def _first_lines(why: str) -> str:
    """Without the C++ stack that PyTorch appends."""
    return why.partition("\nException raised from")[0].strip()
