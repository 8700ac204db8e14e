"""Does a model that several hosts hold together train on when one of them falls, with all that it has kept?"""

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.train.hosts import Hosts, hosts
from tests.train.jobs import SMALL, job
from tests.waiting import has_ended, until

SHARDED = SMALL.with_name("sharded.py")
STEPS = 24
AUTOLOAD = {"TORCH_DEVICE_BACKEND_AUTOLOAD": "1"}
PROGRAM = (str(SHARDED), "--steps", str(STEPS), "--shard-s", "0.02")


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> set[str]:
    """The digests of both parts after a run in which nothing failed."""
    ended = job(tmp_path_factory.mktemp("plain"), *PROGRAM, options=("-n", "2"))
    assert ended.code == 0, ended.err
    return set(ended.digests)


@pytest.fixture
def two(tmp_path: Path) -> Iterator[Hosts]:
    yield from hosts(tmp_path, 2)


@pytest.fixture
def three(tmp_path: Path) -> Iterator[Hosts]:
    yield from hosts(tmp_path, 3)


def falls(there: Hosts, number: int, checkpoint: Path | None = None) -> None:
    """A host falls, and its memory is gone with it."""
    assert there.kept(number, checkpoint) != []
    there.falls(number)
    events = [event for n in there.agents for event in of(there, n, "worker")]
    pids = {event["pid"] for event in events if home(there, event["worker"]) == number}
    until(lambda: all(has_ended(pid) for pid in pids))
    for file in there.kept(number, checkpoint):
        file.unlink(missing_ok=True)  # what started the workers may remove it, too


def digests(there: Hosts, *numbers: int) -> set[str]:
    logs = [log for n in numbers for log in (there.folder / f"127.0.0.{n}").glob("worker-*.log")]
    return {d for log in logs for d in re.findall(r"^digest ([\w-]+)", log.read_text(), re.M)}


def of(there: Hosts, number: int, kind: str) -> list[dict[str, Any]]:
    return [event for event in there.events(number) if event["kind"] == kind]


def home(there: Hosts, worker: int) -> int:
    """The host on which a worker was started."""
    numbers = range(1, there.count + 1)
    logs = {n: there.folder / f"127.0.0.{n}" / f"worker-{worker}.log" for n in numbers}
    return next(number for number, log in logs.items() if log.exists())


@pytest.fixture
def chips() -> Iterator[dict[str, str]]:
    """The environment of programs on a machine of four virtual chips, as long as that is there."""
    program = (
        "import json, os, sys; print(json.dumps(dict(os.environ)), flush=True); sys.stdin.read()"
    )
    run = (sys.executable, "-m", "cordee", "run", "--chip", "Ascend910B3", "--chips", "4")
    with subprocess.Popen(
        [*run, "--", sys.executable, "-c", program],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=os.environ | {"TORCH_DEVICE_BACKEND_AUTOLOAD": "0"},
    ) as machine:
        assert machine.stdout is not None
        yield json.loads(machine.stdout.readline())
        machine.communicate("")


@pytest.mark.parametrize("lost", [2, 1])
def test_a_host_that_falls_with_its_part_of_the_model_costs_no_restart_and_no_bit(
    lost: int, two: Hosts, undisturbed: set[str]
) -> None:
    two.start("-n", "2", "--spares", "2", program=PROGRAM)
    stays = 3 - lost
    two.until(stays, 12)
    falls(two, lost)
    code, out, err = two.end(stays)
    assert code == 0, err
    assert of(two, stays, "restart") == []
    assert digests(two, stays) == undisturbed
    assert set(two.steps(stays)) == set(range(STEPS))
    assert out.count("parts of the model are kept on one host only") == 1
    assert two.kept(stays) == []


@pytest.mark.parametrize("which", [1, pytest.param(0, marks=pytest.mark.slow)])
def test_a_part_comes_from_the_host_that_has_it_to_one_that_has_not(
    which: int, three: Hosts, undisturbed: set[str]
) -> None:
    three.start("-n", "2", "--spares", "1", "--per-host", "1", program=PROGRAM)
    until(lambda: of(three, 1, "copies"), by=three.agents[1])
    members = of(three, 1, "epoch")[0]["members"]
    fallen, stays = home(three, members[which]), home(three, members[1 - which])
    comes = 6 - fallen - stays
    three.until(stays, 12)
    falls(three, fallen)
    for number in (stays, comes):
        code, _, err = three.end(number)
        assert code == 0, err
    assert of(three, stays, "restart") == []
    resumed = of(three, stays, "resumed")
    assert three.memory(comes) in resumed[-1]["file"]
    assert digests(three, stays, comes) == undisturbed
    assert set(three.steps(stays)) == set(range(STEPS))
    assert three.kept(stays) == three.kept(comes) == []


@pytest.mark.slow
def test_a_host_that_falls_with_its_virtual_chips_costs_no_restart_and_no_bit(
    two: Hosts, chips: dict[str, str], tmp_path: Path
) -> None:
    program = (*PROGRAM, "--device", "npu")
    waits = ("--silent-s", "15", "--hang-s", "15")
    on_chips = ("-n", "2", "--chip", "Ascend910B3", *waits)
    plain = job(tmp_path / "plain", *program, options=on_chips, environment=AUTOLOAD)
    assert plain.code == 0, plain.err
    for number, visible in ((1, "0,1"), (2, "2,3")):
        two.environments[number] = chips | {"ASCEND_RT_VISIBLE_DEVICES": visible}
    two.start("-n", "2", "--spares", "2", "--chips", "2", *waits, program=program)
    two.until(1, 12)
    falls(two, 2)
    code, _, err = two.end(1)
    assert code == 0, err
    assert of(two, 1, "restart") == []
    assert digests(two, 1) == set(plain.digests)
    assert set(two.steps(1)) == set(range(STEPS))
    assert two.kept(1) == []


@pytest.mark.slow
@pytest.mark.parametrize("lost", [1, 2])
def test_nothing_is_left_where_the_agent_of_a_host_is_killed(
    lost: int, two: Hosts, undisturbed: set[str]
) -> None:
    two.start("-n", "2", "--spares", "2", program=PROGRAM)
    two.until(3 - lost, 12)
    two.agents[lost].kill()
    code, _, err = two.end(3 - lost)
    assert code == 0, err
    assert digests(two, 3 - lost) == undisturbed
    until(lambda: two.kept(1) == two.kept(2) == [])


@pytest.mark.slow
def test_when_all_hosts_fall_the_next_start_goes_on_from_what_one_of_them_has_kept(
    two: Hosts, undisturbed: set[str], tmp_path: Path
) -> None:
    checkpoint = tmp_path / "checkpoints"
    options = ("-n", "2", "--checkpoint", str(checkpoint), "--checkpoint-every", "100")
    two.start(*options, program=PROGRAM)
    two.until(1, 12)
    two.agents[1].kill()
    falls(two, 2, checkpoint)
    made = max(two.steps(1))
    until(lambda: len(two.kept(1, checkpoint)) > 2)
    two.start(*options, program=PROGRAM)
    for number in (1, 2):
        code, _, err = two.end(number)
        assert code == 0, err
    resumed = {event["step"] for event in of(two, 1, "resumed")}
    assert len(resumed) == 1
    assert min(resumed) >= made - 1
    assert digests(two, 1, 2) == undisturbed
    assert two.kept(1, checkpoint) == two.kept(2, checkpoint) == []
