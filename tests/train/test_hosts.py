"""Does a job on several hosts go on when one of them falls, and does it let in only whom it knows?

A host is a process group with an address of its own, 127.0.0.x; its fall is the death of all its processes at once.
"""

import json
import os
import re
import signal
import socket
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from tests.train.hosts import LIGHT, Hosts, hosts
from tests.train.jobs import SMALL
from tests.waiting import until

from cordee.train.host_wire import Join
from cordee.train.wire import PROTOCOL, Answer, Challenge, pack, read_body, sign


@pytest.fixture
def three(tmp_path: Path) -> Iterator[Hosts]:
    yield from hosts(tmp_path, 3)


@pytest.fixture
def two(tmp_path: Path) -> Iterator[Hosts]:
    yield from hosts(tmp_path, 2)


@pytest.mark.parametrize("falls", [1, pytest.param(2, marks=pytest.mark.slow)])
def test_a_job_goes_on_when_any_one_of_its_hosts_falls(falls: int, three: Hosts) -> None:
    three.start("-n", "3", "--per-host", "1", program=(sys.executable, str(LIGHT), "--steps", "60"))
    stays = [number for number in (1, 2, 3) if number != falls]
    three.until(stays[0], 15)
    three.falls(falls)
    for number in stays:
        code, out, err = three.end(number)
        assert code == 0, err
        assert "done: 60 steps" in out
        assert three.steps(number) == list(range(60))
        succeeded = [e for e in three.events(number) if e["kind"] == "succeeded"]
        assert len(succeeded) == (1 if falls == 1 else 0)


@pytest.mark.slow
def test_one_host_after_another_may_fall_and_another_one_comes(three: Hosts) -> None:
    program = (sys.executable, str(LIGHT), "--steps", "150")
    three.start("-n", "3", "--per-host", "1", program=program)
    three.until(3, 15)
    three.falls(1)
    three.until(3, 40)
    three.add(1, "-n", "3", "--per-host", "1", program=program)
    three.until(1, 20)
    three.falls(2)
    code, out, err = three.end(3)
    assert (code, "done: 150 steps" in out) == (0, True), err
    assert three.steps(3) == list(range(150))
    assert three.end(1)[0] == 0


@pytest.mark.slow
def test_the_first_host_may_come_back_before_another_one_leads(three: Hosts) -> None:
    program = (sys.executable, str(LIGHT), "--steps", "300")
    three.start("-n", "3", "--per-host", "1", program=program)
    three.until(3, 15)
    three.falls(1)
    three.add(1, "-n", "3", "--per-host", "1", program=program)
    for number in (1, 2, 3):
        code, out, err = three.end(number)
        assert (code, "done: 300 steps" in out) == (0, True), err


@pytest.mark.slow
def test_an_agent_that_is_stopped_leads_no_more_and_the_job_goes_on(three: Hosts) -> None:
    program = (sys.executable, str(LIGHT), "--steps", "80")
    three.start("-n", "3", "--per-host", "1", "--silent-s", "1.5", program=program)
    three.until(2, 15)
    os.kill(three.agents[1].pid, signal.SIGSTOP)
    assert three.end(2)[0] == 0
    assert three.end(3)[0] == 0
    assert three.steps(2) == list(range(80))


@pytest.mark.slow
@pytest.mark.parametrize("falls", [1, 2])
def test_the_parameters_are_the_same_bits_when_a_host_has_fallen(
    falls: int, two: Hosts, undisturbed: str
) -> None:
    program = (str(SMALL), "--shard-s", "0.05")
    two.start("-n", "2", "--per-host", "1", program=program)
    stays = 3 - falls
    two.until(stays, 8)
    two.falls(falls)
    code, _, err = two.end(stays)
    assert code == 0, err
    logs = (two.folder / f"127.0.0.{stays}").glob("worker-*.log")
    digests = {d for log in logs for d in re.findall(r"^digest (\w+)", log.read_text(), re.M)}
    assert digests == {undisturbed}
    assert two.steps(stays) == list(range(20))


@pytest.mark.parametrize("leaves", [1, pytest.param(2, marks=pytest.mark.slow)])
def test_a_host_that_is_told_to_end_leaves_and_the_others_go_on(leaves: int, three: Hosts) -> None:
    three.start("-n", "3", "--per-host", "1", program=(sys.executable, str(LIGHT), "--steps", "60"))
    stays = [number for number in (1, 2, 3) if number != leaves]
    three.until(stays[0], 15)
    three.agents[leaves].terminate()
    code, _, err = three.end(leaves)
    assert (code, err) == (
        128 + signal.SIGTERM,
        "error: this host was told to end: where there are others, they go on\n",
    )
    for number in stays:
        code, out, err = three.end(number)
        assert (code, "done: 60 steps" in out) == (0, True), err
        assert three.steps(number) == list(range(60))


