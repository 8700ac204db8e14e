"""Engines are started as jobs of a Ray cluster, found, and started again; a server plays the REST API of Ray.

The stand-in answers as Ray 2.60 does, and runs entrypoints as processes of this machine.
"""

import asyncio
import json
import os
import shlex
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from cordee.core.errors import CordeeError
from cordee.core.http.exchange import Exchange
from cordee.core.http.server import listen
from cordee.serve.cluster.ray import Engine, Ray, RayConfig
from cordee.serve.pool.config import PoolConfig, read_fleet
from cordee.serve.pool.local import LocalFleet


class Dashboard:
    """Runs jobs, and tells of them."""

    def __init__(self) -> None:
        self.asked: dict[str, dict[str, Any]] = {}
        self.processes: dict[str, subprocess.Popen[bytes]] = {}
        self.away = False

    def handle(self, exchange: Exchange) -> None:
        name = exchange.path.removeprefix("/api/jobs/")
        if self.away:
            exchange.send(503, b"the head is away")
        elif exchange.method == "POST":
            job = json.loads(exchange.body)
            name = job["submission_id"]
            if name in self.asked:
                exchange.send(500, f"Job with submission_id {name} already exists".encode())
                return
            self.asked[name] = job
            self.processes[name] = subprocess.Popen(
                shlex.split(job["entrypoint"]),
                env=os.environ | job["runtime_env"]["env_vars"],
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
            )
            exchange.send(200, json.dumps({"submission_id": name}).encode())
        elif exchange.method == "DELETE":
            del self.asked[name]
            exchange.send(200, b'{"deleted": true}')
        else:
            exchange.send(200, json.dumps([self.told(name) for name in self.asked]).encode())

    def told(self, name: str) -> dict[str, Any]:
        code = self.processes[name].poll()
        return {
            "type": "SUBMISSION",
            "submission_id": name,
            "status": "RUNNING" if code is None else "FAILED",
            "message": None if code is None else "Job entrypoint command failed: no such model",
            "start_time": list(self.asked).index(name),
            "metadata": self.asked[name]["metadata"],
            "driver_agent_http_address": "http://127.0.0.1:52365",
        }

    def close(self) -> None:
        for process in self.processes.values():
            process.kill()
            process.wait(10)


@asynccontextmanager
async def cluster() -> AsyncIterator[tuple[Dashboard, RayConfig]]:
    dashboard = Dashboard()
    listener = await listen(dashboard.handle, "127.0.0.1", 0)
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    address = f"http://127.0.0.1:{listener.port}"
    try:
        yield dashboard, RayConfig(address=address, port=port, python=sys.executable)
    finally:
        dashboard.close()
        await listener.close()


def pool(config: RayConfig, model: Path | str, **more: Any) -> PoolConfig:
    arguments = ("--threads", "1")
    return PoolConfig(name="npus", model=str(model), ray=config, arguments=arguments, **more)


def engine_of(name: str, model: str, device: str = "cpu", chips: int = 1) -> Engine:
    return Engine(
        name=name, model=model, called="m", device=device, chips=chips, arguments=(), count=1
    )


async def names(fleet: LocalFleet, count: int) -> list[str]:
    """Those that are ready, once there are so many."""
    async with asyncio.timeout(60):
        while len(found := [r.name for r in fleet.replicas() if r.state == "ready"]) != count:
            await asyncio.sleep(0.05)
    return sorted(found)


def test_engines_are_started_and_one_that_died_comes_back(
    model_folder: Path, tmp_path: Path
) -> None:
    async def main() -> None:
        async with cluster() as (dashboard, config):
            fleet = LocalFleet([pool(config, model_folder, replicas=2)], tmp_path)
            fleet.start()
            assert await names(fleet, 2) == ["npus-0-0", "npus-1-0"]
            assert fleet.pools()[0].model == "small"
            dashboard.processes["npus-0-0"].send_signal(signal.SIGKILL)
            async with asyncio.timeout(60):
                while await names(fleet, 2) != ["npus-0-1", "npus-1-0"]:
                    await asyncio.sleep(0.05)
            await fleet.stop()
            assert set(dashboard.asked) == {"npus-0-0", "npus-1-0", "npus-0-1"}

    asyncio.run(main())


def test_two_gateways_start_each_engine_once_and_find_the_same(
    model_folder: Path, tmp_path: Path
) -> None:
    async def main() -> None:
        async with cluster() as (dashboard, config):
            fleets = [LocalFleet([pool(config, model_folder)], tmp_path) for _ in range(2)]
            for fleet in fleets:
                fleet.start()
            assert [await names(fleet, 1) for fleet in fleets] == [["npus-0-0"], ["npus-0-0"]]
            for fleet in fleets:
                await fleet.stop()
            assert list(dashboard.asked) == ["npus-0-0"]

    asyncio.run(main())


def test_why_engines_do_not_start_is_told_and_they_are_not_tried_without_pause(
    tmp_path: Path,
) -> None:
    async def main() -> None:
        async with cluster() as (dashboard, config):
            ray = Ray(config, engine_of("p", str(tmp_path)))
            async with asyncio.timeout(60):
                while not ray.trouble:
                    assert not any(found.ready for found in await ray.engines())
                    await asyncio.sleep(0.02)
            assert ray.trouble.startswith("p-0-0: Job entrypoint command failed")
            assert list(dashboard.asked) == ["p-0-0"]

    asyncio.run(main())


def test_a_dashboard_that_is_away_is_named(tmp_path: Path) -> None:
    async def main() -> None:
        async with cluster() as (dashboard, config):
            dashboard.away = True
            with pytest.raises(CordeeError, match="answered 503: the head is away"):
                await Ray(config, engine_of("p", "m")).engines()

    asyncio.run(main())


@pytest.mark.parametrize(
    ("device", "given", "resources"),
    [
        ("ascend", None, {"entrypoint_num_gpus": 0, "entrypoint_resources": {"NPU": 2}}),
        ("cuda", None, {"entrypoint_num_gpus": 2}),
        ("cpu", {"CPU": 4, "x": 1}, {"entrypoint_num_cpus": 4, "entrypoint_resources": {"x": 1}}),
    ],
)
def test_engines_are_given_the_chips_of_a_replica(
    device: str, given: dict[str, float] | None, resources: dict[str, object]
) -> None:
    async def main() -> None:
        async with cluster() as (dashboard, config):
            plain = RayConfig(
                address=config.address, port=config.port, python="true", resources=given
            )
            await Ray(plain, engine_of("p", "m", device, 2)).engines()
            job = dashboard.asked["p-0-0"]
            assert {key: job[key] for key in resources} == resources
            assert ("--tensor-parallel 2" in job["entrypoint"]) is (device != "cpu")

    asyncio.run(main())


def test_a_fleet_file_has_all_of_it(tmp_path: Path) -> None:
    file = tmp_path / "fleet.toml"
    file.write_text(
        '[[pool]]\nname = "a"\nmodel = "/models/small"\nreplicas = 4\ndevice = "ascend"\n'
        '[pool.ray]\naddress = "http://head:8265"\nport = 9000\nresources = {NPU = 2}\n'
        'environment = {PATH = "/bin"}\ntoken_file = "token"\n'
    )
    found = read_fleet(file).pools[0]
    assert found.ray is not None
    assert (found.called, found.model) == ("small", "/models/small")
    assert (found.ray.resources, found.ray.token_file) == ({"NPU": 2}, tmp_path / "token")
