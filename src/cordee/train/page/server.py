"""The page of a job, its figures, and its state for machines, while it runs."""

from contextlib import AbstractAsyncContextManager

import msgspec

from cordee.core.http.exchange import JSON, METRICS
from cordee.core.pages.feed import Feed
from cordee.core.pages.files import served
from cordee.core.pages.server import PageServer, serving
from cordee.train.page.metrics import metrics
from cordee.train.page.record import Record

NAMES = ("page.css", "page.js", "charts.js", "view.js")
PACKAGE = "cordee.train.page"


def page(record: Record, where: str) -> AbstractAsyncContextManager[str]:
    """Serve it at PORT or HOST:PORT; gives its address. Raises `UsageError` where it cannot be."""

    def state() -> bytes:
        return msgspec.json.encode(record.shown())

    made = {
        "/metrics": lambda: (METRICS, metrics(record)),
        "/job/status": lambda: (JSON, state()),
    }
    return serving(PageServer(served(PACKAGE, NAMES), made, ("/job/events", Feed(state))), where)
