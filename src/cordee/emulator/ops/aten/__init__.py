"""Operators of PyTorch that have no kernel for the CPU, or another one than the chip's."""

from cordee.emulator.ops.aten import cells, grouped, products, repetition, synchronised

__all__ = ["cells", "grouped", "products", "repetition", "synchronised"]
