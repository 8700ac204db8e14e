"""The rules, one module per family."""

from cordee.port.rule import Family
from cordee.port.rules import (
    configurations,
    containers,
    cuda_names,
    devices,
    launching,
    mentions,
    packages,
    variables,
)

FAMILIES: tuple[Family, ...] = (
    cuda_names.family,
    devices.family,
    variables.family,
    launching.family,
    containers.family,
    packages.family,
    packages.setup,
    configurations.family,
    mentions.family,
)
