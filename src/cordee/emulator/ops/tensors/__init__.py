"""Operators that move, select or reinterpret the elements of a tensor."""

from cordee.emulator.ops.tensors import bits, casts, layout, scaling, selection, spectra

__all__ = ["bits", "casts", "layout", "scaling", "selection", "spectra"]
