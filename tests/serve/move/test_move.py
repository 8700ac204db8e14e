"""Is live traffic moved to virtual Ascend chips without a failed request, and back where they are wrong?"""

import json
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx2 as httpx
import pytest
from tests.browser import hindrances, opened, width_at
from tests.serve.gateway.conftest import Service
from tests.serve.processes import address_told, started

FLEET = """
[gateway]
port = 0
[[pool]]
name = "nvidia"
model = "{model}"
replicas = 1
threads = 1
[[pool]]
name = "ascend"
model = "{model}"
device = "ascend"
replicas = 1
threads = 1
role = "shadow"
arguments = ["--weights", "float16", "--faults", "--no-canary"]
"""
# A virtual chip is far slower than what it stands for: only answers and errors are judged.
QUICK = (
    *("--samples", "12", "--shares", "0.5,1"),
    *("--ttft-factor", "1e9", "--tpot-factor", "1e9"),
)


@contextmanager
def two_pools(model: Path, folder: Path) -> Iterator[Service]:
    """A pool that stands for NVIDIA, on the CPU, and one of a virtual Ascend chip."""
    (folder / "fleet.toml").write_text(FLEET.format(model=model))
    command = [
        *(sys.executable, "-m", "cordee", "run", "--chip", "Ascend910B3", "--"),
        *(sys.executable, "-m", "cordee", "serve", "--fleet", str(folder / "fleet.toml")),
    ]
    with (
        started(command, {"XDG_STATE_HOME": str(folder)}) as process,
        Service(address_told(process), process, "none") as service,
    ):
        service.wait_ready(2)
        yield service


class Traffic:
    """Clients that ask all the time, and what they got."""

    def __init__(self, service: Service, clients: int = 3) -> None:
        self._service = service
        self._ended = threading.Event()
        self.codes: list[int] = []
        self._threads = [threading.Thread(target=self._ask, args=(n,)) for n in range(clients)]

    def __enter__(self) -> "Traffic":
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        for thread in self._threads:
            thread.join()

    def _ask(self, client: int) -> None:
        number = 0
        while not self._ended.is_set():
            number += 1
            body = {
                "messages": [{"role": "user", "content": f"question {client} {number}"}],
                "max_tokens": 12,
                "temperature": 0 if number % 2 else 0.7,
                "seed": number,
            }
            url = f"{self._service.url}/v1/chat/completions"
            self.codes.append(httpx.post(url, json=body, timeout=60).status_code)


def move(service: Service, *options: str) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-m", "cordee", "serve", "move", "--url", service.url, *options]
    return subprocess.run(command, capture_output=True, text=True, timeout=240, check=False)


def roles(service: Service) -> dict[str, str]:
    return {pool["name"]: pool["role"] for pool in service.status()["pools"]}


def test_traffic_moves_to_ascend_step_by_step_without_a_failed_request(
    model_folder: Path, tmp_path: Path
) -> None:
    report = tmp_path / "move.html"
    with two_pools(model_folder, tmp_path) as service, Traffic(service) as traffic:
        moved = move(service, "--from", "nvidia", "--to", "ascend", *QUICK, "--report", str(report))
        assert moved.returncode == 0, moved.stdout + moved.stderr
        assert roles(service) == {"nvidia": "standby", "ascend": "primary"}
        before = len(traffic.codes)
        while len(traffic.codes) < before + 10:
            pass
        state = service.status()
    assert set(traffic.codes) == {200}
    assert state["gateway"]["requests"]["failed"] == 0
    assert state["move"]["agreed"] >= 0.95 * state["move"]["compared"] > 0
    phases = [line.split("%")[0] for line in moved.stdout.splitlines() if "answers agree" in line]
    assert phases == ["shadow 0", "canary 50", "canary 100", "primary 100", "done 100"] or (
        phases[0] == "shadow 0" and phases[-1] == "done 100"
    )
    with opened(report) as browser:
        assert not hindrances(browser)
        assert "all traffic is on ascend" in browser.find_element("tag name", "h1").text
        assert width_at(browser, 400) <= 400


def test_a_wrong_operator_is_found_before_any_client_sees_it(
    model_folder: Path, tmp_path: Path
) -> None:
    with two_pools(model_folder, tmp_path) as service, Traffic(service) as traffic:
        assert service.act("ascend-0", "corrupt").status_code == 200
        moved = move(service, "--from", "nvidia", "--to", "ascend", *QUICK)
        assert moved.returncode == 1, moved.stdout + moved.stderr
        assert "broken: agreement" in moved.stdout
        assert roles(service) == {"nvidia": "primary", "ascend": "shadow"}
        assert service.status()["move"]["steps"][-1]["step"]["phase"] == "shadow"
        found = re.search(r"differences are kept in (\S+)", moved.stdout)
        assert found
        kept = [json.loads(line) for line in Path(found[1]).read_text().splitlines()]
        assert any(entry["agrees"] is False and entry["asked"] for entry in kept)
    assert set(traffic.codes) == {200}


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--from", "nvidia", "--to", "nowhere"), "there is no pool nowhere"),
        (("--from", "nvidia", "--to", "nvidia"), "two pools"),
        (("--from", "nvidia", "--to", "ascend", "--shares", "2"), "at most 1"),
        (("--from", "nvidia", "--to", "ascend", "--shares", "x"), "no list of numbers"),
    ],
)
def test_what_is_wrong_with_a_move_is_said(
    some_service: Service, options: tuple[str, ...], words: str
) -> None:
    ended = move(some_service, *options)
    assert ended.returncode == 2
    assert words in ended.stderr


@pytest.fixture(scope="module")
def some_service(model_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    with two_pools(model_folder, tmp_path_factory.mktemp("moves")) as service:
        yield service
