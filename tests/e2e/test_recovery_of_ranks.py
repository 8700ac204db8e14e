"""Ranks that stop their chips in the middle of a collective, and go on in the same processes."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

RECOVERY = """
import os, sys, threading, time, torch, torch.distributed as dist, torch_npu
rank = int(os.environ["RANK"])
torch.npu.set_device(rank)
dist.init_process_group("hccl")

def say(*words):
    sys.stdout.write(" ".join(map(str, (rank, *words))) + "\\n")
    sys.stdout.flush()

def total():
    x = torch.ones(1000, device="npu")
    dist.all_reduce(x)
    return x.sum().item()

say("before", total())
store = dist.distributed_c10d._get_default_store()
if rank == 0:
    x = torch.ones(1000, device="npu")
    dist.all_reduce(x)  # to which rank 1 does not come
    threading.Timer(1.0, lambda: torch_npu.npu.stop_device(0)).start()
    try:
        torch.npu.synchronize()
        say("synchronize", "nothing")
    except RuntimeError as error:
        say("synchronize", "FORCE STOP" in str(error))
else:
    time.sleep(2)
    torch_npu.npu.stop_device(1)
time.sleep(1)
rebuild = sys.argv[1] == "rebuild"
store.set(f"stopped {rank}", "yes")
store.wait(["stopped 0", "stopped 1"])
torch_npu.npu.restart_device(rank)
dist.reinit_process_group(rebuild_link=rebuild)
store.set(f"again {rank}", "yes")
store.wait(["again 0", "again 1"])
say("after", total())
dist.destroy_process_group()
"""


@pytest.mark.parametrize("way", ["resume", "rebuild"])
def test_stopped_ranks_go_on_in_their_processes(way: str, tmp_path: Path) -> None:
    program = tmp_path / "recovery.py"
    program.write_text(RECOVERY)
    command = [
        *(sys.executable, "-m", "cordee", "run", "--virtual", "--chips", "2", "--", "torchrun"),
        *("--standalone", "--nproc-per-node", "2", str(program), way),
    ]
    done = subprocess.run(
        command,
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | {"OMP_NUM_THREADS": "1", "HCCL_EXEC_TIMEOUT": "60"},
    )
    assert done.returncode == 0, done.stderr[-3000:]
    said = dict(re.findall(r"^(\d \w+) (.+)$", done.stdout, re.MULTILINE))
    assert said == {
        "0 before": "2000.0",
        "1 before": "2000.0",
        "0 synchronize": "True",
        "0 after": "2000.0",
        "1 after": "2000.0",
    }
