"""The operators of Ascend Transformer Boost (namespace atb), which serving engines call."""

from cordee.emulator.ops.attention.boost import (
    caches,
    flash,
    latent,
    linear,
    paged,
    ring,
    routing,
)

__all__ = ["caches", "flash", "latent", "linear", "paged", "ring", "routing"]
