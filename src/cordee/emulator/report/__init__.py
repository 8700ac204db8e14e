"""One page about one run: what it asked of the chip, and what a real chip would make of it."""

from cordee.emulator.report.page import write
from cordee.emulator.report.summary import Outcome

__all__ = ["Outcome", "write"]
