"""What happened, for those who watch."""

import time
from collections import deque
from collections.abc import Callable
from typing import Any

from cordee.serve.gateway.fleet import Replica

KEPT = 200
SAME_S = 2.0
"""Failures of a replica that follow one another so closely are one event."""
REQUESTS_MOST = 50
Event = dict[str, Any]


class Events:
    """The last events, and who is told of new ones."""

    def __init__(self) -> None:
        self.kept: deque[Event] = deque(maxlen=KEPT)
        self.listeners: set[Callable[[Event], None]] = set()
        self._failures: dict[str, Event] = {}

    def add(self, kind: str, replica: str, text: str) -> Event:
        """Something happened."""
        event: Event = {
            "time_s": time.time(),
            "kind": kind,
            "replica": replica,
            "text": text,
            "requests": [],
            "moved": 0,
        }
        self.kept.append(event)
        for listener in list(self.listeners):
            listener(event)
        return event

    def failed(self, replica: Replica, reason: str) -> None:
        """A replica broke off; what becomes of its requests is told in the same event."""
        last = self._failures.get(replica.name)
        if last is None or time.time() - last["time_s"] > SAME_S:
            self._failures[replica.name] = self.add("failover", replica.name, reason)

    def moved(self, replica: str, request: Event) -> None:
        """A request of a replica that failed goes on."""
        event = self._failures.get(replica)
        if event is not None:
            event["moved"] += 1
            if len(event["requests"]) < REQUESTS_MOST:
                event["requests"].append(request)
