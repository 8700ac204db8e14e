"""What a program does on the virtual chip, written down operator by operator.

This package is free of PyTorch as far as reading goes; `session` and what it imports is not.
"""

from cordee.emulator.trace.options import COMPARISONS, Options
from cordee.emulator.trace.reading import join, read

__all__ = ["COMPARISONS", "Options", "join", "read"]
