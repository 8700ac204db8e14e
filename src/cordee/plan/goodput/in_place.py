"""Jobs in which the others go on when a replica falls: every decision is the policy's of `cordee train`.

Modelled are how long things take (agreeing, joining, starting, feeding) and which chips there are. A replica of
which a node fails leaves; its other nodes, and those that stand by, make another one as soon as they suffice.
"""

from collections import Counter
from collections.abc import Sequence

from cordee.plan.goodput.cluster import Scenario
from cordee.plan.goodput.coordinator import TICK_S, Coordinator
from cordee.plan.goodput.rates import hang_share
from cordee.plan.goodput.simulation import STOPPED, TRAINING, WAITING, Simulation
from cordee.train.policy.effects import Begin, Effect, Feed, Finish, Plan, Restart

BY_HAND_S = 1800.0
"""Until a person has started a job again that had ended."""


class InPlace(Simulation):
    """The events of a cluster go to the policy, and what it decides becomes events."""

    def __init__(self, scenario: Scenario) -> None:
        super().__init__(scenario)
        self.coordinator = Coordinator(self.cluster)
        group = self.cluster.group_chips
        self.idle_chips = self.cluster.spare_chips % group
        """That are no whole replica."""
        self._starting: set[int] = set()
        self._starts = 0
        self._under_way = False
        self._last_part = ""
        for _ in range(self.coordinator.size):
            self._do(self.coordinator.arrive(0, 0.0))
        self._do(self.coordinator.report(0, 0.0, under_way=False))
        for _ in range(self.cluster.spare_chips // group):
            self._do(self.coordinator.arrive(0, 0.0))

    # What strikes.

    def struck(self, part: str) -> bool:
        """A member, one that waits or starts, or a node that is idle."""
        coordinator, group = self.coordinator, self.cluster.group_chips
        place = self._place()
        if place is None:
            return False
        self._last_part = part
        if place == "idle":
            self._idle(-self._broken(part, self.idle_chips))
        elif place == "starting":
            self._starting.discard(self.random.choice(sorted(self._starting)))
            self._idle(group - self._broken(part, group))
        else:
            members = list(coordinator.membership.members)
            among = members if place == "member" else coordinator.waiting
            together = 1 if part == "software" else -(-self.cluster.node_chips // group)
            self._lose(part, self.random.sample(among, min(together, len(among))))
        return True

    def _place(self) -> str | None:
        """Where a chip is that was drawn from all; None: in repair."""
        coordinator, group = self.coordinator, self.cluster.group_chips
        at = self.random.random() * self.cluster.all_chips
        chips = {
            "member": coordinator.groups * group if coordinator.membership.members else 0,
            "waiting": len(coordinator.waiting) * group,
            "starting": len(self._starting) * group,
            "idle": self.idle_chips,
        }
        for place, count in chips.items():
            if at < count:
                return place
            at -= count
        return None

    def _broken(self, part: str, chips: int) -> int:
        """How many of these are taken away for repair."""
        broken = 0 if part == "software" else min(self.cluster.node_chips, chips)
        if broken:
            self.repair(broken)
        return broken

    def _lose(self, part: str, numbers: Sequence[int]) -> None:
        coordinator, now_s = self.coordinator, self.now_s
        fresh = [number for number in numbers if number not in coordinator.dead]
        was_training = self.doing not in (STOPPED, WAITING)
        member = bool(set(fresh) & set(coordinator.membership.members))
        if member and was_training:
            self.stops += 1
            self._under_way = True
            self.to(STOPPED)
        chips = len(fresh) * self.cluster.group_chips
        left = chips - self._broken(part, chips)
        hangs = part not in ("host", "network") and self.random.random() < hang_share()
        if part in ("host", "network"):
            coordinator.falls_silent(fresh, now_s)
            self._notice(coordinator.limits.silent_s, fresh, (), left)
        elif hangs and member and was_training and len(coordinator.membership.members) > 1:
            self._notice(coordinator.hangs(fresh[0], now_s), fresh[:1], fresh[:1], left)
            self._do(coordinator.shuts(fresh[1:], now_s))
        else:
            self._do(coordinator.shuts(fresh, now_s))
            self._idle(left)

    def _notice(
        self, delay_s: float, gone: Sequence[int], hanging: Sequence[int], left: int
    ) -> None:
        """The coordinator sees it after a while; where others fell meanwhile it may not."""

        def looks() -> None:
            self._do(self.coordinator.looks(hanging, self.now_s))
            if self.coordinator.dead.isdisjoint(gone):
                self._idle(left)
            else:  # who hangs between two epochs is not seen by the policy: it is modelled to die
                self._do(self.coordinator.shuts(gone, self.now_s))
                self._idle(left)

        self.after(delay_s + TICK_S, looks, kept=True)

    # Chips that are free.

    def repaired(self, chips: int) -> None:
        """They may make another replica."""
        self._idle(chips)

    def _idle(self, chips: int) -> None:
        """So many more are free: processes are started on as many as make a replica."""
        self.idle_chips += chips
        while self.idle_chips >= self.cluster.group_chips:
            self.idle_chips -= self.cluster.group_chips
            self._starts += 1
            self._starting.add(self._starts)
            self._start(self._starts)

    def _start(self, start: int) -> None:
        def ready() -> None:
            if start in self._starting:
                self._starting.discard(start)
                self._do(self.coordinator.arrive(self._kept_step, self.now_s))

        self.after(self.recovery.start_s, ready, kept=True)

    @property
    def _kept_step(self) -> int:
        return int(self.kept_s / self.cluster.step_s + 1e-6)

    # What the policy decides.

    def _do(self, effects: Sequence[Effect]) -> None:
        for effect in effects:
            match effect:
                case Begin():
                    self._begin(effect)
                case Plan():
                    self._go(effect)
                case Feed():
                    self._feed(effect)
                case Restart():
                    self._all_gone()
                case Finish():
                    self._given_up()
                case _:
                    pass
        self.epochs = self.coordinator.membership.epoch

    def _begin(self, begin: Begin) -> None:
        if begin.epoch == 1:
            return
        self.to(STOPPED)

        def formed() -> None:
            if self.coordinator.membership.epoch == begin.epoch:
                self._report()

        self.after(self.recovery.resume_s, formed, kept=True)

    def _report(self) -> None:
        coordinator = self.coordinator
        effects = coordinator.report(self.step, self.now_s, under_way=self._under_way)
        if len(coordinator.membership.members) < coordinator.limits.least:
            self.to(WAITING)
        self._do(effects)

    def _go(self, plan: Plan) -> None:
        """What the lost ones had of the step is computed by others, then the next steps come."""
        coordinator = self.coordinator
        if plan.epoch == 1:
            return
        again = self._computed_again(plan) if self._under_way else 0.0
        self._under_way = False
        self.groups = coordinator.groups

        def goes_on() -> None:
            self.train()

        self.to(STOPPED)
        self.after(again, goes_on)

    def _computed_again(self, plan: Plan) -> float:
        """How long that takes whoever gets most of it."""
        coordinator, cluster = self.coordinator, self.cluster
        most = max(Counter(plan.owners).values()) - coordinator.shards
        if coordinator.size < cluster.groups:  # there are more to share it than stand for them
            lost = coordinator.size - len(coordinator.membership.members)
            most = min(most, 1) * -(-lost * cluster.shards // coordinator.groups)
        return max(0, most) * cluster.shard_s

    @property
    def is_awaited(self) -> bool:
        return any(worker.caught_up for worker in self.coordinator.membership.workers.values())

    def train(self) -> None:
        """At the end of the step that is under way those come in that have caught up."""
        super().train()
        self._at_end_of_step()

    def _at_end_of_step(self) -> None:
        if self.is_awaited:
            left_s = self.random.random() * self.cluster.step_s

            def ends() -> None:
                self._do(self.coordinator.commit(self.step, self.now_s))
                self.groups = self.coordinator.groups

            self.after(left_s, ends)

    def _feed(self, feed: Feed) -> None:
        worker = self.coordinator.membership.workers[feed.joiner]

        def fed() -> None:
            now = self.coordinator.membership.workers.get(feed.joiner)
            if now is worker and worker.fed_by == feed.source and not worker.caught_up:
                self._do(self.coordinator.caught_up(feed.joiner, self.step, self.now_s))
                if self.doing == TRAINING:
                    self._at_end_of_step()

        self.after(self.recovery.feed_s, fed, kept=True)

    def _all_gone(self) -> None:
        """No replica is left: what was kept is loaded. After a fault of software the host's memory has it."""
        if self._last_part != "software":
            self.back()
        self._under_way = False
        self.to(WAITING)

    def _given_up(self) -> None:
        """The job has ended with an error: a person starts it anew on what there is."""
        self.ended += 1
        self.back()
        self.to(WAITING)
        ready = len(self.coordinator.waiting)

        def starts() -> None:
            self.coordinator = Coordinator(self.cluster)
            self.coordinator.membership.epoch = 1
            for _ in range(ready):
                self._do(self.coordinator.arrive(self._kept_step, self.now_s))

        self.after(BY_HAND_S, starts)
