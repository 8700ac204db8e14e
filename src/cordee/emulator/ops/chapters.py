"""Every chapter of references: importing this module declares them all."""

from cordee.emulator.ops import (
    activation,
    attention,
    cache,
    grouped_matmul,
    losses,
    matmul,
    moe,
    normalisation,
    optimizer,
    quantisation,
    rotary,
    sampling,
    tensors,
)

__all__ = [
    "activation",
    "attention",
    "cache",
    "grouped_matmul",
    "losses",
    "matmul",
    "moe",
    "normalisation",
    "optimizer",
    "quantisation",
    "rotary",
    "sampling",
    "tensors",
]
