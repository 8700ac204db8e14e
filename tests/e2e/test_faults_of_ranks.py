"""A training over several chips when a chip, a link or a host fails: what every rank sees."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from remains import left_behind, of_this_test

pytestmark = pytest.mark.slow

# Each rank trains, says what it met, and stays until all have said it: torchrun would end the others.
TRAINING = """
import json, os, re, subprocess, sys, time
from pathlib import Path
import torch, torch.distributed as dist
from torch.nn.parallel import DistributedDataParallel

folder, rank = Path(os.environ["FOLDER"]), int(os.environ["RANK"])
torch.npu.set_device(int(os.environ["LOCAL_RANK"]))
dist.init_process_group("hccl")
torch.manual_seed(0)
model = DistributedDataParallel(torch.nn.Linear(300, 300).npu())
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
said = {"steps": 0, "code": None, "text": "", "kind": None}

try:
    for step in range(8):
        torch.manual_seed(100 * step + rank)
        model(torch.randn(8, 300).npu()).pow(2).mean().backward()
        optimizer.step()
        optimizer.zero_grad()
        torch.npu.synchronize()
        said["steps"] = step + 1
    said["weights"] = model.module.weight.double().sum().item()
    said["bits"] = hash(tuple(model.module.weight.detach().cpu().flatten().tolist()))
except RuntimeError as error:
    said["kind"] = type(error).__name__
    said["text"] = str(error)
    found = re.search(r"error code is (\\d+)", said["text"])
    said["code"] = int(found[1]) if found else None
command = [sys.executable, "-m", "cordee", "chips", "--json"]
machines = json.loads(subprocess.run(command, capture_output=True, check=True).stdout)
said["machine"] = next(m for m in machines if m["path"] == os.environ["CORDEE_MACHINE"])
(folder / f"{rank}.part").write_text(json.dumps(said))
(folder / f"{rank}.part").rename(folder / f"{rank}.json")
waits_for = [r for r in range(int(os.environ["WORLD_SIZE"])) if r not in json.loads(os.environ["GONE"])]
while not all((folder / f"{other}.json").exists() for other in waits_for):
    time.sleep(0.1)
