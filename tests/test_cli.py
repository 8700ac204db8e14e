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


def test_the_version_is_that_of_the_package_and_of_what_it_stands_on() -> None:
    told = cordee("--version").stdout.splitlines()
    assert told[0] == f"cordee {__version__}"
    assert "torch 2.13.0+cpu" in told
    assert "torch-npu 2.13.0" in told


def test_help_names_every_command_in_one_line() -> None:
    lines = cordee("--help").stdout.splitlines()
    for name in COMMANDS:
        assert any(line.split()[:1] == [name] and len(line.split()) > 2 for line in lines)


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_explains_itself(name: str) -> None:
    done = cordee(name, "--help")
    assert done.returncode == 0
    assert "Usage: cordee" in done.stdout


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ("nonsense", "cordee: no such command 'nonsense'; see cordee --help"),
        (
            "doctor --nonsense",
            "cordee doctor: no such option '--nonsense'; see cordee doctor --help",
        ),
        (
            "plan serve GPT-2",
            "cordee plan serve: missing option '--chip'; see cordee plan serve --help",
        ),
        ("run", "cordee run: missing argument 'COMMAND...'; see cordee run --help"),
    ],
)
def test_a_wrong_request_ends_with_2_and_one_line(wrong: str, said: str) -> None:
    done = cordee(*wrong.split())
    assert (done.returncode, done.stderr) == (2, f"error: {said}\n")


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


def machines_inside(*options: str) -> list[dict[str, object]]:
    """What `cordee chips` shows to a program that `cordee run` starts with these options."""
    inside = [sys.executable, "-m", "cordee", "chips", "--json"]
    done = cordee("run", "--virtual", *options, "--", *inside)
    assert done.returncode == 0, done.stderr
    return list(json.loads(done.stdout))


def test_chips_spread_over_nodes_and_are_linked_as_asked() -> None:
    found = machines_inside("--chips", "6", "--nodes", "2", "--topology", "atlas-900-a3-superpod")
    machine = next(one for one in found if len(one["chips"]) == 6)
    assert machine["soc_name"] == "Ascend910_9392"  # the topology has no other
    assert [chip["node"] for chip in machine["chips"]] == [0, 0, 0, 1, 1, 1]
    assert {"UB 0-switch", "UB-L2 node0-spine"} <= {link["name"] for link in machine["links"]}


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        (["--chips", "9", "--nodes", "2"], "9 chips do not divide over 2 nodes"),
        (["--topology", "ring"], "ring: no such topology"),
        (["--chip", "310P", "--topology", "atlas-800t-a2"], "atlas-800t-a2 is built with"),
        (["--chip", "310P", "--chips", "2", "--pace", "10"], "--pace 10"),
        (["--chips", "16", "--topology", "atlas-800t-a2"], "16 chips need 2 nodes"),
        (["--node", "1"], "--node 1: the machine has nodes 0 to 0"),
        (["--join", "/proc/1/fd/99"], "/proc/1/fd/99: no virtual machine there"),
        (["--join", "/proc/1/fd/99", "--chips", "2"], "--chips: --join takes a machine"),
    ],
)
def test_a_machine_that_cannot_be_is_a_request_to_mend(options, complaint) -> None:
    done = cordee("run", "--virtual", *options, "--", "true")
    assert done.returncode in (1, 2)
    assert done.stderr.startswith("error: ")
    assert complaint in done.stderr


def test_a_second_command_can_join_a_machine_on_one_of_its_nodes() -> None:
    second = (
        f"{sys.executable} -m cordee run --virtual --join $CORDEE_MACHINE --node 1 -- "
        "sh -c 'echo $CORDEE_MACHINE $CORDEE_NODE'"
    )
    done = cordee(
        *("run", "--virtual", "--chips", "4", "--nodes", "2", "--"),
        *("sh", "-c", f"echo $CORDEE_MACHINE 1; {second}"),
    )
    first, joined = done.stdout.splitlines()
    assert first == joined


def test_the_catalogue_lists_chips_and_topologies() -> None:
    shown = json.loads(cordee("chips", "--catalogue", "--json").stdout)
    assert {"Ascend910B3"} <= {chip["soc_name"] for chip in shown["chips"]}
    assert {"atlas-800t-a2"} <= {topology["name"] for topology in shown["topologies"]}
