"""Does the log say of each request where it ran and what became of it, and nothing of what was said?"""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2 as httpx
import pytest
from tests.serve.gateway.conftest import Service, serving

SECRET = "the-secret-of-the-heron"
BODY = {
    "messages": [{"role": "user", "content": SECRET}],
    "max_tokens": 400,
    "ignore_eos": True,
    "stream": True,
    "temperature": 0,
}


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("log") / "cordee.jsonl"


@pytest.fixture(scope="module")
def logged(model_folder: Path, file: Path) -> Iterator[Service]:
    with serving(model_folder, gateway=f'log = "{file}"') as running:
        yield running


def lines(file: Path, event: str) -> list[dict[str, Any]]:
    written = file.read_text() if file.exists() else ""
    every = [json.loads(line) for line in written.splitlines()]
    return [line for line in every if line["kind"] == event]


def request(file: Path, request_id: str) -> dict[str, Any]:
    """The line of a request that is over; its client may know that before it is written, or the file is there."""
    while True:
        for line in lines(file, "request"):
            if line["id"] == request_id:
                return line


def struck(service: Service) -> str:
    """Ask, and kill the replica that answers. A quick one may have said all before it is killed: then ask again."""
    for _ in range(8):
        before = service.status()["gateway"]["failovers"]
        name = asked(service, BODY, kill_after=30)
        if service.status()["gateway"]["failovers"] > before:
            return name
        service.wait_ready(2)
    raise AssertionError("each answer was whole before its replica was killed")


def asked(service: Service, body: dict[str, object], kill_after: int = 0) -> str:
    """Ask, and kill the replica that answers after some tokens; gives the request's name."""
    url = f"{service.url}/v1/chat/completions"
    with httpx.stream("POST", url, json=body, timeout=60) as reply:
        told = 0
        for line in reply.iter_lines():
            told += line.startswith("data: {")
            if told == kill_after > 0:
                kill_after = 0
                assert service.act(service.busy(), "kill").status_code == 200
        return str(reply.headers["x-request-id"])


def test_a_request_is_one_line(logged: Service, file: Path) -> None:
    line = request(file, asked(logged, BODY))
    assert (line["outcome"], line["tokens_out"], line["failovers"]) == ("ok", 400, 0)
    assert line["tokens_in"] > 5
    assert 0 < line["ttft_s"] < line["duration_s"]
    assert len(line["replicas"]) == 1
    assert (line["model"], line["pool"]) == ("small", "small")


def test_a_failover_names_both_replicas_and_what_befell_the_first(
    logged: Service, file: Path
) -> None:
    line = request(file, struck(logged))
    assert (line["outcome"], line["tokens_out"], line["failovers"]) == ("ok", 400, 1)
    first, second = line["replicas"]
    assert first != second
    assert line["broke"][0]["replica"] == first
    assert lines(file, "failover")[-1]["replica"] == first
    assert lines(file, "kill")[-1]["text"] == "asked for from 127.0.0.1"
    logged.wait_ready(2)


def test_one_whose_client_went_away_and_one_that_is_refused(logged: Service, file: Path) -> None:
    url = f"{logged.url}/v1/chat/completions"
    with httpx.stream("POST", url, json=BODY, timeout=60) as reply:
        next(reply.iter_lines())
        name = reply.headers["x-request-id"]
    assert request(file, name)["outcome"] == "gone"
    assert httpx.post(url, json=BODY | {"model": "none"}).status_code == 404
    assert lines(file, "request-refused")[-1]["code"] == "model_not_found"


def test_nothing_of_what_was_said_is_in_it(logged: Service, file: Path) -> None:
    asked(logged, BODY)
    bad = BODY | {"temperature": 999}
    assert httpx.post(f"{logged.url}/v1/chat/completions", json=bad).status_code == 400
    assert SECRET not in file.read_text()


def test_a_file_that_was_moved_away_is_begun_anew(logged: Service, file: Path) -> None:
    file.rename(file.with_suffix(".old"))
    assert request(file, asked(logged, BODY))["outcome"] == "ok"


def test_the_log_of_a_whole_service_begins_and_ends_with_it(
    model_folder: Path, tmp_path: Path
) -> None:
    file = tmp_path / "log.jsonl"
    with (
        serving(model_folder, replicas=1, gateway=f'log = "{file}"') as service,
        service.open_page(),
    ):
        service.process.terminate()
        assert service.process.wait(60) == 0  # a page that is open does not hold it up
    told = [json.loads(line)["kind"] for line in file.read_text().splitlines()]
    assert told == ["replica-ready", "gateway-start", "gateway-drain", "gateway-end"]


def test_standard_output_is_for_machines_where_the_log_goes_there(model_folder: Path) -> None:
    command = [
        *(sys.executable, "-m", "cordee", "serve", str(model_folder), "--device", "cpu"),
        *("--port", "0", "--log", "-", "--threads", "1"),
    ]
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=dict(os.environ)
    )
    assert process.stdout is not None
    first = [json.loads(process.stdout.readline())["kind"] for _ in range(2)]
    process.terminate()
    rest, words = process.communicate(timeout=30)
    told = first + [json.loads(line)["kind"] for line in rest.splitlines()]
    assert told == ["replica-ready", "gateway-start", "gateway-drain", "gateway-end"]
    assert "listening on http://127.0.0.1" in words


def test_a_log_that_cannot_be_written_is_said_at_the_start(model_folder: Path) -> None:
    command = [sys.executable, "-m", "cordee", "serve", str(model_folder), "--device", "cpu"]
    done = subprocess.run(
        [*command, "--port", "0", "--log", "/none/log"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert done.stderr.startswith("error: /none/log: cannot be written: No such file")
