"""The rules, one module per family."""

from cordee.port.rule import Family
from cordee.port.rules import cuda_names, devices

FAMILIES: tuple[Family, ...] = (cuda_names.family, devices.family)
