"""A service of `cordee serve` with two replicas, for tests that use and disturb it."""

import json
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx2 as httpx
import openai
import pytest
from tests.serve.replicas import Replica

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
        self._admin = httpx.Client(base_url=url, headers=self.headers)  # at hand: strikes are quick

    def __enter__(self) -> "Service":
        return self

    def __exit__(self, *_: object) -> None:
        self._admin.close()

    def status(self) -> dict[str, Any]:
        return self._admin.get("/cordee/status").json()

    def replicas(self) -> list[dict[str, Any]]:
        return [replica for pool in self.status()["pools"] for replica in pool["replicas"]]

    def wait_ready(self, count: int, within_s: float = 60) -> None:
        end = time.monotonic() + within_s
        while sum(replica["state"] == "ready" for replica in self.replicas()) < count:
            assert time.monotonic() < end, self.replicas()
            time.sleep(0.05)

    def act(self, replica: str, action: str) -> httpx.Response:
        return self._admin.post(f"/cordee/replicas/{replica}/{action}")

    def busy(self) -> str:
        """The name of the replica that answers now."""
        return max(self.replicas(), key=lambda replica: replica["running"])["name"]

    def client(self, **options: object) -> openai.OpenAI:
        return openai.OpenAI(base_url=f"{self.url}/v1", api_key="none", max_retries=0, **options)  # type: ignore[arg-type]


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
        process = subprocess.Popen(
            [sys.executable, "-m", "cordee", "serve", "--fleet", str(fleet)],
            stdout=subprocess.PIPE,
            text=True,
            env=os.environ | {"PYTHONUNBUFFERED": "1"},
        )
        try:
            assert process.stdout is not None
            found = None
            while found is None:
                line = process.stdout.readline()
                assert line, f"the service ended with {process.wait(10)}"
                found = re.search(r"listening on (\S+)/v1", line)
            with Service(found[1], process, key) as service:
                service.wait_ready(replicas, ready_s)
                yield service
        finally:
            process.terminate()
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait(10)
            process.stdout.close()  # type: ignore[union-attr]


@contextmanager
def gateway(engines: list[Replica], **settings: object) -> Iterator[Service]:
    """A gateway over engines that run already."""
    process = subprocess.Popen(
        [sys.executable, str(Path(__file__).with_name("program.py")), *(e.url for e in engines)],
        stdout=subprocess.PIPE,
        text=True,
        env=os.environ | {"GATEWAY": json.dumps(settings)},
    )
    try:
        assert process.stdout is not None
        port = json.loads(process.stdout.readline())["ready"]["port"]
        with Service(f"http://127.0.0.1:{port}", process, "none") as service:
            service.wait_ready(len(engines))
            yield service
    finally:
        process.kill()
        process.wait(20)
        process.stdout.close()  # type: ignore[union-attr]


@pytest.fixture(scope="module")
def service(model_folder: Path) -> Iterator[Service]:
    with serving(model_folder) as running:
        yield running
