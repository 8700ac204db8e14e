"""`cordee serve status`, `restart` and `scale` as a user types them, and where replicas leave their words."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from tests.serve.gateway.conftest import Service, serving
from tests.waiting import until


def cordee(*arguments: object) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-m", "cordee", "serve", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)


@pytest.fixture(scope="module")
def service(model_folder: Path):  # type: ignore[no-untyped-def]
    with serving(model_folder) as running:
        yield running


def test_a_pool_is_restarted_one_replica_after_another(service: Service) -> None:
    before = {one["name"]: one["pid"] for one in service.replicas()}
    done = cordee("restart", "small", "--url", service.url)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines() == ["small-0 is ready again", "small-1 is ready again"]
    after = {one["name"]: one["pid"] for one in service.replicas()}
    assert all(after[name] != pid for name, pid in before.items())


def test_a_pool_that_is_not_there_is_answered_with_those_that_are(service: Service) -> None:
    done = cordee("restart", "large", "--url", service.url)
    assert done.returncode == 2
    assert (
        done.stderr
        == f"error: {service.url} answered 404: there is no pool large; there are small\n"
    )


def test_a_pool_grows_and_shrinks_while_it_serves(service: Service) -> None:
    done = cordee("scale", "small", 3, "--url", service.url)
    assert (done.returncode, done.stderr) == (0, "")
    service.wait_ready(3)
    assert [one["name"] for one in service.replicas()] == ["small-0", "small-1", "small-2"]
    assert cordee("scale", "small", 2, "--url", service.url).returncode == 0
    until(lambda: len(service.replicas()) == 2)
    wrong = cordee("scale", "small", 5000, "--url", service.url)
    assert wrong.returncode == 2
    assert "replicas: must be from 1 to 1024" in wrong.stderr


def test_the_state_is_shown_as_a_table_and_as_json(service: Service) -> None:
    shown = cordee("status", "--url", service.url)
    assert shown.returncode == 0
    assert f"small-0  ready  {service.replicas()[0]['pid']}" in shown.stdout
    assert "requests under way" in shown.stdout
    state = json.loads(cordee("status", "--json", "--url", service.url).stdout)
    assert [one["name"] for one in state["pools"][0]["replicas"]] == ["small-0", "small-1"]


@pytest.mark.parametrize("command", [("status",), ("restart", "small")])
def test_where_no_service_is_that_is_said(command: tuple[str, ...]) -> None:
    done = cordee(*command, "--url", "http://127.0.0.1:9")
    assert done.returncode == 2
    assert done.stderr.startswith("error: http://127.0.0.1:9: no service of cordee answers there")


def test_an_option_that_belongs_into_the_fleet_file_is_refused(tmp_path: Path) -> None:
    done = cordee("--fleet", tmp_path / "fleet.toml", "--replicas", 2)
    assert done.returncode == 2
    assert "--replicas goes with a model folder" in done.stderr


def run_and_kill(model: Path, *arguments: str, kill: bool) -> str:
    """What a service says whose replica is killed, or not, before it is ended."""
    command = [
        *(sys.executable, "-m", "cordee", "serve", str(model), "--device", "cpu"),
        *("--port", "0", "--threads", "1", *arguments),
    ]
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, text=True, env=os.environ | {"PYTHONUNBUFFERED": "1"}
    )
    assert process.stdout is not None
    told = []
    while not told or "listening on" not in told[-1]:
        told.append(process.stdout.readline())
    url = told[-1].split()[-1].removesuffix("/v1")
    if kill:
        state = json.loads(cordee("status", "--json", "--url", url).stdout)
        os.kill(state["pools"][0]["replicas"][0]["pid"], signal.SIGKILL)
        while "was ended by SIGKILL" not in told[-1]:
            told.append(process.stdout.readline())
    process.terminate()
    rest, _ = process.communicate(timeout=30)
    return "".join(told) + rest


def test_what_replicas_wrote_is_kept_where_one_died(model_folder: Path) -> None:
    said = run_and_kill(model_folder, kill=True)
    folder = Path(said.rpartition("what the replicas wrote is in ")[2].strip())
    assert (folder / "cpu-0.log").exists()
    for file in folder.iterdir():
        file.unlink()
    folder.rmdir()
    assert "what the replicas wrote" not in run_and_kill(model_folder, kill=False)


def test_logs_go_where_the_user_wants_them(model_folder: Path, tmp_path: Path) -> None:
    run_and_kill(model_folder, "--logs", str(tmp_path / "logs"), kill=False)
    assert (tmp_path / "logs" / "cpu-0.log").exists()


def test_the_last_lines_of_a_replica_that_crashes_are_shown(
    model_folder: Path, tmp_path: Path
) -> None:
    # Python runs this before everything else; it ends engines, and what would fork them, before they can say anything in good order.
    (tmp_path / "sitecustomize.py").write_text(
        "import os, sys\n"
        "if {'cordee.serve.replica', 'cordee.serve.pool.zygote'} & {*sys.orig_argv}:\n"
        "    print('RuntimeError: it is broken', file=sys.stderr, flush=True)\n"
        "    os._exit(1)\n"
    )
    path = os.pathsep.join([str(tmp_path), *os.environ.get("PYTHONPATH", "").split(os.pathsep)])
    done = subprocess.run(
        [
            *(sys.executable, "-m", "cordee", "serve", str(model_folder)),
            *("--device", "cpu", "--port", "0", "--logs", str(tmp_path)),
        ],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        env=os.environ | {"PYTHONPATH": path},
    )
    first, *rest = done.stderr.splitlines()
    assert done.returncode == 2
    assert first == f"error: cpu-0: ended before it was ready; {tmp_path / 'cpu-0.log'}"
    assert rest[-1] == "    RuntimeError: it is broken"
