"""What happened, for those who watch."""

import time
from collections import deque
from typing import Any

from cordee.core import events
from cordee.serve.gateway.fleet import Replica

KEPT = 200
SAME_S = 2.0
"""Failures of a replica that follow one another so closely are one event."""
REQUESTS_MOST = 50


class Events:
    """The last events, and who is told of new ones."""

    def __init__(self) -> None:
        self.kept: deque[dict[str, Any]] = deque(maxlen=KEPT)
        self.told = events.Events()
        self._failures: dict[str, dict[str, Any]] = {}

    def add(self, kind: str, replica: str, text: str) -> dict[str, Any]:
        """Something happened."""
        event = events.event(kind, replica=replica, text=text, requests=[], moved=0)
        self.kept.append(event)
        self.told.put(event)
        return event

    def failed(self, replica: Replica, reason: str) -> None:
        """A replica broke off; what becomes of its requests is told in the same event."""
        last = self._failures.get(replica.name)
        if last is None or time.time() - last["time_s"] > SAME_S:
            self._failures[replica.name] = self.add("failover", replica.name, reason)

    def moved(self, replica: str, request: dict[str, Any]) -> None:
        """A request of a replica that failed goes on."""
        event = self._failures.get(replica)
        if event is not None:
            event["moved"] += 1
            if len(event["requests"]) < REQUESTS_MOST:
                event["requests"].append(request)
