"""What PyTorch's dispatcher says of an operator: what Python calls for it, and its arguments' names."""

from functools import cache
from typing import Any

import torch


def operator(name: str) -> torch._ops.OpOverload:
    """What Python calls for the operator `name`, given as "npu::name.overload"."""
    namespace, _, rest = name.partition("::")
    base, _, overload = rest.partition(".")
    packet = getattr(getattr(torch.ops, namespace), base)
    return getattr(packet, overload or "default")  # type: ignore[no-any-return]


@cache
def argument_names(name: str) -> tuple[str, ...]:
    """The arguments of operator `name`: those that a call gives by place, then those it must name."""
    arguments = operator(name)._schema.arguments
    return tuple(a.name for a in sorted(arguments, key=lambda a: a.kwarg_only))


def named(
    name: str, values: tuple[Any, ...], keywords: dict[str, Any] | None = None
) -> dict[str, Any]:
    """What a call of operator `name` gives, each by its argument's name."""
    names = argument_names(name)
    assert len(values) <= len(names), f"{name} takes {len(names)} arguments, not {len(values)}"
    return dict(zip(names, values, strict=False)) | (keywords or {})
