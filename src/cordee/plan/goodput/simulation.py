"""A cluster in time: failures strike, nodes are repaired, training goes on, stops and keeps its state.

Only what changes something is an event: between two of them training goes on at its pace, whatever the number of
steps. How a failure is answered is said by `in_place.py` and `restarting.py`.
"""

import heapq
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable
from random import Random

from cordee.plan.goodput.cluster import DAY_S, HOUR_S, Outcome, Scenario
from cordee.plan.goodput.rates import PARTS
from cordee.train.policy.keeping import Rhythm

TRAINING, WRITING, STOPPED, WAITING, LOST, SLOWER = (
    "training",
    "keeping the state",
    "stopped",
    "waiting for chips",
    "done twice",
    "fewer replicas",
)


class Simulation(ABC):
    """The state of one run."""

    def __init__(self, scenario: Scenario) -> None:
        self.scenario = scenario
        self.cluster, self.recovery = scenario.cluster, scenario.recovery
        self.random = Random(scenario.seed)
        self.now_s = 0.0
        self.work_s = 0.0
        """What is made, in seconds of all replicas together."""
        self.kept_s = 0.0
        """The work whose state was kept last."""
        self.groups = self.cluster.groups
        self.doing = TRAINING
        self.spent_s = dict.fromkeys((TRAINING, SLOWER, WRITING, STOPPED, WAITING, LOST), 0.0)
        self.failures: Counter[str] = Counter()
        self.stops = 0
        self.repairing_chips = 0
        self._end_s = scenario.days * DAY_S
        self._strike_s = float("inf")
        """When something fails next."""
        self._stopped_s: float | None = None
        self._longest_s = 0.0
        self._events: list[tuple[float, int, Callable[[], None]]] = []
        self._number = 0
        self._turn = 0
        """Changes whenever what is done changes: what was foreseen before is void."""
        steps = max(1, round(scenario.checkpoint.every_s / self.cluster.step_s))
        self._rhythm = Rhythm(steps)
        self._weights = [self.cluster.rates.by_part.get(part, 0.0) for part in PARTS]

    # What each way of recovering says.

    @abstractmethod
    def struck(self, part: str) -> bool:
        """Something fails somewhere. False where what it would be is in repair already."""

    @abstractmethod
    def repaired(self, chips: int) -> None:
        """They are there again."""

    @property
    def is_awaited(self) -> bool:
        """Whether someone is to come in at the end of the step that is made next."""
        return False

    epochs = 0
    ended = 0

    def run(self) -> Outcome:
        """Simulate all of it."""
        rate = self.cluster.rates.total * self.cluster.all_chips / HOUR_S
        self._strike_s = self._next(rate)
        self.train()
        while True:
            event_s = self._event_s
            if min(event_s, self._strike_s) >= self._end_s:
                self._pass(self._end_s)
                break
            if self._strike_s < event_s:
                self._pass(self._strike_s)
                self._strike()
                self._strike_s = self._next(rate)
            else:
                self._pass(event_s)
                heapq.heappop(self._events)[2]()
        return self._outcome()

    @property
    def _event_s(self) -> float:
        """When something happens next, unless something fails before."""
        return self._events[0][0] if self._events else self._end_s

    def _next(self, rate: float) -> float:
        return self.now_s + self.random.expovariate(rate) if rate else float("inf")

    def _strike(self) -> None:
        (part,) = self.random.choices(PARTS, self._weights)
        if self.struck(part):
            self.failures[part] += 1

    def _pass(self, to_s: float) -> None:
        passed_s, self.now_s = to_s - self.now_s, to_s
        if self.doing == TRAINING:
            made_s = passed_s * self.cluster.pace(self.groups)
            self.work_s += made_s
            self.spent_s[TRAINING] += made_s
            self.spent_s[SLOWER] += passed_s - made_s
        else:
            self.spent_s[self.doing] += passed_s

    # What happens in time.

    def after(self, delay_s: float, then: Callable[[], None], *, kept: bool = False) -> None:
        """Something is to happen; unless `kept`, only if nothing else is done until then."""
        turn = self._turn

        def happens() -> None:
            if kept or turn == self._turn:
                then()

        self._number += 1
        heapq.heappush(self._events, (self.now_s + delay_s, self._number, happens))

    def to(self, doing: str) -> None:
        """From now on this is done."""
        self._turn += 1
        self.doing = doing
        if doing in (STOPPED, WAITING):
            if self._stopped_s is None:
                self._stopped_s = self.now_s
        elif self._stopped_s is not None:
            self._longest_s = max(self._longest_s, self.now_s - self._stopped_s)
            self._stopped_s = None

    def train(self) -> None:
        """Training goes on, until the state is to be kept next."""
        self.to(TRAINING)
        rhythm = self._rhythm
        due_s = (rhythm.last // rhythm.every + 1) * rhythm.every * self.cluster.step_s
        left_s = max(0.0, due_s - self.work_s) / self.cluster.pace(self.groups)
        self.after(left_s, self._keep)

    @property
    def step(self) -> int:
        """The number of the step that is being made."""
        return int(self.work_s / self.cluster.step_s + 1e-6)

    def _keep(self) -> None:
        step = self.step
        if not self._rhythm.due(step):
            self.train()
            return
        self.to(WRITING)

        def written() -> None:
            self._rhythm.last, self.kept_s = step, step * self.cluster.step_s
            self._go_round()
            self.train()

        self.after(self.scenario.checkpoint.write_s, written)

    def _go_round(self) -> None:
        """Train and keep, as often as that is done before anything else happens: in one sum.

        Where the state is kept after each step that is millions of events less in a year.
        """
        rhythm = self._rhythm
        if self.is_awaited or rhythm.last % rhythm.every:  # one that was late comes sooner again
            return
        made_s = rhythm.every * self.cluster.step_s
        train_s = made_s / self.cluster.pace(self.groups)
        round_s = train_s + self.scenario.checkpoint.write_s
        rounds = int((min(self._event_s, self._strike_s, self._end_s) - self.now_s) / round_s)
        self.now_s += rounds * round_s
        self.spent_s[TRAINING] += rounds * made_s
        self.spent_s[SLOWER] += rounds * (train_s - made_s)
        self.spent_s[WRITING] += rounds * (round_s - train_s)
        rhythm.last += rounds * rhythm.every
        self.work_s = self.kept_s = rhythm.last * self.cluster.step_s

    def back(self) -> None:
        """Go back to the state that was kept last."""
        lost_s = max(0.0, self.work_s - self.kept_s)
        self.spent_s[TRAINING] -= lost_s
        self.spent_s[LOST] += lost_s
        self.work_s = self.kept_s

    def repair(self, chips: int) -> None:
        """They are taken away, and brought back."""
        self.repairing_chips += chips

        def returned() -> None:
            self.repairing_chips -= chips
            self.repaired(chips)

        self.after(self.random.expovariate(1 / self.cluster.repair_s), returned, kept=True)

    def _outcome(self) -> Outcome:
        self.to(TRAINING)
        return Outcome(
            days=self.scenario.days,
            spent_s=self.spent_s,
            failures=dict(self.failures),
            stops=self.stops,
            longest_stop_s=self._longest_s,
            epochs=self.epochs,
            ended=self.ended,
        )
