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


@pytest.mark.slow
def test_a_replica_moves_to_a_spare_chip_and_its_request_loses_nothing(model_folder: Path) -> None:
    with served(FLEET.format(model=model_folder), 3) as service:
        assert [r["chips"] for r in virtual(service)] == [[0], [1]]
        # Each tells it soon after it is ready.
        until(lambda: {r["chip"] for r in virtual(service)} == {"Ascend910B3"})
        expected = ask(service)
        found: list[list[int]] = []
        client = threading.Thread(target=lambda: found.append(ask(service)))
        client.start()
        while not any(one["running"] for one in virtual(service)):
            pass
        busy = max(virtual(service), key=lambda one: one["running"])
        lose_chip(busy["chips"][0], service)
        client.join()
        assert found == [expected]
        service.wait_ready(3)
        now = {one["name"]: one["chips"] for one in virtual(service)}
        assert now[busy["name"]] == [2]
        assert service.status()["gateway"]["requests"]["failed"] == 0
        assert ask(service) == expected
