"""A job as its journal tells it: how far it is, who takes part, what failed and what was done about it."""

from collections import deque
from pathlib import Path

from cordee.core.errors import UsageError
from cordee.core.events import Event, read
from cordee.train.live import KEPT, SAID
from cordee.train.page.curve import Curve
from cordee.train.page.roster import Roster, number, whole

HAPPENED_MOST = 400
RECOVERIES_MOST = 200
RATE_S = 10.0
"""The rate is that of the steps of so many seconds."""
STATES = {"finish": "done", "interrupted": "interrupted", "restart": "restarting"}


class Record:
    """Takes events one after another, and says what they come to."""

    def __init__(self) -> None:
        self.job: Event = {}
        self.state = "starting"
        self.error = ""
        self.epoch, self.shards = 0, 0
        self.step = 0
        """How many steps are made."""
        self.loss: float | None = None
        self.commits, self.skipped, self.waited_s = 0, 0, 0.0
        self.roster, self.curve = Roster(), Curve()
        self.sent_bytes: dict[tuple[int, int], int] = {}
        """From one worker to another."""
        self.rates: dict[tuple[int, int], float] = {}
        """Bytes per second between two, as they were measured."""
        self.happened: deque[Event] = deque(maxlen=HAPPENED_MOST)
        self.recoveries: deque[Event] = deque(maxlen=RECOVERIES_MOST)
        self.recovered: dict[str, int] = {}
        """How many recoveries there were, by how the loss was noticed."""
        self.phases_s: dict[str, float] = {}
        self.seen_s = self.began_s = 0.0
        self.version = 0
        self._before_s = self._gap_s = 0.0
        self._recent: deque[tuple[float, int]] = deque()

    def see(self, event: Event) -> None:
        """Something happened."""
        kind, now_s = str(event["kind"]), number(event["time_s"])
        self.version += 1
        self.seen_s, self.began_s = now_s, self.began_s or now_s
        if kind == "job":
            self._begins(event, now_s)
        self.roster.see(event)
        if kind == "commit":
            self._commit(event, now_s)
        elif kind == "exchanged":
            self._exchanged(event, now_s)
        elif kind == "epoch":
            self.epoch, self.state = int(number(event["epoch"])), "trains"
            self._before_s = self._before_s or now_s
        elif kind == "plan":
            self.shards = len(whole(event["owners"]))
        elif kind == "sent":
            self._sent(event)
        elif kind == "probed":
            pair = int(number(event["worker"])), int(number(event["other"]))
            self.rates[pair] = number(event["bytes_per_s"])
        elif kind == "recovered":
            self._recovered(event)
        elif kind in STATES:
            self._ends(event, kind)
        self._tell(event, kind)

    @property
    def steps_per_s(self) -> float:
        """Of the last few seconds in which steps were made."""
        if len(self._recent) < 2:
            return 0.0
        (first_s, first), (last_s, last) = self._recent[0], self._recent[-1]
        return max(0, last - first) / (last_s - first_s) if last_s > first_s else 0.0

    def shown(self) -> dict[str, object]:
        """As the page reads it."""
        workers = self.roster.workers
        return {
            "job": self.job,
            "state": self.state,
            "error": self.error,
            "began_s": self.began_s,
            "seen_s": self.seen_s,
            "step": self.step,
            "epoch": self.epoch,
            "shards": self.shards,
            "loss": self.loss,
            "skipped": self.skipped,
            "waited_s": round(self.waited_s, 3),
            "steps_per_s": self.steps_per_s,
            "members": self.roster.members,
            "curve": [point.shown() for point in self.curve.points],
            "workers": [w.shown() for w in [*self.roster.former, *workers.values()]],
            "links": [
                [*pair, sent, self.rates.get(pair, self.rates.get(pair[::-1]))]
                for pair, sent in sorted(self.sent_bytes.items())
            ],
            "recoveries": list(self.recoveries),
            "happened": list(self.happened),
        }

    def _begins(self, event: Event, now_s: float) -> None:
        """The job is started, for the first time or once more."""
        self.roster.over(now_s)
        self.job = {key: value for key, value in event.items() if key not in {"kind", "time_s"}}
        self.state, self.error, self._before_s = "starting", "", 0.0
        self._recent.clear()
        self.sent_bytes.clear()
        self.rates.clear()

    def _commit(self, event: Event, now_s: float) -> None:
        self.commits += 1
        self.skipped += bool(event.get("skipped"))
        self.waited_s += number(event.get("waited_s"))
        step, loss = int(number(event["step"])), event.get("loss")
        self._made(step, now_s, number(loss) if loss is not None else None)

    def _exchanged(self, event: Event, now_s: float) -> None:
        """In mode local steps are told by each worker, after each of its rounds."""
        made = int(number(event["step"]))
        worker = int(number(event["worker"]))
        for other in self.roster.members:
            if other != worker:
                each = number(event["sent_bytes"]) / max(1, len(self.roster.members) - 1)
                self.sent_bytes[worker, other] = int(each)
        if made > self.step:
            self._made(made - 1, now_s, number(event["loss"]))

    def _made(self, step: int, now_s: float, loss: float | None) -> None:
        self.step, self.loss = step + 1, loss
        self.curve.add(step, self._before_s or now_s, now_s, loss)
        self._gap_s, self._before_s = now_s - (self._before_s or now_s), now_s
        if self._recent and self._recent[-1][1] > self.step:
            self._recent.clear()
        self._recent.append((now_s, self.step))
        while len(self._recent) > 2 and now_s - self._recent[0][0] > RATE_S:
            self._recent.popleft()

    def _sent(self, event: Event) -> None:
        links = event["links"]
        assert isinstance(links, list)
        for one, other, sent in links:
            self.sent_bytes[one, other] = sent

    def _recovered(self, event: Event) -> None:
        event = {"gap_s": round(self._gap_s, 4), **event}
        self.recoveries.append(event)
        by = str(event["noticed_by"])
        self.recovered[by] = self.recovered.get(by, 0) + 1
        for name in ("gap_s", "pause_s", "agreed_s", "formed_s", "restored_s"):
            self.phases_s[name] = self.phases_s.get(name, 0.0) + number(event[name])

    def _ends(self, event: Event, kind: str) -> None:
        self.state = STATES[kind]
        if kind == "finish":
            self.step = max(self.step, int(number(event["step"])))
            if event["error"] is not None and not self.error:
                self.state, self.error = "failed", str(event["error"])

    def _tell(self, event: Event, kind: str) -> None:
        text = SAID.get(kind) or KEPT.get(kind) or MORE.get(kind)
        if text is not None and kind not in QUIET:
            said = {"time_s": event["time_s"], "kind": kind, "text": text.format_map(_Given(event))}
            self.happened.append(said)


MORE = {
    "job": "started",
    "lost": "worker {worker}: {reason}",
    "exit": "worker {worker}: {reason}",
    "ready": "worker {worker} is ready",
    "feed": "worker {worker} gets the state of worker {source}",
    "caught-up": "worker {worker} has the state of step {step}",
    "interrupted": "interrupted",
    "finish": "over after {step} steps",
}
"""What the page tells beside what is told on the terminal."""
QUIET = {"recovered"}
"""What has a table of its own."""


class _Given(dict[str, object]):
    """The values of an event; journals of other versions may lack some."""

    def __missing__(self, key: str) -> str:
        return "?"


def recorded(folder: Path) -> Record:
    """What the journal in a folder comes to. Raises `UsageError` where there is none."""
    file = folder / "events.jsonl" if folder.is_dir() else folder
    record = Record()
    try:
        for event in read(file):
            record.see(event)
    except OSError as error:
        raise UsageError(f"{file}: {error.strerror}: give the folder of a job") from error
    if not record.version:
        raise UsageError(f"{file}: nothing has happened in this job yet")
    return record
