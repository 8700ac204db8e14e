"""Does a job end with the bits of the undisturbed one, whatever befalls whom at which point of a step?

Each cell of a table, points and processes by faults, is a job with that fault at that place. A cell without sense says why.
"""

import json
import os
import signal
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, get_args
from uuid import uuid4

import pytest
from tests.train.hosts import Hosts, hosts
from tests.train.jobs import SMALL, Ended, Fault, job
from tests.waiting import has_ended, until

from cordee.train.checkpoint.memory import ROOT, name_for
from cordee.train.policy.shards import even
from cordee.train.policy.trust import Checks, other_for

Do = Literal["kill", "stop", "link-down", "link-slow", "flip"]
DOS: tuple[Do, ...] = get_args(Do)
SHARDS = 4
STEP = 6
"""Of `small`, whose third shard is drawn to be computed twice then: worker 1 of three has it, or who takes its place."""
WIDE_STEP = 3
"""Of `wide`, whose last shard is drawn: the last one of worker 1 of two, which is summed while it is computed."""
DRAWN = 2
BUCKETS = ("4th layer", "3rd layer", "2nd layer", "1st layer", "parameter without gradient", "loss")
"""Of `wide`, in the order in which they are summed."""
RATES: Mapping[str, int] = {"members": 100_000, "wide": 20_000_000, "coordinator": 5_000}
"""What a slow link carries, in bytes per second."""
SILENT = ("--silent-s", "1.5")


@dataclass(frozen=True, kw_only=True)
class Cell:
    """A job with a fault."""

    faults: tuple[Fault, ...]
    gone: frozenset[int]
    """Who is lost, or has to leave."""
    options: tuple[str, ...] = ("-n", "3", *SILENT)
    program: tuple[str, ...] = (str(SMALL),)
    steps: int = 20
    at_end: int = 0
    """So many workers come to the end at least."""


@dataclass(frozen=True, kw_only=True)
class Place:
    """Where a fault strikes."""

    at: str
    worker: int = 1
    other: int = 2
    """At the other end of the link."""
    leaves: int = 2
    """The end of a link that leaves where it is down; -1: neither."""
    step: int = STEP
    flips: str = ""
    """Where a gradient that this worker has at that point may be struck; none: nowhere."""
    more: Fault = field(default_factory=dict)
    before: tuple[Fault, ...] = ()
    """What has happened before,"""
    lost: frozenset[int] = frozenset()
    """and who is lost by it."""
    options: tuple[str, ...] = ("-n", "3", *SILENT)
    down_s: float = 0.0
    """How long a link is down; 0: for good."""
    rate: str = "members"
    program: tuple[str, ...] = (str(SMALL),)
    steps: int = 20

    def cell(self, do: Do) -> Cell:
        fault: Fault = {"worker": self.worker, "step": self.step, "at": self.at, "do": do}
        gone, options = self.lost, self.options
        match do:
            case "kill" | "stop":
                gone |= {self.worker}
            case "link-down":
                fault |= {"other": self.other, "for_s": self.down_s}
                gone |= {self.leaves} - {-1}
            case "link-slow":
                fault |= {"other": self.other, "bytes_per_s": RATES[self.rate]}
            case "flip":
                gone |= {self.worker}
                fault["at"] = self.flips
                fault |= {"shard": DRAWN} if self.flips == "backward" else {}
                options += ("--recheck-every", "1", "--even")
        program, steps = self.program, self.steps
        faults = (*self.before, fault | self.more)
        return Cell(faults=faults, gone=gone, options=options, program=program, steps=steps)


def of_a_bucket(number: int) -> Place:
    return Place(
        at="bucket",
        other=0,
        leaves=1,
        step=WIDE_STEP,
        flips="bucket",
        more={"bucket": number},
        options=("-n", "2", *SILENT),
        rate="wide",
        program=(str(SMALL.with_name("wide.py")),),
        steps=6,
    )


WAITS = ("-n", "3", "--min", "3", "--spares", "1", *SILENT)
FALLS: Fault = {"worker": 1, "step": STEP, "at": "reduce"}
"""So that worker 3, a spare, gets the state of worker 2 and takes the place of worker 1."""


def of_a_newcomer(at: str, worker: int = 3, **more: object) -> Place:
    told: dict[str, object] = {"other": 5 - worker, "leaves": 3, "flips": "backward"}
    where: dict[str, object] = {"before": (FALLS,), "lost": frozenset({1}), "options": WAITS}
    return Place(at=at, worker=worker, step=0, **(told | where | more))  # type: ignore[arg-type]


