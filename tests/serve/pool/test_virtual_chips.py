"""A fleet file puts a pool on virtual chips, and a replica whose chip is lost goes on on a spare one."""

import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import httpx2 as httpx
import pytest
from tests.serve.gateway.conftest import Service, served
from tests.waiting import until

FLEET = """
[gateway]
port = 0
[[pool]]
name = "virtual"
model = "{model}"
chip = "Ascend910B3"
replicas = 2
chips_per_replica = {each}
spare_chips = 1
threads = 1
arguments = ["--weights", "float16"]
[[pool]]
name = "cpu"
model = "{model}"
role = "standby"
threads = 1
"""
BODY = {"prompt": "import os", "max_tokens": 60, "temperature": 0, "return_token_ids": True}


def ask(service: Service) -> list[int]:
    reply = httpx.post(f"{service.url}/v1/completions", json=BODY, timeout=120)
    assert reply.status_code == 200, reply.text
    return reply.json()["choices"][0]["token_ids"]


def virtual(service: Service) -> list[dict[str, Any]]:
    return next(p["replicas"] for p in service.status()["pools"] if p["name"] == "virtual")


def lose_chip(number: int, service: Service) -> None:
    """As `cordee fault kill` does on the service's own machine."""
    words = Path(f"/proc/{virtual(service)[0]['pid']}/environ").read_text().split("\0")
    machine = next(w.partition("=")[2] for w in words if w.startswith("CORDEE_MACHINE="))
    command = ["fault", "kill", "--chip", str(number), "--machine", machine]
    subprocess.run([sys.executable, "-m", "cordee", *command], check=True, timeout=60)


def state_shown(service: Service) -> str:
    command = [sys.executable, "-m", "cordee", "serve", "status", "--url", service.url]
    return subprocess.run(command, check=True, timeout=60, stdout=subprocess.PIPE, text=True).stdout


@pytest.mark.parametrize(
    ("each", "lost", "left"),
    [
        pytest.param(1, 0, [2], marks=pytest.mark.slow, id="alone"),
        pytest.param(2, 0, [4, 1], marks=pytest.mark.slow, id="the first of two"),
        pytest.param(2, 1, [0, 4], id="the second of two"),
    ],
)
def test_a_replica_goes_on_on_a_spare_chip_and_its_request_loses_nothing(
    model_folder: Path, each: int, lost: int, left: list[int]
) -> None:
    with served(FLEET.format(model=model_folder, each=each), 3) as service:
        # Each tells it soon after it is ready.
        until(lambda: {r["chip"] for r in virtual(service)} == {"Ascend910B3"})
        expected = ask(service)
        found, moved = [], threading.Event()

        def keep_asking() -> None:
            while not moved.is_set():
                found.append(ask(service))

        clients = [threading.Thread(target=keep_asking) for _ in range(4)]
        for client in clients:
            client.start()
        until(lambda: virtual(service)[0]["running"])
        lose_chip(virtual(service)[0]["chips"][lost], service)
        until(lambda: virtual(service)[0]["chips"] == left)
        moved.set()
        for client in clients:
            client.join()
        assert all(answer == expected for answer in found)
        service.wait_ready(3)
        assert virtual(service)[1]["restarts"] == 0
        assert ", ".join(map(str, left)) in state_shown(service)
        assert service.status()["gateway"]["requests"]["failed"] == 0
        assert ask(service) == expected


@pytest.mark.slow
def test_a_replica_whose_chip_was_lost_before_it_began_begins_on_a_spare_one(
    model_folder: Path,
) -> None:
    with served(FLEET.format(model=model_folder, each=2), 3) as service:
        expected = ask(service)
        first = virtual(service)[0]
        service.act(first["name"], "stop")
        lose_chip(first["chips"][0], service)
        service.act(first["name"], "kill")
        until(lambda: virtual(service)[0]["chips"] == [4, 1])
        service.wait_ready(3)
        assert ask(service) == expected
