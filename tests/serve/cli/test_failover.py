"""`cordee serve MODEL --replicas 2`: a replica is killed in mid-answer, and the answer goes on."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx2 as httpx
import openai
from tests.serve.processes import address_told, started
from tests.waiting import has_ended, until

OPTIONS = ["--replicas", "2", "--device", "cpu", "--port", "0", "--threads", "1"]


@contextmanager
def serving(model: Path) -> "Iterator[tuple[str, subprocess.Popen[str]]]":
    command = [sys.executable, "-m", "cordee", "serve", str(model), *OPTIONS]
    with started(command, {"OMP_NUM_THREADS": "1"}) as process:
        yield address_told(process), process


def replicas(url: str) -> list[dict[str, Any]]:
    state = httpx.get(f"{url}/cordee/status").json()
    return [replica for pool in state["pools"] for replica in pool["replicas"]]


def ready(url: str) -> list[dict[str, Any]]:
    until(lambda: all(replica["state"] == "ready" for replica in replicas(url)))
    return replicas(url)


def answer(url: str, *, kill: bool) -> str:
    said = []
    with openai.OpenAI(base_url=f"{url}/v1", api_key="none", max_retries=0) as client:
        stream = client.completions.create(
            model="small",
            prompt="def main():",
            max_tokens=200,
            temperature=1.0,
            seed=7,
            stream=True,
        )
        for number, event in enumerate(stream):
            said.append(event.choices[0].text)
            if kill and number == 5:
                busy = max(replicas(url), key=lambda replica: replica["running"])
                os.kill(busy["pid"], signal.SIGKILL)
    return "".join(said)


def test_an_answer_outlives_its_replica_and_all_processes_end_with_the_service(
    model_folder: Path,
) -> None:
    with serving(model_folder) as (url, process):
        ready(url)
        undisturbed = answer(url, kill=False)
        assert answer(url, kill=True) == undisturbed
        pids = [replica["pid"] for replica in ready(url)]
        assert sum(replica["restarts"] for replica in replicas(url)) == 1
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 0
    assert not any(Path(f"/proc/{pid}").exists() for pid in pids)


def test_replicas_end_with_a_service_that_is_killed(model_folder: Path) -> None:
    with serving(model_folder) as (url, process):
        pids = [replica["pid"] for replica in ready(url)]
        process.kill()
        process.wait(20)
        until(lambda: all(has_ended(pid) for pid in pids))