def test_a_host_that_goes_before_the_job_begins_may_come_back_under_its_number(two: Hosts) -> None:
    program = (sys.executable, str(LIGHT), "--steps", "5")
    two.add(1, "-n", "2", "--per-host", "1", "--node-rank", "0", program=program)
    with dialled("127.0.0.1", two.port) as host:
        challenge = json.loads(read_body(host))
        host.sendall(pack(Answer(sign("known", challenge["nonce"]), "host")))
        host.sendall(pack(Join("cordee", "127.0.0.2:1", 1)))  # it is waited with, and goes
        time.sleep(0.5)
    two.add(2, "-n", "2", "--per-host", "1", "--node-rank", "1", program=program)
    for number in (1, 2):
        code, out, err = two.end(number)
        assert (code, "done: 5 steps" in out) == (0, True), err


def test_the_second_of_two_hosts_says_that_it_waits_for_the_first_and_goes_on_with_it(
    two: Hosts,
) -> None:
    program = (sys.executable, str(LIGHT), "--steps", "60")
    two.start("-n", "2", "--per-host", "1", "--silent-s", "1", program=program)
    two.until(2, 10)
    os.killpg(two.agents[1].pid, signal.SIGSTOP)
    until(lambda: [event for event in two.events(2) if event["kind"] == "leaderless"])
    os.killpg(two.agents[1].pid, signal.SIGCONT)
    code, out, err = two.end(2)
    assert (code, "done: 60 steps" in out) == (0, True), err
    assert out.count("nobody leads: this host hears too few of the others") == 1


def test_with_a_host_and_all_workers_gone_the_job_begins_again_with_those_that_can_run(
    two: Hosts, undisturbed: str
) -> None:
    two.start("-n", "2", "--per-host", "1", program=(str(SMALL), "--shard-s", "0.05"))
    two.until(1, 8)
    pids = {event["worker"]: event["pid"] for event in two.events(1) if event["kind"] == "worker"}
    two.falls(2)
    for pid in pids.values():
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    code, out, err = two.end(1)
    assert code == 0, err
    assert "the job begins again" in out
    logs = (two.folder / "127.0.0.1").glob("worker-*.log")
    digests = {d for log in logs for d in re.findall(r"^digest (\w+)", log.read_text(), re.M)}
    assert digests == {undisturbed}
    assert set(two.steps(1)) == set(range(20))


def test_a_host_with_another_secret_is_refused_and_both_sides_say_so(two: Hosts) -> None:
    two.start("-n", "2", secrets={2: "guessed"})
    code, _, err = two.end(2)
    assert code == 1
    assert "refuses this host: the host does not know the secret of this job" in err
    two.agents[1].terminate()
    assert "refused: the host does not know the secret of this job" in two.end(1)[1]


def test_a_host_of_another_job_is_refused(two: Hosts) -> None:
    two.add(1, "--rdzv-id", "one")
    two.add(2, "--rdzv-id", "other")
    code, _, err = two.end(2)
    assert code == 1
    assert "is of job 'other', this one is 'one'" in err


def test_a_host_with_another_version_is_refused_and_both_sides_say_so(two: Hosts) -> None:
    two.add(1)
    with dialled("127.0.0.1", two.port) as host:
        challenge = json.loads(read_body(host))
        host.sendall(pack(Answer(sign("known", challenge["nonce"]), "host", PROTOCOL + 1)))
        said = json.loads(read_body(host))
    why = f"this job speaks protocol {PROTOCOL}, the host {PROTOCOL + 1}: install the same version"
    assert said["is"] == "leave"
    assert why in said["reason"]
    two.agents[1].terminate()
    assert why in two.end(1)[1]


def test_a_host_does_not_take_part_in_a_job_of_another_version(two: Hosts) -> None:
    with socket.create_server(("127.0.0.1", two.port)) as first:
        two.add(2)
        other, _ = first.accept()
        with other:
            other.sendall(pack(Challenge("nonce", PROTOCOL + 1)))
            code, _, err = two.end(2)
    assert code == 1
    assert f"speaks protocol {PROTOCOL + 1}, this host {PROTOCOL}: install the same version" in err


def dialled(host: str, port: int) -> socket.socket:
    """A connection to an agent, as soon as it listens."""
    end_s = time.monotonic() + 60
    while True:
        try:
            return socket.create_connection((host, port), timeout=20)
        except ConnectionRefusedError:
            assert time.monotonic() < end_s
            time.sleep(0.05)
