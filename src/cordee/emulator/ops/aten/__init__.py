"""Operators of PyTorch whose kernel for the CPU is missing, or computes otherwise than the chip."""

from cordee.emulator.ops.aten import (
    cells,
    classes,
    division,
    foreach,
    grouped,
    histograms,
    inverse,
    products,
    repetition,
    softmax,
    synchronised,
)

__all__ = [
    "cells",
    "classes",
    "division",
    "foreach",
    "grouped",
    "histograms",
    "inverse",
    "products",
    "repetition",
    "softmax",
    "synchronised",
]
