"""Quantisation: static, dynamic, in blocks, and what prepares it."""

from cordee.emulator.ops.quantisation import biases as biases
from cordee.emulator.ops.quantisation import blocks as blocks
from cordee.emulator.ops.quantisation import dynamic as dynamic
from cordee.emulator.ops.quantisation import microscaling as microscaling
from cordee.emulator.ops.quantisation import scales as scales
from cordee.emulator.ops.quantisation import weights as weights
