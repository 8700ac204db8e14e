"""Tells the coordinator that this worker's own program has failed, and how."""

import sys
import traceback
from types import TracebackType

from cordee.train.wire import Crashed
from cordee.train.worker.control import Line

TRACE_MOST = 20_000


def report_crashes(line: Line) -> None:
    """From now on, what ends the program is told."""
    before = sys.excepthook

    def told(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
        lines = "".join(traceback.format_exception(kind, error, trace))
        line.say(Crashed(f"{kind.__name__}: {error}"[:2000], lines[-TRACE_MOST:]))
        before(kind, error, trace)

    sys.excepthook = told
