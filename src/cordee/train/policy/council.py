"""Which host leads: the agents of a job agree on one, so that two never do, whatever falls or is cut off.

As in Raft (Ongaro and Ousterhout, In Search of an Understandable Consensus Algorithm, 2014) a leader needs votes, and
asks whether it would get them before it disturbs anyone. Voters change as in dynamic-linear voting (Jajodia and
Mutchler, Dynamic Voting, 1987): those that are gone are voted out by the others, and of two halves the one with the
lowest number goes on. What is decided is only who leads: how far the job is its workers know.
"""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field

PULSE_S = 0.2
LEASE = 0.8
"""A leader counts on its voters for such a part of the time after which they may follow another."""
STAGGER_S = 0.3
"""Hosts stand for leader one after another, the lowest first."""


@dataclass(frozen=True, slots=True, order=True)
class Roll:
    """Who votes. The later of two is the larger."""

    term: int = 0
    number: int = 0
    voters: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Pulse:
    """A host is alive, and what it takes to be so."""

    host: int
    term: int
    leader: int | None
    agreed: Roll
    proposed: Roll
    sent_s: float
    echo_s: float
    """When the last pulse was sent that it has from the host to which this goes; on that one's clock."""


@dataclass(frozen=True, slots=True)
class Ask:
    """A host wants to lead; not `firm`: it only wants to know whether it could."""

    host: int
    term: int
    roll: Roll
    firm: bool


@dataclass(frozen=True, slots=True)
class Grant:
    """A vote."""

    host: int
    term: int
    firm: bool


Said = Pulse | Ask | Grant


@dataclass(frozen=True, slots=True)
class Send:
    """Something to be said to a host."""

    to: int
    said: Said


def enough(have: Collection[int], voters: Iterable[int], dead: Collection[int]) -> bool:
    """Whether these are more than half of the voters that may live, or the half with the lowest."""
    may = [voter for voter in voters if voter not in dead]
    yes = [voter for voter in may if voter in have]
    return 2 * len(yes) > len(may) or (2 * len(yes) == len(may) > 0 and min(may) in yes)


