"""The rules, one module per family."""

from cordee.port.rule import Family
from cordee.port.rules import amp, cuda_names, devices, distributed, environment_uses

FAMILIES: tuple[Family, ...] = (
    cuda_names.family,
    devices.family,
    amp.family,
    distributed.family,
    environment_uses.family,
)
