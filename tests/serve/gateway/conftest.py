"""A service of `cordee serve` with two replicas, for tests that use and disturb it."""

import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx2 as httpx
import openai
import pytest
from tests.serve.callers import Callers
from tests.serve.processes import address_told, port_told, started
from tests.serve.replicas import Replica
from tests.waiting import until

FLEET = """
[gateway]
port = 0
{gateway}
[[pool]]
name = "small"
model = "{model}"
replicas = {replicas}
threads = 1
arguments = ["--canary", "--faults"]
{pool}
"""


class Service:
    """A running service."""

    def __init__(self, url: str, process: "subprocess.Popen[str]", key: str) -> None:
        self.url, self.process = url, process
        self.headers = {"Authorization": f"Bearer {key}"}
        self._callers = Callers(url)
        self._admin = httpx.Client(base_url=url, headers=self.headers)  # at hand: strikes are quick

    def __enter__(self) -> "Service":
        return self

    def __exit__(self, *_: object) -> None:
        self._admin.close()
        self._callers.close()

    def status(self) -> dict[str, Any]:
        return self._admin.get("/cordee/status").json()

    def replicas(self) -> list[dict[str, Any]]:
        return [replica for pool in self.status()["pools"] for replica in pool["replicas"]]

    def wait_ready(self, count: int, within_s: float = 60) -> None:
        until(lambda: sum(r["state"] == "ready" for r in self.replicas()) >= count, within_s)

    def act(self, replica: str, action: str) -> httpx.Response:
        return self._admin.post(f"/cordee/replicas/{replica}/{action}")

    def busy(self) -> str:
        """The name of the replica that answers now."""
        return max(self.replicas(), key=lambda replica: replica["running"])["name"]

    @contextmanager
    def open_page(self) -> Iterator[httpx.Response]:
        """Somebody follows what the page shows."""
        with self._admin.stream("GET", "/cordee/events") as feed:
            next(feed.iter_bytes())
            yield feed

    def client(self, key: str = "none", **options: object) -> openai.OpenAI:
        return self._callers.new(key, **options)


@contextmanager
def serving(
    model: Path, *, replicas: int = 2, gateway: str = "", pool: str = "", key: str = "none"
) -> Iterator[Service]:
    text = FLEET.format(model=model, replicas=replicas, gateway=gateway, pool=pool)
    with served(text, replicas, key) as service:
        yield service


@contextmanager
def served(text: str, replicas: int, key: str = "none", ready_s: float = 60) -> Iterator[Service]:
    """A service as a fleet file describes it."""
    with tempfile.TemporaryDirectory() as folder:
        fleet = Path(folder) / "fleet.toml"
        fleet.write_text(text)
        command = [sys.executable, "-m", "cordee", "serve", "--fleet", str(fleet)]
        with (
            started(command, {"PYTHONUNBUFFERED": "1"}) as process,
            Service(address_told(process), process, key) as service,
        ):
            service.wait_ready(replicas, ready_s)
            yield service


@contextmanager
def gateway(engines: list[Replica], **settings: object) -> Iterator[Service]:
    """A gateway over engines that run already."""
    with (
        over([engine.url for engine in engines], **settings) as (url, process),
        Service(url, process, "none") as service,
    ):
        service.wait_ready(len(engines))
        yield service


@contextmanager
def over(
    engines: Sequence[str], **settings: object
) -> "Iterator[tuple[str, subprocess.Popen[str]]]":
    """A gateway over engines by their addresses, which is killed in the end."""
    command = [sys.executable, str(Path(__file__).with_name("program.py")), *engines]
    with started(command, {"GATEWAY": json.dumps(settings)}) as process:
        try:
            yield f"http://127.0.0.1:{port_told(process)}", process
        finally:
            process.kill()


@pytest.fixture(scope="module")
def service(model_folder: Path) -> Iterator[Service]:
    with serving(model_folder) as running:
        yield running