@dataclass(slots=True)
class Council:
    """What one host knows of all, and does about it."""

    me: int
    silent_s: float
    agreed: Roll
    term: int = 0
    leader: int | None = None
    proposed: Roll = field(default_factory=Roll)
    """The newest, which may not be agreed upon yet."""
    dead: set[int] = field(default_factory=set)
    """Hosts that were heard until their process ended, so that they have decided nothing since."""
    _promised: int = 0
    """The highest term for which it has voted."""
    _began_s: float = 0.0
    _led_s: float = -1e9
    """When its leader was last heard."""
    _heard_s: dict[int, float] = field(default_factory=dict)
    _pulses: dict[int, Pulse] = field(default_factory=dict)
    _echoed_s: dict[int, float] = field(default_factory=dict)
    _stores: dict[int, Roll] = field(default_factory=dict)
    """The newest roll that each voter has, as it says."""
    _grants: set[int] = field(default_factory=set)
    _firm: bool = False
    _standing: int = 0
    """The term for which it stands."""
    _stood_s: float = -1e9
    _pulsed_s: float = -1e9

    def __post_init__(self) -> None:
        self.proposed = max(self.proposed, self.agreed)

    @property
    def leads(self) -> bool:
        return self.leader == self.me

    def until_s(self) -> float:
        """Until when it may lead: enough voters follow nobody else before."""
        rolls = {self.agreed, self.proposed}
        return min(self._since_s(roll) for roll in rolls) + LEASE * self.silent_s

    def living(self, now_s: float) -> tuple[int, ...]:
        """Hosts that are heard, and this one."""
        heard = {h for h, at in self._heard_s.items() if now_s - at <= self.silent_s}
        return tuple(sorted((heard - self.dead) | {self.me}))

    def led(self, now_s: float) -> bool:
        """Whether someone leads whom it has promised to follow."""
        if self.leads:
            return now_s <= self.until_s()
        return self.leader not in self.dead and now_s - self._led_s <= self.silent_s

    # What comes in.

    def heard(self, said: Said, now_s: float) -> list[Send]:
        """Another host says something."""
        if said.host in self.dead:
            return []
        self._heard_s[said.host] = now_s
        match said:
            case Pulse():
                return self._pulse(said, now_s)
            case Ask() if self._would(said, now_s):
                if said.firm:
                    self._promised, self.leader, self._stood_s = said.term, None, now_s
                return [Send(said.host, Grant(self.me, said.term, said.firm))]
            case Grant() if said.term == self._standing and said.firm == self._firm:
                self._grants.add(said.host)
                return self._counted(now_s)
            case _:
                pass
        return []

    def meets(self, host: int, now_s: float) -> None:
        """A host is there that was not before."""
        self._heard_s[host] = now_s

    def heard_since(self, host: int, since_s: float) -> bool:
        """Whether a host has said something after that."""
        return self._heard_s.get(host, -1e9) > since_s

    def ended(self, host: int, at_s: float) -> None:
        """The process of a host's agent ended then: its port is closed to others."""
        heard = at_s - self._heard_s.get(host, -1e9) <= self.silent_s / 2
        last = self._pulses.get(host)
        if heard and last is not None and max(last.agreed, last.proposed) <= self.proposed:
            self.dead.add(host)

    def tick(self, now_s: float) -> list[Send]:
        """Time has passed."""
        self._began_s = self._began_s or now_s
        sends: list[Send] = []
        if self.leads and now_s > max(self.until_s(), self._stood_s + self.silent_s):
            self.leader = None
        if self.leads:
            self._agree()
            self._enrol(now_s)
        elif self._stands(now_s):
            sends += self._ask(firm=False, now_s=now_s)
        if now_s - self._pulsed_s >= PULSE_S:
            self._pulsed_s = now_s
            sends += [Send(to, self._own(to, now_s)) for to in self._others()]
        return sends

    # What follows from it.

    def _pulse(self, said: Pulse, now_s: float) -> list[Send]:
        before = self.agreed, self.proposed
        self._pulses[said.host] = said
        self._echoed_s[said.host] = max(said.echo_s, self._echoed_s.get(said.host, -1e9))
        self._stores[said.host] = max(said.agreed, said.proposed)
        if said.leader == said.host and said.term >= max(self.term, self._promised):
            self.term, self.leader, self._led_s = said.term, said.host, now_s
            self.agreed, self.proposed = said.agreed, said.proposed
        elif said.agreed > self.agreed:  # the others have gone on without this host
            self.agreed, self.proposed = said.agreed, max(said.agreed, self.proposed)
        if (self.agreed, self.proposed) == before:
            return []
        # All hear of it before the leader counts on it: should this host die now, they know what it had agreed to.
        others = sorted(self._others(), key=lambda host: host == self.leader)
        return [Send(to, self._own(to, now_s)) for to in others]

    def _would(self, ask: Ask, now_s: float) -> bool:
        """Whether it votes for another host."""
        free = ask.term > max(self.term, self._promised) and ask.roll >= self.proposed
        return free and not self.led(now_s)

    def _stands(self, now_s: float) -> bool:
        """Whether it is time to want to lead."""
        if self.led(now_s) or self.me not in self.proposed.voters:
            return False
        alive = [v for v in self.proposed.voters if v not in self.dead]
        turn = sorted(alive).index(self.me)
        began_s = max(
            self._began_s, self._led_s + (0 if self.leader in self.dead else self.silent_s)
        )
        return (
            now_s - began_s >= turn * STAGGER_S
            and now_s - self._stood_s >= (len(alive) + turn) * STAGGER_S
        )

    def _ask(self, *, firm: bool, now_s: float) -> list[Send]:
        self._stood_s, self._firm = now_s, firm
        if not firm:
            self._standing = max(self.term, self._promised) + 1
        else:
            self._promised = self._standing
        self._grants = {self.me}
        ask = Ask(self.me, self._standing, self.proposed, firm)
        return [*(Send(to, ask) for to in self._others()), *self._counted(now_s)]

    def _counted(self, now_s: float) -> list[Send]:
        """It leads, or asks in earnest, when enough have voted for it."""
        rolls = {self.agreed, self.proposed}
        if self.leads or not all(enough(self._grants, r.voters, self.dead) for r in rolls):
            return []
        if self.led(now_s) or self._promised > self._standing:
            return []
        if not self._firm:
            return self._ask(firm=True, now_s=now_s)
        self.term, self.leader = self._standing, self.me
        self._stores = {}
        if (
            self.proposed != self.agreed
        ):  # by another one: noted anew, for it to be known who has it
            self._propose(self.proposed.voters)
        self._pulsed_s = now_s
        return [Send(to, self._own(to, now_s)) for to in self._others()]

    def _since_s(self, roll: Roll) -> float:
        """Since when enough voters have heard of it last."""
        heard = {self.me}
        at_s = 1e18
        for voter in sorted(roll.voters, key=lambda v: -self._echoed_s.get(v, -1e9)):
            if enough(heard, roll.voters, self.dead):
                break
            if voter != self.me:
                heard.add(voter)
                at_s = self._echoed_s.get(voter, -1e9)
        return at_s if enough(heard, roll.voters, self.dead) else -1e9

    def _agree(self) -> None:
        """What enough of the voters before have noted holds."""
        if self.proposed != self.agreed:
            noted = {self.me} | {h for h, roll in self._stores.items() if roll == self.proposed}
            if enough(noted, self.agreed.voters, self.dead):
                self.agreed = self.proposed

    def _enrol(self, now_s: float) -> None:
        """Those that are gone vote no more, where the others are enough; those that have come do."""
        if self.proposed != self.agreed:
            return
        voters, living = set(self.agreed.voters), set(self.living(now_s))
        staying = voters & living
        if now_s - self._began_s <= self.silent_s and not voters - living <= self.dead:
            staying = voters  # they have not had the time to say that they live
        wanted = staying | living
        if wanted != voters and enough(staying, voters, self.dead):
            self._propose(tuple(wanted))

    def _propose(self, voters: tuple[int, ...]) -> None:
        self.proposed = Roll(self.term, self.proposed.number + 1, tuple(sorted(set(voters))))

    def _others(self) -> list[int]:
        known = {*self.agreed.voters, *self.proposed.voters, *self._heard_s}
        return sorted(known - self.dead - {self.me})

    def _own(self, to: int, now_s: float) -> Pulse:
        """This host's pulse."""
        last = self._pulses.get(to)
        echo_s = last.sent_s if last is not None and self._follows(to) else -1e9
        return Pulse(self.me, self.term, self.leader, self.agreed, self.proposed, now_s, echo_s)

    def _follows(self, host: int) -> bool:
        """Whether its last pulse of a host was one that led it."""
        last = self._pulses[host]
        return self.leader == host and last.term == self.term and last.leader == host


def opened(hosts: Mapping[int, str]) -> Roll:
    """Who votes at first: all hosts that have come together."""
    return Roll(0, 1, tuple(sorted(hosts)))
