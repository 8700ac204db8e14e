"""A pool has as many replicas as its load asks for, and whoever else starts engines is told the number."""

import asyncio
import json
import sys
import threading
from pathlib import Path
from typing import Any

import httpx2 as httpx
from tests.serve.gateway.conftest import Service, served, serving
from tests.serve.replicas import replica
from tests.waiting import until

from cordee.core.http.exchange import Exchange
from cordee.core.http.server import listen

SCALING = "[pool.scaling]\nmin = 1\nmax = 3\nrequests = 2\ngrow_s = 0\nshrink_s = 1"


def ask(service: Service, number: int) -> list[int]:
    body = {"prompt": f"Part {number}", "max_tokens": 700, "ignore_eos": True, "seed": number}
    reply = httpx.post(
        f"{service.url}/v1/completions", json=body | {"return_token_ids": True}, timeout=120
    )
    assert reply.status_code == 200, reply.text
    return reply.json()["choices"][0]["token_ids"]


def wanted(service: Service) -> int:
    return service.status()["pools"][0]["wanted"]


class Clients:
    """Those who ask again and again until the block ends; then all have had their answers."""

    def __init__(self, service: Service, count: int) -> None:
        self._ended = threading.Event()
        self._threads = [
            threading.Thread(target=self._ask, args=(service, n)) for n in range(count)
        ]
        self.answers: dict[int, list[list[int]]] = {n: [] for n in range(count)}

    def __enter__(self) -> "Clients":
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        for thread in self._threads:
            thread.join()

    def _ask(self, service: Service, number: int) -> None:
        while not self._ended.is_set():
            self.answers[number].append(ask(service, number))


def test_a_pool_grows_with_its_load_and_shrinks_after_it_and_loses_no_request(
    model_folder: Path,
) -> None:
    with serving(model_folder, replicas=1, pool=SCALING) as service:
        with Clients(service, 6) as many:
            service.wait_ready(3)
            metrics = httpx.get(f"{service.url}/metrics").text
            assert 'cordee_wanted_replicas{pool="small"} 3.0' in metrics
        with Clients(service, 1) as one:  # who is answered by one that is asked to end, too
            while [r["state"] for r in service.replicas()] != ["ready"]:
                pass
        told = service.status()
        assert told["gateway"]["requests"]["failed"] == 0
        for answers in (*many.answers.values(), *one.answers.values()):
            assert all(answer == answers[0] for answer in answers)
        assert one.answers[0][0] == many.answers[0][0]
        grown = [event["text"] for event in told["events"] if event["kind"] == "scale"]
        assert "to 3 replicas" in "".join(grown)
        assert "to 1 replicas: no more were needed for 1 s" in grown[-1]


def test_a_command_is_told_where_somebody_else_runs_the_engines(
    model_folder: Path, tmp_path: Path
) -> None:
    script = f"import os, sys; open({str(tmp_path / 'told')!r}, 'a').write(os.environ['CORDEE_POOL'] + sys.argv[1])"
    command = json.dumps([sys.executable, "-c", script])
    with replica(model_folder, "--threads", "1") as engine:
        pool = f'name = "far"\nmodel = "small"\nurls = ["{engine.url}"]\n'
        fleet = f"[gateway]\nport = 0\n[[pool]]\n{pool}{SCALING}\ncommand = {command}"
        with served(fleet, 1) as service, Clients(service, 6):
            file = tmp_path / "told"  # one number after another, as the clients come
            until(lambda: file.exists() and file.read_text().endswith("far3"))
            assert wanted(service) == 3
            assert len(service.replicas()) == 1


def test_a_command_that_fails_is_told_of_and_run_again(model_folder: Path) -> None:
    with replica(model_folder, "--threads", "1") as engine:
        pool = f'name = "far"\nmodel = "small"\nurls = ["{engine.url}"]\n'
        fleet = f'[gateway]\nport = 0\n[[pool]]\n{pool}{SCALING}\ncommand = ["false"]'
        with served(fleet, 1) as service, Clients(service, 6):
            while not any(e["kind"] == "scale-failed" for e in service.status()["events"]):
                pass
            failed = [e for e in service.status()["events"] if e["kind"] == "scale-failed"]
            assert "exit code 1" in failed[0]["text"]


def test_a_url_gets_the_number_as_json(model_folder: Path) -> None:
    told: list[Any] = []

    def hear(exchange: Exchange) -> None:
        told.append((exchange.method, exchange.path, json.loads(exchange.body)))
        exchange.send(200, b"{}")

    def service_until_told(port: int) -> None:
        scaling = f'{SCALING}\nurl = "http://127.0.0.1:{port}/scale"'
        with (
            serving(model_folder, replicas=1, pool=scaling) as service,
            Clients(service, 6),
        ):
            while not told or told[-1][2]["wanted"] != 3:
                pass
            assert len(service.replicas()) == 1

    async def main() -> None:
        listener = await listen(hear, "127.0.0.1", 0)
        await asyncio.to_thread(service_until_told, listener.port)
        await listener.close()

    asyncio.run(main())
    assert told[-1] == ("POST", "/scale", {"pool": "small", "wanted": 3})
