"""What a job tells on the terminal while it runs."""

import os
import time
from pathlib import Path
from typing import TextIO

from cordee.core.events import Event

STEPS_EACH_S = 1.0
KEPT = {
    "restart": "no worker is left: {reason}; the job begins again, time {count} in a row",
    "resumed": "goes on at step {step}, from {file}",
    "checkpoint": "checkpoint: {file}",
    "checkpoint-failed": "no checkpoint of step {step} in {folder}: {error}",
    "checkpoint-broken": "checkpoint skipped: {error}",
    "memory-failed": "the state of step {step} is not kept in shared memory: {error}",
    "one-host": "{text}",
    "copy-failed": "part {place} of the model is not kept on host {to}, too: {error}",
}
"""What is told of states that are kept, by the kind of the event."""


SAID = {
    "epoch": "step {step}: {reason}; members {members}",
    "crashed": "worker {worker} failed: {error}",
    "cut-off": "worker {worker} waits: it does not reach worker {from}",
    "evicted": "worker {worker} is evicted: it {reason}",
    "coordinator-lost": "the coordinator is lost: {reason}",
    "leaderless": "nobody leads: this host hears too few of the others to know that they are gone, not cut off; it waits for them",
    "odd": "step {step}: {text}",
    "pace": "step {step}: {text}",
    "link": "step {step}: {text}",
    "waits": "all steps are made; the programs of workers {workers} go on, and are waited for",
    "recovered": "step {step} is made {pause_s:.2f} s after the loss",
    "refused": "refused: {reason}",
}
"""What is told of each kind of event."""


class Live:
    """Writes a line for what matters, and one now and then for the steps."""

    def __init__(self, out: TextIO, folder: Path) -> None:
        self._out = out
        self._said_s = 0.0
        self._made = 0
        """Steps of workers that train by themselves."""
        self._told: set[str] = set()
        self._lost_s: dict[object, float] = {}
        self.say(f"journal and logs: {folder}")

    def see(self, event: Event) -> None:
        """Tell of an event, if anyone wants to know it."""
        kind = str(event["kind"])
        if kind == "commit" and not self._made:
            self._step(event)
        elif kind == "exchanged":
            self._exchanged(event)
        elif event.get("device"):
            self.say("worker {worker} is lost, {device}: {error}".format(**event))
        elif kind in SAID:
            self.say(SAID[kind].format(**event))
        elif kind in KEPT:
            self._once(KEPT[kind].format(**event))
        elif kind == "finish" and event["error"] is None:
            self.say(f"done: {self._made or event['step']} steps")

    def _step(self, event: Event) -> None:
        now_s = time.monotonic()
        if now_s - self._said_s >= STEPS_EACH_S:
            self._said_s = now_s
            self.say(f"step {event['step']}")

    def _exchanged(self, event: Event) -> None:
        made, sent = event["step"], event["sent_bytes"]
        assert isinstance(made, int)
        assert isinstance(sent, int)
        self._made = max(self._made, made)
        now_s = time.monotonic()
        if now_s - self._said_s >= STEPS_EACH_S:
            self._said_s = now_s
            self.say(
                f"step {made}: loss {event['loss']}, exchanged every {event['steps']} steps, "
                f"worker {event['worker']} has sent {sent / 1e6:.1f} MB"
            )

    def _once(self, line: str) -> None:
        """Say what several workers tell."""
        if line not in self._told:
            self.say(line)
            self._told.add(line)

    def say(self, line: str) -> None:
        """Write a line. Where nobody reads any more, or a disk is full, the job goes on: the journal has all of it."""
        try:
            self._out.write(line + "\n")
            self._out.flush()
        except OSError:
            os.dup2(os.open(os.devnull, os.O_WRONLY), self._out.fileno())