PLACES: Mapping[str, Place] = {
    "forward": Place(at="forward", flips="backward"),
    **{f"bucket: {name}": of_a_bucket(number) for number, name in enumerate(BUCKETS)},
    "between reduce and vote": Place(at="vote", flips="vote"),
    "voted, nothing heard": Place(at="voted", flips="voted"),
    "told to apply": Place(at="apply", flips="apply"),
    "join: a group is agreed on": of_a_newcomer("epoch"),
    "join: the group is formed": of_a_newcomer("form"),
    "state stream: who gets it": of_a_newcomer("stream", leaves=-1, down_s=8.0),
    "a spare": Place(
        at="wait",
        worker=3,
        other=-1,
        leaves=3,
        step=0,
        options=("-n", "3", "--spares", "1", *SILENT),
        rate="coordinator",
        program=(str(SMALL), "--shard-s", "0.1"),
    ),
}


def coordinator(do: Do) -> Cell:
    """It ends, or the link between worker 1 and it is struck."""
    if do in ("kill", "stop"):
        fault: Fault = {"worker": 1, "step": STEP, "at": "voted", "do": f"{do}-coordinator"}
        return Cell(faults=(fault,), gone=frozenset(), at_end=3)
    return Place(at="voted", other=-1, leaves=1, rate="coordinator").cell(do)


def two(do: Do) -> Cell:
    """Two workers, or the links of four; of a shard who has it, and who computes it again."""
    if do == "flip":
        owner = even(SHARDS, range(4))[DRAWN]
        other = other_for(STEP, owner, range(4))
        assert other is not None
        where: Fault = {"step": STEP, "at": "backward", "do": do, "shard": DRAWN}
        flips = (where | {"worker": owner}, where | {"worker": other, "bit": 21})
        options = ("-n", "4", "--recheck-every", "1", "--even", *SILENT)
        return Cell(faults=flips, gone=frozenset({owner, other}), options=options)
    if do in ("kill", "stop"):
        both = [Place(at="reduce", worker=worker).cell(do) for worker in (0, 1)]
        options = ("-n", "3", *SILENT)
    else:
        ends = (0, 1), (2, 3)
        both = [Place(at="reduce", worker=w, other=o, leaves=o).cell(do) for w, o in ends]
        options = ("-n", "4", *SILENT)
    faults, gone = both[0].faults + both[1].faults, both[0].gone | both[1].gone
    return Cell(faults=faults, gone=gone, options=options)


def sends(do: Do) -> Cell:
    """Who gives a newcomer the state; a gradient that is wrong there goes to that, too, while it has half of the state."""
    if do != "flip":
        return of_a_newcomer("stream", worker=2, leaves=-1, down_s=8.0).cell(do)
    halts: Fault = {"worker": 4, "step": 0, "at": "stream", "do": "sleep", "for_s": 1.0}
    flips: Fault = {"worker": 3, "step": STEP + 3, "at": "vote", "do": "flip"}
    return Cell(
        faults=(FALLS, halts, flips),
        gone=frozenset({1, 3}),
        options=("-n", "4", "--spares", "1", *SILENT),
        program=(str(SMALL), "--shard-s", "0.05"),
    )


OTHERS: Mapping[str, Callable[[Do], Cell]] = {
    "state stream: who sends it": sends,
    "the coordinator": coordinator,
    "two at once": two,
}
NO_GRADIENT: Mapping[str, str] = {
    "bucket: parameter without gradient": "there is no gradient",
    "bucket: loss": "it is no gradient: a loss that is wrong is written down, and trains nothing",
    "state stream: who gets it": "it has no gradient of its own; a state that came wrong is seen when it first votes",
    "the coordinator": "it has no gradients",
    "a spare": "it has no gradients until it gets a state",
    "join: a group is agreed on": "it computes only in the group: as where that is formed",
}
"""Where no bit of a gradient can be turned, and why."""


def cell_of(place: str, do: Do) -> Cell:
    if place in OTHERS:
        return OTHERS[place](do)
    return PLACES[place].cell(do)


CELLS = [
    (place, do)
    for place in (*PLACES, *OTHERS)
    for do in DOS
    if not (do == "flip" and place in NO_GRADIENT)
]


