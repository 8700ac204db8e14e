"""Does a job on three hosts go on where a cable is cut, or slow: between two of them that both reach the third, or one's own?

A host is a network namespace, which only those may make who have the rights.
"""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.train.jobs import SMALL

from cordee.core.events import read

PORT = 29_500
HOSTS = (1, 2, 3)
NOBODY = "02:00:00:00:00:99"


def space(host: int) -> str:
    return f"cordee{os.getpid()}-{host}"


def where(host: int) -> str:
    return f"10.77.0.{host}"


def ip(*words: str) -> None:
    done = subprocess.run(["ip", *words], capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"no network namespaces: ip {' '.join(words)}: {done.stderr.strip()}")


@pytest.fixture
def joined() -> Iterator[None]:
    """Three network namespaces on one switch, which is in a fourth."""
    switch = space(0)
    try:
        ip("netns", "add", switch)
        ip("-n", switch, "link", "add", "switch", "type", "bridge")
        ip("-n", switch, "link", "set", "switch", "up")
        for host in HOSTS:
            ip("netns", "add", space(host))
            end = ("type", "veth", "peer", "name", f"host{host}", "netns", switch)
            ip("-n", space(host), "link", "add", "cable", *end)
            ip("-n", switch, "link", "set", f"host{host}", "master", "switch", "up")
            ip("-n", space(host), "addr", "add", f"{where(host)}/24", "dev", "cable")
            ip("-n", space(host), "link", "set", "cable", "up")
            ip("-n", space(host), "link", "set", "lo", "up")
        yield
    finally:
        for host in (0, *HOSTS):
            subprocess.run(["ip", "netns", "del", space(host)], capture_output=True, check=False)


def run(folder: Path, command: str, *program: str) -> list[dict[str, Any]]:
    """A job whose second host runs a command at step 5; gives what the first one's journal has."""
    endpoints = ",".join(f"{where(host)}:{PORT}" for host in HOSTS)
    fault = {"step": 5, "at": "reduce", "do": "run", "command": command}
    agents = []
    for host in HOSTS:
        options = ("--rdzv-endpoint", endpoints, "--address", f"{where(host)}:{PORT}")
        words = [sys.executable, "-m", "cordee", "train", "-n", "3", "--page", "off", *options]
        words += ["--nnodes", "3", "--folder", str(folder)]
        faults = [fault | {"worker": worker} for worker in range(3)] if host == 2 else []
        agents.append(
            subprocess.Popen(
                ["ip", "netns", "exec", space(host), *words, "--", str(SMALL), *program],
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
                env=os.environ
                | {"CORDEE_TRAIN_SECRET": "known", "CORDEE_TRAIN_FAULTS": json.dumps(faults)},
            )
        )
    ended = [(*agent.communicate(timeout=280), agent.returncode) for agent in agents]
    assert [code for *_, code in ended] == [0, 0, 0], ended
    events = list(read(folder / where(1) / "events.jsonl"))
    assert [event["step"] for event in events if event["kind"] == "commit"] == list(range(20))
    return events


def digests(folder: Path) -> set[str]:
    logs = [log.read_text() for log in folder.rglob("worker-*.log")]
    return {line.split()[1] for log in logs for line in log.splitlines() if "digest" in line}


@pytest.mark.slow
def test_hosts_without_a_cable_between_them_do_not_end_the_job(
    joined: None, undisturbed: str, tmp_path: Path
) -> None:
    # What host 2 sends to host 3 goes to a network card that nobody has.
    cut = f"ip neigh replace {where(3)} lladdr {NOBODY} dev cable nud permanent"
    events = run(tmp_path, cut)
    assert any(e["kind"] == "down" and e["text"].endswith("is down") for e in events)
    assert len([e for e in events if e["kind"] == "evicted"]) >= 1
    assert digests(tmp_path) == {undisturbed}


@pytest.mark.slow
def test_a_host_whose_cable_is_down_is_left_out_until_it_is_up_and_no_bit_is_lost(
    joined: None, undisturbed: str, tmp_path: Path
) -> None:
    up = "setsid sh -c 'sleep 6; ip link set cable up' >/dev/null 2>&1 &"
    events = run(tmp_path, f"ip link set cable down; {up}", "--shard-s", "0.5")
    (struck,) = [event["worker"] for event in events if event["kind"] == "struck"]
    assert struck in {w for e in events if e["kind"] == "epoch" for w in e["lost"]}
    assert digests(tmp_path) == {undisturbed}


@pytest.mark.slow
def test_a_host_whose_cable_is_slow_costs_no_bit(
    joined: None, undisturbed: str, tmp_path: Path
) -> None:
    slow = "tc qdisc add dev cable root tbf rate 2mbit burst 16k latency 400ms"
    events = run(tmp_path, slow)
    assert [event["kind"] for event in events].count("struck") == 1
    assert [event for event in events if event["kind"] == "evicted"] == []
    assert digests(tmp_path) == {undisturbed}
