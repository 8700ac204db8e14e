"""What a job tells on the terminal while it runs."""

import time
from pathlib import Path
from typing import TextIO

from cordee.train.events import Event

STEPS_EACH_S = 1.0


class Live:
    """Writes a line for what matters, and one now and then for the steps."""

    def __init__(self, out: TextIO, folder: Path) -> None:
        self._out = out
        self._said_s = 0.0
        self._lost_s: dict[object, float] = {}
        self._say(f"journal and logs: {folder}")

    def see(self, event: Event) -> None:
        """Tell of an event, if anyone wants to know it."""
        kind, worker = event["kind"], event.get("worker")
        if kind == "commit":
            self._step(event)
        elif kind == "epoch":
            self._say(f"step {event['step']}: {event['reason']}; members {event['members']}")
        elif kind == "crashed":
            self._say(f"worker {worker} failed: {event['error']}")
        elif kind == "evicted":
            self._say(f"worker {worker} is evicted: it {event['reason']}")
        elif kind in ("odd", "pace", "link"):
            self._say(f"step {event['step']}: {event['text']}")
        elif kind == "refused":
            self._say(f"refused: {event['reason']}")
        elif kind == "finish" and event["error"] is None:
            self._say(f"done: {event['step']} steps")

    def _step(self, event: Event) -> None:
        now_s = time.monotonic()
        if now_s - self._said_s >= STEPS_EACH_S:
            self._said_s = now_s
            self._say(f"step {event['step']}")

    def _say(self, line: str) -> None:
        self._out.write(line + "\n")
        self._out.flush()
