"""What the hardware is: facts with sources, no behaviour."""

from cordee.hw.chip import Chip, chip, chips

__all__ = ["Chip", "chip", "chips"]
