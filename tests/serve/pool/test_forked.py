"""Engines are forked from a process that has imported what they need, and do not depend on it afterwards."""

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.serve.gateway.conftest import Service, serving
from tests.waiting import until


@pytest.fixture
def service(model_folder: Path) -> Iterator[Service]:
    with serving(model_folder) as service:
        service.wait_ready(2)
        yield service


def children(service: Service) -> dict[int, str]:
    """The service's own processes by their ids, and what each is called."""
    found = {}
    for task in Path(f"/proc/{service.process.pid}/task").iterdir():
        for pid in (task / "children").read_text().split():
            found[int(pid)] = Path(f"/proc/{pid}/comm").read_text().strip()
    return found


def pids(service: Service) -> set[int]:
    return {replica["pid"] for replica in service.replicas()}


def said(service: Service) -> str | None:
    client = service.client()
    answer = client.completions.create(model="small", prompt="import", max_tokens=9, temperature=0)
    return answer.choices[0].text


def gone(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] in "ZX"
    except OSError:
        return True


def test_engines_are_children_of_the_service(service: Service) -> None:
    named = children(service)
    engines = {pid for pid, name in named.items() if name == "cordee-engine"}
    assert engines == pids(service)
    assert len(named) == 3  # and the process that they were forked from


def test_engines_outlive_the_process_that_forked_them_and_another_one_forks_the_next(
    service: Service,
) -> None:
    before, expected = pids(service), said(service)
    (zygote,) = set(children(service)) - before
    os.kill(zygote, signal.SIGKILL)
    until(lambda: gone(zygote))
    assert pids(service) == before
    assert said(service) == expected
    killed = min(before)
    os.kill(killed, signal.SIGKILL)
    until(lambda: killed not in pids(service))
    service.wait_ready(2)
    assert "cordee-engine" in {children(service)[pid] for pid in pids(service) - before}
    assert said(service) == expected


def test_all_of_them_end_with_a_service_that_is_killed(service: Service) -> None:
    running = children(service)
    service.process.kill()
    until(lambda: all(gone(pid) for pid in running))


def test_a_killed_one_leaves_nothing_that_nobody_waits_for(service: Service) -> None:
    for pid in pids(service):
        os.kill(pid, signal.SIGKILL)
        until(lambda pid=pid: pid not in children(service))
    service.wait_ready(2)
