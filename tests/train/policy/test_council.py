"""Do hosts agree on one that leads, and never on two, whatever falls, stops or is cut off?"""

import heapq
from collections.abc import Sequence
from dataclasses import dataclass, field
from random import Random

import pytest

from cordee.train.policy.council import Council, Roll, Said, Send, enough

SILENT_S = 3.0
TICK_S = 0.05


@dataclass
class Network:
    """Hosts with clocks of their own, and links between them that can be cut."""

    random: Random
    hosts: dict[int, Council]
    now_s: float = 0.0
    cut: set[frozenset[int]] = field(default_factory=set)
    fallen: set[int] = field(default_factory=set)
    stopped: set[int] = field(default_factory=set)
    queue: list[tuple[float, int, int, Said]] = field(default_factory=list)
    sent: int = 0
    last_s: dict[tuple[int, int], float] = field(default_factory=dict)
    """When what was sent last comes in: what comes later may not overtake it."""

    def clock_s(self, host: int) -> float:
        return self.now_s + 1000.0 * host

    def joined(self, one: int, other: int) -> bool:
        return frozenset((one, other)) not in self.cut

    def run(self, for_s: float) -> None:
        end_s = self.now_s + for_s
        while self.now_s < end_s:
            self.now_s += TICK_S
            while self.queue and self.queue[0][0] <= self.now_s:
                _, _, to, said = heapq.heappop(self.queue)
                if self.up(to) and self.joined(to, said.host):
                    self.send(to, self.hosts[to].heard(said, self.clock_s(to)))
            for number, council in self.hosts.items():
                if self.up(number):
                    self.send(number, council.tick(self.clock_s(number)))
            assert len(self.leaders) <= 1, (self.now_s, self.leaders)

    def up(self, host: int) -> bool:
        return host not in self.fallen | self.stopped

    def send(self, source: int, sends: Sequence[Send]) -> None:
        for send in sends:
            if self.joined(source, send.to):
                self.sent += 1
                at_s = self.now_s + self.random.uniform(0.0, 0.1)
                at_s = self.last_s[source, send.to] = max(
                    at_s, self.last_s.get((source, send.to), 0)
                )
                heapq.heappush(self.queue, (at_s, self.sent, send.to, send.said))

    def falls(self, host: int, *, seen: bool) -> None:
        """`seen`: only its process ends; who has a link to its host hears what it said before, and sees that."""
        self.fallen.add(host)
        self.queue.sort()
        for entry in [e for e in self.queue if e[3].host == host]:
            self.queue.remove(entry)
            if self.up(entry[2]) and self.joined(host, entry[2]):
                self.send(entry[2], self.hosts[entry[2]].heard(entry[3], self.clock_s(entry[2])))
        heapq.heapify(self.queue)
        for number, council in self.hosts.items():
            if seen and self.up(number) and self.joined(host, number):
                council.ended(host, self.clock_s(number))

    def cut_off(self, hosts: set[int]) -> None:
        """Cut all links between these and the others."""
        others = self.hosts.keys() - hosts
        self.cut = {frozenset((one, other)) for one in hosts for other in others}

    @property
    def leaders(self) -> list[int]:
        """Those that lead, and may. One that is stopped may go on at any moment."""
        return [
            number
            for number, council in self.hosts.items()
            if number not in self.fallen
            and council.leads
            and self.clock_s(number) <= council.until_s()
        ]


def network(count: int, seed: int = 0) -> Network:
    roll = Roll(0, 1, tuple(range(count)))
    made = Network(Random(seed), {n: Council(n, SILENT_S, roll) for n in range(count)})
    made.run(2.0)
    assert made.leaders == [0]
    return made


@pytest.mark.parametrize("count", [1, 2, 3, 5, 8])
def test_the_first_of_the_hosts_leads_at_first(count: int) -> None:
    network(count)


@pytest.mark.parametrize("count", [2, 3, 5])
def test_when_the_agent_that_leads_is_killed_the_next_one_leads_at_once(count: int) -> None:
    made = network(count)
    made.falls(0, seen=True)
    made.run(1.0)
    assert made.leaders == [1]


