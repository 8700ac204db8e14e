"""Seconds of an operator on a chip: rooflines with efficiencies, and collectives over links."""

from cordee.plan.costs.calibration import Calibration
from cordee.plan.costs.links import Links
from cordee.plan.costs.seconds import Costs

__all__ = ["Calibration", "Costs", "Links"]
