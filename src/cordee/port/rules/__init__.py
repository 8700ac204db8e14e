"""The rules, one module per family."""

from cordee.port.rule import Family
from cordee.port.rules import (
    amp,
    backends,
    builds,
    cuda_names,
    cuda_sources,
    devices,
    distributed,
    environment_uses,
    kernels,
    libraries,
    library_uses,
    measuring,
    optimizers,
    replaced,
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
    libraries.family,
    replaced.family,
    library_uses.family,
    optimizers.family,
    kernels.family,
    cuda_sources.family,
    builds.family,
)
