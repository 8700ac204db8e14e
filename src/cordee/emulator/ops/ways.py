"""How each operator of the adapter is carried out on the virtual chip.

Read from the adapter's own registrations: what it leaves to PyTorch is left to PyTorch here too.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from importlib.resources import files

import torch

from cordee.core.facts import Fact, rows
from cordee.emulator.ops.reference import REFERENCES
from cordee.emulator.ops.schema import operator

# Namespaces whose operators compute; those of the others (c10d ...) talk to other processes.
NAMESPACES = ("aten", "npu", "atb", "fsdp")

# Operators of the adapter that are given no tensor, so that none leads the call to the device.
FACTORIES = ("npu::npu_dropout_gen_mask",)


@dataclass(frozen=True, slots=True)
class Way(Fact):
    """An operator that is not simply run by its reference or by the CPU kernel of its name."""

    name: str
    way: str  # one of those in ../kernel/kernel.h, or "adapter": its own kernel stays
    why: str


def device_ways() -> Iterator[tuple[str, str]]:
    """Name and way of every operator whose device kernel is replaced."""
    special = {row.name: row.way for row in rows(files(__package__) / "ways.toml", Way)}
    for name in sorted(registered("PrivateUse1") | special.keys() | set(FACTORIES)):
        way = special.get(name) or _usual_way(name)
        if way != "adapter":
            yield name, way


def registered(key: str) -> set[str]:
    """The operators that have a kernel at dispatch key `key`, as "namespace::name.overload"."""
    names: list[str] = torch._C._dispatch_get_registrations_for_dispatch_key(key)
    # The adapter also registers kernels under names that no operator has.
    return {name for name in names if name.split("::")[0] in NAMESPACES} & _operators()


def _operators() -> set[str]:
    schemas = torch._C._jit_get_all_schemas()
    return {f"{s.name}.{s.overload_name}" if s.overload_name else s.name for s in schemas}


def _usual_way(name: str) -> str:
    if name in REFERENCES:
        return "host"
    if name.startswith(("npu::", "atb::")):
        return "missing"
    if any(r.alias_info and not r.alias_info.is_write for r in operator(name)._schema.returns):
        return "adapter"  # a view
    on_host = torch._C._dispatch_has_computed_kernel_for_dispatch_key(name, "CPU")
    return "host" if on_host else "missing"
