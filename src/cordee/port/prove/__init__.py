"""Runs what was ported, on the virtual chip and on the CPU, and compares."""

from cordee.port.prove.proof import Proof
from cordee.port.prove.proving import Trial, prove

__all__ = ["Proof", "Trial", "prove"]
