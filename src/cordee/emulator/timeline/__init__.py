"""Who did what when in a run of several ranks, and who waited for whom: values, free of PyTorch."""

from cordee.emulator.timeline.lanes import Lane, Timeline, name, timeline
from cordee.emulator.timeline.spans import Span
from cordee.emulator.timeline.waits import Wait

__all__ = ["Lane", "Span", "Timeline", "Wait", "name", "timeline"]
