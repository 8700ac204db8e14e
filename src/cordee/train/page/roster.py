"""The workers of a job over time: when each waited, was a member, and how it ended."""

from dataclasses import dataclass, field
from typing import Literal

from cordee.core.events import Event

Being = Literal["starts", "waits", "takes", "member", "gone"]
"""Builds its model; is ready; gets the state of a member; takes part; has ended."""
ENDED_MOST = 200
"""So many workers that have ended are remembered."""


@dataclass(slots=True)
class Worker:
    """One process."""

    number: int
    host: str
    pid: int
    spans: list[tuple[Being, float]] = field(default_factory=list)
    """What it was, each from when on."""
    ended: str = ""
    lost: bool = False
    """Whether it went before the job was over."""
    shards: int = 0
    """That it owns now."""
    computed: int = 0
    """Shards, in steps that were made."""
    last: int = 0
    """Steps at which it was the last to come to the reduction."""
    waited_s: float = 0.0
    """How long the first one waited for it then, in all."""

    @property
    def being(self) -> Being:
        return self.spans[-1][0]

    def becomes(self, being: Being, now_s: float) -> None:
        if not self.spans or self.being != being:
            self.spans.append((being, now_s))

    def shown(self) -> dict[str, object]:
        """As the page reads it."""
        return {
            "number": self.number,
            "host": self.host,
            "pid": self.pid,
            "being": self.being,
            "spans": [[being, round(at_s, 3)] for being, at_s in self.spans],
            "ended": self.ended,
            "lost": self.lost,
            "shards": self.shards,
            "computed": self.computed,
            "last": self.last,
            "waited_s": round(self.waited_s, 3),
        }


class Roster:
    """All workers that were seen."""

    def __init__(self) -> None:
        self.workers: dict[int, Worker] = {}
        self.former: list[Worker] = []
        """Those of an earlier start of the same job."""
        self.members: list[int] = []
        self.lost = 0
        """So many went before the job was over."""
        self._owners: list[int] = []

    def see(self, event: Event) -> None:
        """Something happened."""
        kind, now_s = str(event["kind"]), number(event["time_s"])
        worker = self.workers.get(int(number(event.get("worker", -1))))
        if kind == "worker":
            self._comes(event, now_s)
        elif kind == "epoch":
            self._epoch(whole(event["members"]), now_s)
        elif kind in {"plan", "commit"} and event.get("owners"):
            self._own(whole(event["owners"]))
        elif worker is not None and kind == "ready":
            if worker.being == "starts":
                worker.becomes("waits", now_s)
        elif worker is not None and kind == "feed":
            worker.becomes("takes", now_s)
        elif worker is not None and kind in {"lost", "evicted", "crashed", "exit"}:
            self._goes(worker, event, now_s)
        if kind == "commit":
            self._step(event)

    def over(self, now_s: float) -> None:
        """Another start of the job: whoever was there before is not any more."""
        for worker in self.workers.values():
            worker.becomes("gone", now_s)
            worker.shards = 0
        self.former = [*self.former, *self.workers.values()][-ENDED_MOST:]
        self.workers, self.members, self._owners = {}, [], []

    def _comes(self, event: Event, now_s: float) -> None:
        made = Worker(int(number(event["worker"])), str(event["host"]), int(number(event["pid"])))
        made.becomes("starts", now_s)
        self.workers[made.number] = made
        gone = [worker for worker in self.workers.values() if worker.being == "gone"]
        for worker in gone[: len(gone) - ENDED_MOST]:
            del self.workers[worker.number]

    def _epoch(self, members: list[int], now_s: float) -> None:
        self.members = members
        for worker in self.workers.values():
            if worker.number in members:
                worker.becomes("member", now_s)
            elif worker.being == "member":
                worker.becomes("waits", now_s)

    def _own(self, owners: list[int]) -> None:
        self._owners = owners
        for worker in self.workers.values():
            worker.shards = owners.count(worker.number)

    def _step(self, event: Event) -> None:
        for owner in self._owners:
            if owner in self.workers:
                self.workers[owner].computed += 1
        last = self.workers.get(int(number(event.get("last", -1))))
        if last is not None:
            last.last += 1
            last.waited_s += number(event.get("waited_s"))

    def _goes(self, worker: Worker, event: Event, now_s: float) -> None:
        reason = str(event.get("error") or event.get("reason") or "")
        if event["kind"] != "exit":
            self.lost += not worker.lost
            worker.lost = True
        if event["kind"] == "lost" or not worker.ended:
            worker.ended = worker.ended or reason
        elif event["kind"] == "exit":
            worker.ended += f"; {reason}"
        worker.becomes("gone", now_s)
        worker.shards = 0


def number(value: object) -> float:
    """What a journal has where a number belongs; 0 for anything else."""
    return float(value) if isinstance(value, int | float) else 0.0


def whole(value: object) -> list[int]:
    """Likewise, for a list of whole numbers."""
    return [int(number(one)) for one in value] if isinstance(value, list | tuple) else []
