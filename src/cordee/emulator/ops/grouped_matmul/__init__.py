"""One matrix product for each group of rows: the experts' layers of a mixture of experts."""

from cordee.emulator.ops.grouped_matmul import fused, groups, products

__all__ = ["fused", "groups", "products"]
