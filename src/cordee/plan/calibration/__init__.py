"""What chips and their software make of the peaks, fitted on groups of published results."""

from cordee.plan.calibration.table import Kind, calibration, kind_of

__all__ = ["Kind", "calibration", "kind_of"]
