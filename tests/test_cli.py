"""The `cordee` command as a user meets it."""

import json
import subprocess
import sys

import pytest

from cordee import __version__
from cordee.cli import COMMANDS


def cordee(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "cordee", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_the_version_is_that_of_the_package() -> None:
    assert cordee("--version").stdout.strip() == f"cordee, version {__version__}"


def test_help_names_every_command_in_one_line() -> None:
    lines = cordee("--help").stdout.splitlines()
    for name in COMMANDS:
        assert any(line.split()[:1] == [name] and len(line.split()) > 2 for line in lines)


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_explains_itself(name: str) -> None:
    done = cordee(name, "--help")
    assert done.returncode == 0
    assert "Usage: cordee" in done.stdout


@pytest.mark.parametrize("wrong", [["nonsense"], ["doctor", "--nonsense"], ["run"]])
def test_a_wrong_request_ends_with_2_and_one_line(wrong: list[str]) -> None:
    done = cordee(*wrong)
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
    assert done.stderr.strip()


def test_a_chip_that_does_not_exist_is_a_wrong_request() -> None:
    done = cordee("run", "--chip", "Ascend999", "--", "true")
    assert done.returncode == 2
    assert done.stderr.startswith("error: Ascend999")


def test_the_doctor_finds_nothing_in_the_way_here() -> None:
    done = cordee("doctor")
    assert done.returncode == 0, done.stdout


def test_a_machine_reads_what_the_doctor_says() -> None:
    found = json.loads(cordee("doctor", "--json").stdout)
    assert {"subject", "state", "found", "advice"} == found[0].keys()
    assert {"torch", "torch_npu", "memory"} <= {row["subject"] for row in found}


def test_a_program_runs_with_its_own_exit_code() -> None:
    done = cordee("run", "--virtual", "--", sys.executable, "-c", "raise SystemExit(7)")
    assert done.returncode == 7


def test_the_chips_of_a_running_machine_are_seen_from_inside() -> None:
    inside = [sys.executable, "-m", "cordee", "chips", "--json"]
    done = cordee("run", "--virtual", "--chip", "Ascend910B4", "--chips", "5", "--", *inside)
    machines = json.loads(done.stdout)
    assert ("Ascend910B4", 5) in [(found["soc_name"], len(found["chips"])) for found in machines]


def test_watching_needs_a_terminal() -> None:
    done = cordee("chips", "--watch")
    assert (done.returncode, done.stderr.startswith("error: --watch")) == (2, True)