@pytest.mark.parametrize("count", [3, 4, 5])
def test_when_the_host_that_leads_loses_its_power_the_next_one_leads_after_a_silence(
    count: int,
) -> None:
    made = network(count)
    made.falls(0, seen=False)
    made.run(SILENT_S / 2)
    assert 1 not in made.leaders
    made.run(SILENT_S)
    assert made.leaders == [1]


def test_all_but_one_may_fall_one_after_another() -> None:
    made = network(5)
    for host in range(4):
        made.falls(host, seen=host % 2 == 1)
        made.run(3 * SILENT_S)
    assert made.leaders == [4]


def test_of_two_hosts_the_first_goes_on_when_the_link_is_cut_and_the_other_waits() -> None:
    made = network(2)
    made.cut_off({1})
    made.run(4 * SILENT_S)
    assert made.leaders == [0]
    made.cut.clear()
    made.run(1.0)
    assert made.leaders == [0]
    assert made.hosts[1].leader == 0
    assert made.hosts[0].agreed.voters == (0, 1)


def test_the_larger_part_goes_on_when_hosts_are_cut_off_from_each_other() -> None:
    made = network(5)
    made.cut_off({0, 1})
    made.run(2 * SILENT_S)
    assert made.leaders == [2]
    made.falls(3, seen=True)
    made.run(2 * SILENT_S)
    assert made.leaders == [2]
    made.cut.clear()
    made.run(2 * SILENT_S)
    assert made.leaders == [2]
    assert made.hosts[0].agreed.voters == (0, 1, 2, 4)


def test_one_that_was_stopped_leads_no_more_when_it_goes_on() -> None:
    made = network(3)
    made.stopped.add(0)
    made.run(2 * SILENT_S)
    assert made.leaders == [1]
    made.stopped.clear()
    made.run(1.0)
    assert made.leaders == [1]
    assert made.hosts[0].leader == 1


def test_a_host_that_comes_later_gets_a_vote() -> None:
    made = network(2)
    made.hosts[2] = Council(2, SILENT_S, made.hosts[0].agreed)
    made.hosts[0].meets(2, made.clock_s(0))
    made.run(1.0)
    assert made.hosts[0].agreed.voters == (0, 1, 2)
    made.falls(0, seen=False)
    made.run(2 * SILENT_S)
    assert made.leaders == [1]


@pytest.mark.parametrize("seed", range(25))
def test_never_do_two_lead_and_when_all_is_well_again_one_does(seed: int) -> None:
    random = Random(seed)
    made = network(random.randint(2, 6), seed)
    for _ in range(12):
        living = [number for number in made.hosts if number not in made.fallen]
        chosen = set(random.sample(living, random.randint(1, len(living))))
        match random.randint(0, 4):
            case 0:
                made.cut_off(chosen)
            case 1:
                made.cut = {frozenset(random.sample(list(made.hosts), 2)) for _ in range(3)}
            case 2:
                made.stopped = chosen
            case 3 if len(living) > 2:
                made.falls(living[0], seen=random.random() < 0.5)
            case _:
                made.cut, made.stopped = set(), set()
        made.run(random.uniform(0.1, 3 * SILENT_S))
    made.cut, made.stopped = set(), set()
    made.run(4 * SILENT_S)
    living = [number for number in made.hosts if number not in made.fallen]
    newest = [
        max(made.hosts[n].agreed for n in living),
        max(made.hosts[n].proposed for n in living),
    ]
    if all(enough(living, roll.voters, ()) for roll in newest):
        assert len(made.leaders) == 1
        assert {made.hosts[number].leader for number in living} == set(made.leaders)


def test_half_of_the_voters_are_enough_with_the_lowest_of_those_that_may_live() -> None:
    assert enough([0, 1], range(4), ())
    assert not enough([2, 3], range(4), ())
    assert enough([1], range(2), [0])
    assert not enough([], (), ())
