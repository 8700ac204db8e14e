"""Activation functions and gated linear units, alone and fused with a quantisation."""

from cordee.emulator.ops.activation import gated as gated
from cordee.emulator.ops.activation import microscaled as microscaled
from cordee.emulator.ops.activation import pointwise as pointwise
from cordee.emulator.ops.activation import quantised as quantised
