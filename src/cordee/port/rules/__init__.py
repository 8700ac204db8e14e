"""The rules, one module per family."""

from cordee.port.rule import Family
from cordee.port.rules import (
    amp,
    backends,
    cuda_names,
    devices,
    distributed,
    environment_uses,
    measuring,
    tools,
)

FAMILIES: tuple[Family, ...] = (
    cuda_names.family,
    devices.family,
    amp.family,
    backends.family,
    measuring.family,
    distributed.family,
    environment_uses.family,
    tools.family,
)