os._exit(0)
"""


class Ranks:
    """What each rank said."""

    def __init__(self, folder: Path, stderr: str) -> None:
        self.stderr = stderr
        self._said = {int(f.stem): json.loads(f.read_text()) for f in folder.glob("[0-9].json")}

    def __getitem__(self, rank: int):
        assert rank in self._said, f"rank {rank} said nothing: {self.stderr[-3000:]}"
        return self._said[rank]

    @property
    def ranks(self) -> set[int]:
        """Those that said anything."""
        return set(self._said)

    def bits(self) -> set[int]:
        return {said["bits"] for said in self._said.values()}


def train(
    folder: Path, schedule: str, *options: str, gone: tuple[int, ...] = (), **more: str
) -> Ranks:
    """Train on two chips, or as the options say, under the schedule."""
    (folder / "faults.toml").write_text(schedule)
    (folder / "training.py").write_text(TRAINING)
    for old in folder.glob("[0-9].json"):
        old.unlink()
    chips = options[options.index("--chips") + 1] if "--chips" in options else "2"
    command = [
        *(
            sys.executable,
            "-m",
            "cordee",
            "run",
            "--virtual",
            "--faults",
            str(folder / "faults.toml"),
        ),
        *(() if "--chips" in options else ("--chips", "2")),
        *(*options, "--", "torchrun", "--standalone", "--nproc-per-node", chips),
        str(folder / "training.py"),
    ]
    variables = {"FOLDER": str(folder), "OMP_NUM_THREADS": "1", "HCCL_EXEC_TIMEOUT": "6"}
    variables |= {"TORCH_HCCL_ASYNC_ERROR_HANDLING": "0", "GONE": json.dumps(gone), **more}
    done = subprocess.run(
        command,
        capture_output=True,
        text=True,
        check=False,
        timeout=280,
        env=os.environ | {"PYTHONHASHSEED": "0"} | variables,
    )
    assert not of_this_test(left_behind(), folder)
    return Ranks(folder, done.stderr)


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> int:
    """The weights that two chips end with when nothing fails."""
    (bits,) = train(tmp_path_factory.mktemp("whole"), "").bits()
    return bits


def test_the_peers_of_a_lost_chip_wait_out_their_time(tmp_path: Path) -> None:
    said = train(tmp_path, '[[fault]]\nkind = "chip-lost"\nchip = 1\nat_step = 3\n')
    assert said[1]["code"] == 507010
    assert said[0]["code"] == 507048
    assert "EI0002" in said[0]["text"]
    assert "remote rank [1]" in said[0]["text"]
    assert said[0]["machine"]["chips"][1]["health"] == 507010


def test_the_peers_of_a_chip_that_hangs_wait_out_their_time(tmp_path: Path) -> None:
    schedule = '[[fault]]\nkind = "hang"\nchip = 1\nat_step = 3\nfor_s = 20\n'
    said = train(tmp_path, schedule)
    assert said[0]["code"] == 507048
    assert "remote rank [1]" in said[0]["text"]
    assert said[0]["machine"]["chips"][1]["hung"] is True


def test_a_link_that_is_down_is_a_remote_error(tmp_path: Path) -> None:
    said = train(tmp_path, '[[fault]]\nkind = "link-down"\nbetween = [0, 1]\nat_step = 3\n')
    codes = {said[rank]["code"] for rank in (0, 1)}
    assert 507057 in codes
    assert codes <= {507057, 507048}
    assert any("SUSPECT REMOTE ERROR" in said[rank]["text"] for rank in (0, 1))
    assert all(one["down"] for one in said[0]["machine"]["links"])


@pytest.mark.parametrize(
    ("fault", "options"),
    [
        ('kind = "link-slow"\nfactor = 50.0', ()),
        ('kind = "link-lossy"\nfraction = 0.2', ()),
        ('kind = "link-flapping"\nup_s = 0.2\ndown_s = 0.3', ()),
        ('kind = "link-slow"\nfactor = 4.0', ("--pace", "50")),
    ],
    ids=["slow", "lossy", "flapping", "paced"],
)
def test_a_poor_link_changes_no_result(
    fault: str, options: tuple[str, ...], tmp_path: Path, undisturbed: int
) -> None:
    said = train(tmp_path, f"[[fault]]\n{fault}\nbetween = [0, 1]\nat_step = 2\n", *options)
    assert [said[rank]["steps"] for rank in (0, 1)] == [8, 8], said[0]["text"]
    assert said.bits() == {undisturbed}
    links = said[0]["machine"]["links"]
    assert all(one["bytes"] > 0 for one in links if "0-1" in one["name"] or "1-0" in one["name"])
    if "lossy" in fault:
        assert sum(one["errors"] for one in links) > 0
    if "slow" in fault:
        assert {one["slow_percent"] for one in links} == {int(float(fault.split("= ")[-1]) * 100)}


def test_a_chip_that_is_slow_changes_no_result(tmp_path: Path, undisturbed: int) -> None:
    said = train(tmp_path, '[[fault]]\nkind = "slow"\nchip = 1\nfactor = 3.0\nat_step = 2\n')
    assert said.bits() == {undisturbed}
    assert said[0]["machine"]["chips"][1]["slow_percent"] == 300


def test_a_wrong_result_spreads_without_an_error(tmp_path: Path, undisturbed: int) -> None:
    schedule = """
[[fault]]
kind = "wrong-result"
chip = 1
operator = "aten::mse_loss_backward"
bit = 20
at_step = 2

[[fault]]
kind = "wrong-result"
chip = 1
operator = "aten::addmm"
bit = 20
at_step = 2
"""
    said = train(tmp_path, schedule)
    (bits,) = said.bits()  # the ranks agree: all took over what one got wrong
    assert bits != undisturbed


NODES = ("--chips", "4", "--nodes", "2", "--topology", "atlas-800t-a2")


def test_a_partition_breaks_the_links_between_nodes(tmp_path: Path) -> None:
    schedule = '[[fault]]\nkind = "partition"\nnodes = [0, 1]\nat_step = 3\n'
    said = train(tmp_path, schedule, *NODES, HCCL_RDMA_TIMEOUT="12", HCCL_EXEC_TIMEOUT="8")
    for rank in range(4):
        assert said[rank]["code"] == 507048, said[rank]["text"]
        assert "EI0002" in said[rank]["text"]
    assert "EI0013" in said.stderr  # what HcclGetCommAsyncError then gives as HCCL_E_REMOTE


def test_a_lost_host_leaves_the_others_waiting(tmp_path: Path) -> None:
    schedule = '[[fault]]\nkind = "host-lost"\nnode = 1\nat_step = 3\n'
    said = train(tmp_path, schedule, *NODES, gone=(2, 3))
    assert not said.ranks & {2, 3}  # killed before they could say anything
    assert "host-lost, node 1: struck after step 3" in said.stderr
