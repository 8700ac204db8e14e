"""Tells the coordinator that this worker's own program has failed, and how."""

import sys
import traceback
from types import TracebackType

from cordee.train.wire import Crashed
from cordee.train.worker.control import Line
from cordee.train.worker.device_faults import device_fault

TRACE_MOST = 20_000


def report_crashes(line: Line) -> None:
    """From now on, what ends the program is told."""
    before = sys.excepthook

    def told(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
        lines = "".join(traceback.format_exception(kind, error, trace))[-TRACE_MOST:]
        fault, text = device_fault(error), f"{kind.__name__}: {error}"[:2000]
        if fault is None or fault.own:
            line.say(Crashed(text, lines))
        else:
            first = text.partition("\n")[0]
            line.say(Crashed(first, lines, device=fault.words, lasting=fault.lasting))
        before(kind, error, trace)

    sys.excepthook = told
