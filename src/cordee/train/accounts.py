"""What members say beside their votes: the loss of a step, and how much they sent to each other."""

from collections.abc import Sequence

from cordee.core.events import Events

EACH_S = 5.0
LINKS_MOST = 4096
"""With more of them the journal would be about little else."""


class Accounts:
    """One job's."""

    def __init__(self, events: Events) -> None:
        self._events = events
        self._losses: dict[int, float] = {}
        self._sent_bytes: dict[tuple[int, int], int] = {}
        self._told_s = 0.0
        self._news = False

    def done(
        self, worker: int, members: Sequence[int], loss: float | None, each_bytes: int
    ) -> None:
        """A member holds the sum of a step, and has sent so much to each other member."""
        if loss is not None:
            self._losses[worker] = loss
        if each_bytes and len(members) ** 2 <= LINKS_MOST:
            self._news = True
            for other in members:
                if other != worker:
                    link = worker, other
                    self._sent_bytes[link] = self._sent_bytes.get(link, 0) + each_bytes

    def committed(self, now_s: float) -> dict[str, object]:
        """What there is to tell of the step that is committed now: its loss, which all have alike."""
        loss = next(iter(self._losses.values()), None)
        self._losses.clear()
        if now_s - self._told_s > EACH_S:
            self.tell(now_s)
        return {} if loss is None else {"loss": loss}

    def tell(self, now_s: float) -> None:
        """Write down what was sent so far."""
        self._told_s = now_s
        if self._news:
            links = [[*link, count] for link, count in self._sent_bytes.items()]
            self._events.add("sent", links=links)
        self._news = False
