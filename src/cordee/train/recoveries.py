"""What each recovery took, found in the journal: from the loss to the next step that was committed."""

from dataclasses import dataclass, field

from cordee.core.events import Event, Events

NOTICED = {
    "lost": "its connection",
    "evicted": "its silence, or its time",
    "crashed": "itself",
    "coordinator-lost": "the agent of its host, or of another one",
    "standstill": "all members, who waited for each other",
    "link": "members, who measured the links between them",
}
NOBODY = ("standstill", "link")
"""Kinds with which nobody is lost yet."""
PHASES = ("agreed_s", "formed_s", "restored_s")


@dataclass(slots=True)
class _Recovery:
    """One that is under way."""

    began_s: float
    step: int
    workers: list[object]
    noticed_by: str
    reason: str
    epochs: int = 0
    members: int = 0
    phases_s: dict[str, float] = field(default_factory=lambda: dict.fromkeys(PHASES, 0.0))


class Recoveries:
    """Watches a journal, and adds to it what it found."""

    def __init__(self, events: Events) -> None:
        self._events = events
        self._now: _Recovery | None = None
        events.watch(self._see)

    def _see(self, event: Event) -> None:
        kind = str(event["kind"])
        if kind in NOTICED:
            self._lost(event, NOTICED[kind])
        elif self._now is None:
            return
        elif kind == "epoch":
            self._now.epochs += 1
            self._now.members = len(_list(event["members"]))
            self._now.reason = self._now.reason or str(event["reason"])
        elif kind == "joined":
            for phase in PHASES:  # the slowest member is the one that all wait for
                self._now.phases_s[phase] = max(self._now.phases_s[phase], _number(event[phase]))
        elif kind == "commit" and self._now.epochs:
            self._over(event)
        elif kind == "commit" and not self._now.workers:
            self._now = None  # it went on by itself

    def _lost(self, event: Event, noticed_by: str) -> None:
        if self._now is None:
            self._now = _Recovery(
                _number(event["time_s"]), int(_number(event.get("step", -1))), [], noticed_by, ""
            )
        if event["kind"] not in NOBODY:
            self._now.workers.append(event.get("worker", "coordinator"))

    def _over(self, commit: Event) -> None:
        found, self._now = self._now, None
        assert found is not None
        self._events.add(
            "recovered",
            step=commit["step"],
            workers=found.workers,
            noticed_by=found.noticed_by,
            reason=found.reason,
            members=found.members,
            epochs=found.epochs,
            pause_s=round(_number(commit["time_s"]) - found.began_s, 4),
            **{phase: round(value, 4) for phase, value in found.phases_s.items()},
        )


def _number(value: object) -> float:
    return float(value) if isinstance(value, int | float) else 0.0


def _list(value: object) -> list[object]:
    return list(value) if isinstance(value, list | tuple) else []