@pytest.mark.slow
@pytest.mark.parametrize(("place", "do"), CELLS, ids=[f"{do}-{place}" for place, do in CELLS])
def test_a_fault_costs_no_step_and_no_bit(
    place: str, do: Do, undisturbed: str, wide: str, tmp_path: Path
) -> None:
    cell, mark = cell_of(place, do), uuid4().hex
    ended = job(
        tmp_path / "job",
        *cell.program,
        options=cell.options,
        faults=cell.faults,
        environment={"OF_A_TEST": mark},
    )
    assert ended.code == 0, ended.err
    assert ended.steps == list(range(cell.steps))
    assert set(ended.digests) == {undisturbed if cell.steps == 20 else wide}
    assert len(ended.digests) >= cell.at_end
    struck = [(event["worker"], event["do"]) for event in ended.of("struck")]
    if do in ("kill", "stop") and place == "the coordinator":
        assert ended.of("succeeded") != []  # it may have heard nothing more
    else:
        assert sorted(struck) == sorted((f["worker"], f.get("do", "kill")) for f in cell.faults)
    left = {event["worker"] for kind in ("lost", "evicted") for event in ended.of(kind)}
    assert left == cell.gone
    assert {e["worker"] for e in ended.of("evicted") if e["guilty"]} <= cell.gone
    pids = [event["pid"] for event in ended.of("worker")]
    until(lambda: all(has_ended(pid) for pid in pids) and not marked(mark))
    assert list(ROOT.glob(f"{name_for(ended.folder)}*")) == []


@pytest.fixture
def three(tmp_path: Path) -> Iterator[Hosts]:
    yield from hosts(tmp_path, 3)


@pytest.mark.slow
@pytest.mark.parametrize("host", [1, 2])
@pytest.mark.parametrize("do", ["kill", "stop"])
def test_an_agent_that_ends_or_stops_costs_no_step_and_no_bit(
    do: str, host: int, undisturbed: str, three: Hosts
) -> None:
    """Of a host of three; the first one leads. Its links, which are those of the host: test_namespaces.py."""
    at: Fault = {"step": STEP, "at": "vote", "do": f"{do}-agent"}
    three.environments[host] = {
        "CORDEE_TRAIN_FAULTS": json.dumps([at | {"worker": worker} for worker in range(3)])
    }
    three.start("-n", "3", "--per-host", "1", *SILENT, program=(str(SMALL), "--shard-s", "0.05"))
    for number in {1, 2, 3} - {host}:
        code, _, err = three.end(number)
        assert code == 0, err
        assert three.steps(number) == list(range(20))
        ended = Ended(code, "", err, three.folder / f"127.0.0.{number}")
        assert set(ended.digests) == {undisturbed}
        assert ended.of("struck") != [] or (do, host) == ("kill", 1)
    pids = {event["pid"] for n in three.agents for event in three.events(n) if "pid" in event}
    if do == "stop":
        for number in (
            signal.SIGTERM,
            signal.SIGCONT,
        ):  # nobody else can see to what it has started
            three.agents[host].send_signal(number)
    three.agents[host].communicate(timeout=120)
    until(lambda: all(has_ended(pid) for pid in pids))


def test_the_third_shard_is_drawn_and_of_two_the_last_one_of_worker_1() -> None:
    drawn = Checks(shard_every=1)
    assert (drawn.shard(STEP, SHARDS), even(SHARDS, range(3))[DRAWN]) == (DRAWN, 1)
    assert drawn.shard(WIDE_STEP, SHARDS) == SHARDS - 1


def test_every_place_and_every_fault_is_tried_or_there_is_a_reason() -> None:
    tried = {(place, do) for place, do in CELLS if cell_of(place, do).faults}
    senseless = {(place, "flip") for place in NO_GRADIENT}
    assert tried | senseless == {(place, do) for place in (*PLACES, *OTHERS) for do in DOS}
    assert tried & senseless == set()


@pytest.fixture(scope="module")
def wide(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The digest of `wide` after a run of one worker."""
    program = str(SMALL.with_name("wide.py"))
    (digest,) = job(tmp_path_factory.mktemp("alone"), program, options=("-n", "1")).digests
    return digest


def marked(mark: str) -> list[int]:
    """Processes that have a variable."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            if f"OF_A_TEST={mark}".encode() in (folder / "environ").read_bytes():
                found.append(int(folder.name))
        except OSError:
            continue
    return [pid for pid in found if pid != os.getpid()]
