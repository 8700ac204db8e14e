"""Where do the hosts of a job meet, as options, a file of hosts or SLURM say it?"""

from pathlib import Path

import pytest

from cordee.core.errors import UsageError
from cordee.train.hosts import (
    HostOptions,
    forget_secret,
    meeting_of,
    node_list,
    secret_of,
    slurm,
    with_port,
)


def options(**given: object) -> HostOptions:
    usual: dict[str, object] = {
        "nnodes": "",
        "node_rank": -1,
        "rdzv_endpoint": "",
        "rdzv_id": "",
        "hosts": None,
        "slurm": False,
        "secret": None,
        "address": "",
    }
    return usual | given  # type: ignore[return-value]


SECRET = {"CORDEE_TRAIN_SECRET": "known"}
STEP = {
    "SLURM_JOB_ID": "4321",
    "SLURM_STEP_ID": "2",
    "SLURM_NODEID": "1",
    "SLURM_STEP_NODELIST": "gpu[08-10]",
}


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("host", ["host"]),
        ("a,b-1", ["a", "b-1"]),
        ("n[1-3]", ["n1", "n2", "n3"]),
        ("n[08-10,3]x,m[1]", ["n08x", "n09x", "n10x", "n3x", "m1"]),
        ("r[1-2]n[1-2]", ["r1n1", "r1n2", "r2n1", "r2n2"]),
    ],
)
def test_a_list_of_hosts_is_read_as_slurm_writes_it(text: str, names: list[str]) -> None:
    assert node_list(text) == names


@pytest.mark.parametrize("text", ["", "n[1-", "n[a-b]"])
def test_what_is_no_list_of_hosts_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="no list of hosts"):
        node_list(text)


def test_a_step_of_slurm_says_where_and_who() -> None:
    meeting = slurm(STEP)
    assert meeting.endpoints == ("gpu08:24321", "gpu09:24321", "gpu10:24321")
    assert (meeting.rank, meeting.least, meeting.most, meeting.job) == (1, 3, 3, "slurm-4321.2")


def test_outside_of_slurm_and_for_a_second_task_on_a_host_the_way_out_is_said() -> None:
    with pytest.raises(UsageError, match="start it with srun"):
        slurm({})
    with pytest.raises(UsageError, match="--ntasks-per-node=1"):
        slurm(STEP | {"SLURM_LOCALID": "1"})


def test_under_slurm_the_first_agent_writes_a_secret_that_the_others_read(tmp_path: Path) -> None:
    environment = STEP | {"HOME": str(tmp_path)}
    first = secret_of(None, environment, shared=True)
    assert secret_of(None, environment, shared=True) == first
    (file,) = tmp_path.iterdir()
    assert file.stat().st_mode & 0o077 == 0
    forget_secret(environment)
    assert list(tmp_path.iterdir()) == []


def test_hosts_are_those_of_a_file(tmp_path: Path) -> None:
    file = tmp_path / "hosts"
    file.write_text("# ours\nfirst\nsecond:5000  # the other\n\n")
    made = meeting_of(options(hosts=file), SECRET)
    assert made is not None
    assert made[0].endpoints == ("first:29400", "second:5000")
    assert (made[0].least, made[1]) == (2, "known")
    file.write_text("what is this\n")
    with pytest.raises(UsageError, match="no HOST"):
        meeting_of(options(hosts=file), SECRET)


def test_the_number_of_hosts_may_be_a_range() -> None:
    made = meeting_of(options(rdzv_endpoint="one:1,two", nnodes="2:5"), SECRET)
    assert made is not None
    assert made[0].endpoints == ("one:1", "two:29400")
    assert (made[0].least, made[0].most) == (2, 5)
    for wrong in ("x", "3:2", "0", "2:"):
        with pytest.raises(UsageError):
            meeting_of(options(rdzv_endpoint="one:1", nnodes=wrong), SECRET)


def test_one_host_needs_nothing_and_several_need_a_place_and_a_secret() -> None:
    assert meeting_of(options(), {}) is None
    with pytest.raises(UsageError, match="--rdzv-endpoint"):
        meeting_of(options(nnodes="2"), SECRET)
    with pytest.raises(UsageError, match="a secret in common"):
        meeting_of(options(rdzv_endpoint="one:1"), {})


def test_the_usual_port_is_added_where_none_is_said() -> None:
    assert [with_port("a"), with_port("a:7"), with_port(" 10.0.0.1 ")] == [
        "a:29400",
        "a:7",
        "10.0.0.1:29400",
    ]
