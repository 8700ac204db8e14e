"""Convolutions by the adapter's own names, and what their backwards give."""

from cordee.emulator.ops.convolution import deformable, forward, gradients

__all__ = ["deformable", "forward", "gradients"]
