"""One page about one repository: how far it is from Ascend, what is left to do, and where."""

from cordee.port.report.page import write
from cordee.port.ties import PortResult

__all__ = ["PortResult", "write"]
