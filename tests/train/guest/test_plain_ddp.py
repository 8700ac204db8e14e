"""Does a plain DDP script go on when a worker falls, without a changed line, and is told what cannot?"""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from tests.train.hosts import hosts
from tests.train.jobs import Ended, Fault, job

PLAIN = Path(__file__).parents[1] / "programs" / "plain.py"
EPOCH = re.compile(r"^epoch \d+: .*", re.M)
SETTINGS = {"OMP_NUM_THREADS": "1", "TORCH_DEVICE_BACKEND_AUTOLOAD": "0", "PYTHONUNBUFFERED": ""}
# Unbuffered, both ranks' words would be written to one pipe in pieces, among each other.
DIGEST = re.compile(r"^digest (\w+) (\S+) (\d+)$", re.M)


def logs(ended: Ended) -> list[str]:
    return [log.read_text() for log in sorted(ended.folder.glob("worker-*.log"))]


def test_it_trains_as_under_torchrun(tmp_path: Path) -> None:
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
    # Each rank writes a file of its own: in one pipe their lines run into one another.
    apart = ("--nproc-per-node=2", "--redirects=3", f"--log-dir={tmp_path / 'plain'}")
    subprocess.run([*torchrun, *apart, str(PLAIN)], check=True, env=os.environ | SETTINGS)
    (plain,) = (log.read_text() for log in (tmp_path / "plain").rglob("0/stdout.log"))
    ended = job(tmp_path / "ours", str(PLAIN), options=("-n", "2"))
    assert ended.code == 0, ended.err
    assert EPOCH.findall(logs(ended)[0]) == EPOCH.findall(plain)
    assert len(EPOCH.findall(plain)) == 2


@pytest.mark.parametrize(
    ("faults", "words"),
    [
        (
            (
                {"worker": 1, "step": 5, "at": "reduce"},
                {"worker": 0, "step": 25, "at": "forward"},
            ),
            ("--workers", "1"),
        ),
        pytest.param(
            ({"worker": 2, "step": 3, "at": "apply"}, {"worker": 0, "step": 8, "at": "voted"}),
            ("--accumulate", "2"),
            marks=pytest.mark.slow,
        ),
    ],
    ids=["its-first-and-another-rank", "while-it-accumulates"],
)
def test_ranks_that_die_cost_no_step_and_others_take_their_place(
    faults: tuple[Fault, ...], words: tuple[str, ...], tmp_path: Path
) -> None:
    program = (str(PLAIN), "--epochs", "3", "--batch-s", "0.1", *words)
    ended = job(tmp_path, *program, options=("-n", "3"), faults=faults)
    assert ended.code == 0, ended.err
    steps = 30 if "--accumulate" in words else 60
    assert ended.steps == list(range(steps))
    assert len(ended.of("recovered")) == 2
    assert sum("joins" in event["reason"] for event in ended.of("epoch")) == 2
    found = [match for log in logs(ended) for match in DIGEST.findall(log)]
    assert len(found) == 3
    assert len(set(found)) == 1  # parameters, what they get right, and the scheduler
    assert found[0][2] == str(steps)
    assert float(found[0][1]) > 0.8
    assert sum("epoch 2: " in log for log in logs(ended)) == 1  # by the one that is rank 0 now


def test_a_rank_that_dies_on_a_virtual_chip_costs_no_step(tmp_path: Path) -> None:
    program = (str(PLAIN), "--epochs", "1", "--device", "npu")
    options = ("-n", "2", "--chip", "Ascend910B3")
    fault: Fault = {"worker": 1, "step": 5, "at": "reduce"}
    autoload = {"TORCH_DEVICE_BACKEND_AUTOLOAD": "1"}
    ended = job(tmp_path, *program, options=options, faults=(fault,), environment=autoload)
    assert ended.code == 0, ended.err
    assert ended.steps == list(range(30))
    assert [event["reason"] for event in ended.of("lost")] == ["its connection closed"]
    first = (ended.folder / "worker-0.log").read_text()
    assert EPOCH.findall(first) != []
    (found,) = DIGEST.findall(first)
    assert found[2] == "30"


@pytest.mark.slow
def test_a_script_for_gpus_that_was_ported_goes_on_on_virtual_chips(tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.mkdir()
    (source / "train.py").write_text(PLAIN.with_name("cuda_ddp.py").read_text())
    port = (sys.executable, "-m", "cordee", "port", str(source), "-o", str(tmp_path / "ported"))
    subprocess.run(port, check=True)
    fault: Fault = {"worker": 1, "step": 20, "at": "reduce"}
    ended = job(
        tmp_path / "job",
        str(tmp_path / "ported" / "train.py"),
        options=("-n", "2", "--chip", "Ascend910B3"),
        faults=(fault,),
        environment={"TORCH_DEVICE_BACKEND_AUTOLOAD": "1"},
    )
    assert ended.code == 0, ended.err
    assert ended.steps == list(range(48))
    assert len(ended.of("recovered")) == 1
    assert len(EPOCH.findall(logs(ended)[0])) == 3


def test_a_rank_is_one_of_all_hosts_and_another_host_takes_it_over(tmp_path: Path) -> None:
    for two in hosts(tmp_path, 2):
        program = (str(PLAIN), "--epochs", "3", "--batch-s", "0.1")
        two.start("-n", "2", "--per-host", "2", program=program)
        two.until(2, 5)
        two.falls(1)
        code, _, err = two.end(2)
        assert code == 0, err
        assert set(two.steps(2)) == set(range(90))
        logs = [log.read_text() for log in two.folder.glob("127.0.0.2/worker-*.log")]
        found = [match for log in logs for match in DIGEST.findall(log)]
        assert len(found) == 2
        assert len(set(found)) == 1
        assert sum("epoch 2: " in log for log in logs) == 1  # by the one that is rank 0 now


@pytest.mark.parametrize(
    ("before", "after", "said"),
    [
        (
            "            optimizer.step()",
            "            dist.all_reduce(loss.detach())",
            "this script has a call of torch.distributed.all_reduce",
        ),
        (
            "            loss.backward()",
            "            loss.backward(retain_graph=True); loss.backward()",
            "two backward passes for one optimizer.step() without model.no_sync()",
        ),
        ("sampler=sampler", "shuffle=True", "data that come from no DataLoader with a Distrib"),
        ("    optimizer =", "    torch.amp.GradScaler('cpu'); optimizer =", "a GradScaler"),
    ],
)
def test_what_cannot_go_on_is_refused_where_it_is_asked_for(
    before: str, after: str, said: str, tmp_path: Path
) -> None:
    program = tmp_path / "other.py"
    program.write_text(PLAIN.read_text().replace(before, after))
    ended = job(tmp_path / "job", str(program), options=("-n", "1"))
    assert ended.code == 1
    assert said in ended.err


@pytest.mark.parametrize(
    ("option", "said"), [("--spares=1", "each process is a rank"), ("--mode=exact", "ct.Training")]
)
def test_options_that_need_another_script_are_refused(
    option: str, said: str, tmp_path: Path
) -> None:
    ended = job(tmp_path, str(PLAIN), options=("-n", "2", option))
    assert ended.code == 2
    assert said in ended.err
