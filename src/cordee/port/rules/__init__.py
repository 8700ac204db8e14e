"""The rules, one module per family."""

from cordee.port.rule import Family
from cordee.port.rules import (
    builds,
    cuda_names,
    cuda_sources,
    devices,
    kernels,
    libraries,
    library_uses,
    optimizers,
    replaced,
)

FAMILIES: tuple[Family, ...] = (
    cuda_names.family,
    devices.family,
    libraries.family,
    replaced.family,
    library_uses.family,
    optimizers.family,
    kernels.family,
    cuda_sources.family,
    builds.family,
)
