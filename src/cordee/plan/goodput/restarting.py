"""Jobs that end with any failure and begin again from their last checkpoint: modelled, for no policy of ours does so."""

from cordee.plan.goodput.simulation import STOPPED, WAITING, Simulation


class Restarting(Simulation):
    """All of it stops, what is broken is replaced, all of it starts."""

    def struck(self, part: str) -> bool:
        """A node in use or one that stands by fails."""
        cluster = self.cluster
        place = self.random.random() * cluster.all_chips
        used = self.groups * cluster.group_chips
        if place >= cluster.all_chips - self.repairing_chips:
            return False
        if part != "software":
            self.repair(min(cluster.node_chips, cluster.all_chips - self.repairing_chips))
        if place < used:
            self.stops += 1
            self.to(STOPPED)
            self.after(self.recovery.down_s, self._again)
        return True

    def repaired(self, chips: int) -> None:
        """A job that waits for chips can begin."""
        if self.doing == WAITING and self._able() >= self.cluster.least_groups:
            self.to(STOPPED)
            self.after(self.recovery.resume_s, self._again)

    def _able(self) -> int:
        sound = self.cluster.all_chips - self.repairing_chips
        return min(self.cluster.groups, sound // self.cluster.group_chips)

    def _again(self) -> None:
        groups = self._able()
        if groups < self.cluster.least_groups:
            self.to(WAITING)
            return
        self.groups = groups
        self.back()
        self.train()
