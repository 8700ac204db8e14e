"""Operators of PyTorch that have no kernel for the CPU, because only accelerators use them."""

from cordee.emulator.ops.aten import cells, grouped, products, synchronised

__all__ = ["cells", "grouped", "products", "synchronised"]
