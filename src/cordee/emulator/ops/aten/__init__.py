"""Operators of PyTorch whose kernel for the CPU is missing, or computes otherwise than the chip."""

from cordee.emulator.ops.aten import cells, foreach, grouped, products, repetition, synchronised

__all__ = ["cells", "foreach", "grouped", "products", "repetition", "synchronised"]
