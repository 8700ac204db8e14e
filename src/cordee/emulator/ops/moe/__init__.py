"""Routing tokens to experts and back, as mixture-of-experts layers do it."""

from cordee.emulator.ops.moe import gating, permutation, placement, routing, routing_map

__all__ = ["gating", "permutation", "placement", "routing", "routing_map"]
