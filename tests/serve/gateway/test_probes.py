"""A replica that reckons otherwise than the rest is found by asking all of them the same."""

from pathlib import Path

import httpx2 as httpx
import pytest
from tests.serve.gateway.conftest import Service, gateway, served
from tests.serve.replicas import replica

FLEET = """
[gateway]
port = 0
probe_s = 0.2
[[pool]]
name = "small"
model = "{model}"
replicas = {replicas}
threads = 1
arguments = ["--no-canary", "--faults"]
"""
BODY = {"prompt": "import", "max_tokens": 30, "temperature": 0, "seed": 1, "return_token_ids": True}


def ask(service: Service) -> list[int]:
    reply = httpx.post(f"{service.url}/v1/completions", json=BODY, timeout=60)
    assert reply.status_code == 200, reply.text
    return reply.json()["choices"][0]["token_ids"]


def compared(service: Service, times: int) -> None:
    """Wait until replicas were compared so many times more."""
    until = service.status()["gateway"]["probes"] + times
    while service.status()["gateway"]["probes"] < until:
        pass


@pytest.mark.parametrize("replicas", [1, 3], ids=["its former answer", "the majority"])
def test_a_replica_that_reckons_wrongly_is_started_anew(model_folder: Path, replicas: int) -> None:
    text = FLEET.format(model=model_folder, replicas=replicas)
    with served(text, replicas) as service:
        expected = ask(service)
        compared(service, 3)
        assert [r["disagreements"] for r in service.replicas()] == [0] * replicas
        assert service.act("small-0", "corrupt").status_code == 200
        while service.replicas()[0]["restarts"] == 0:
            pass
        service.wait_ready(replicas)
        assert [r["restarts"] for r in service.replicas()] == [1] + [0] * (replicas - 1)
        failures = [e for e in service.status()["events"] if e["kind"] == "failover"]
        assert failures[0]["replica"] == "small-0"
        assert "reckons otherwise" in failures[0]["text"]
        compared(service, 2)
        assert all(ask(service) == expected for _ in range(3))
        metrics = httpx.get(f"{service.url}/metrics").text
        assert 'disagreements_total{pool="small",replica="small-0"} 1.0' in metrics


def test_one_that_runs_elsewhere_gets_no_requests_while_it_is_wrong() -> None:
    def mock(*arguments: str) -> object:
        return replica(Path(), "--tokens-per-s", "200", *arguments, module="cordee.serve.mock")

    with (
        mock() as one,
        mock("--wrong-after", "3") as wrong,
        mock() as two,
        gateway([one, wrong, two], probe_s=0.2) as service,
    ):
        while service.replicas()[1]["state"] != "suspect":
            pass
        compared(service, 3)
        assert [r["state"] for r in service.replicas()] == ["ready", "suspect", "ready"]
        answers = [ask(service) for _ in range(6)]
        assert answers == answers[:1] * 6
        assert service.replicas()[1]["disagreements"] == 1
        assert service.replicas()[1]["tokens_per_s"] == 0
