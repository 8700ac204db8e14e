"""Rotary position embeddings, alone and fused with a norm, a quantisation or a cache."""

from cordee.emulator.ops.rotary import cache as cache
from cordee.emulator.ops.rotary import embedding as embedding
from cordee.emulator.ops.rotary import quantised_cache as quantised_cache
