"""A rank that stops calling collectives: what the adapter's watchdog and flight recorder say of it."""

import os
import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.slow

TRAINING = """
import os, time
from datetime import timedelta
import torch, torch.distributed as dist
from torch.nn.parallel import DistributedDataParallel

rank = int(os.environ["RANK"])
torch.npu.set_device(int(os.environ["LOCAL_RANK"]))
dist.init_process_group("hccl", timeout=timedelta(seconds=8))
model = DistributedDataParallel(torch.nn.Linear(300, 300).npu())
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
for step in range(5):
    if rank == 1 and step == 3:
        time.sleep(120)  # the other's watchdog ends the run
    model(torch.randn(8, 300).npu()).pow(2).mean().backward()
    optimizer.step()
    optimizer.zero_grad()
    torch.npu.synchronize()
    print(f"rank {rank}: step {step}", flush=True)
"""

SETTINGS = {
    "OMP_NUM_THREADS": "1",
    "TORCH_HCCL_TRACE_BUFFER_SIZE": "100",
    "TORCH_HCCL_DUMP_ON_TIMEOUT": "1",
    "TORCH_HCCL_ENABLE_MONITORING": "1",
    "TORCH_HCCL_HEARTBEAT_TIMEOUT_SEC": "6",  # how long a rank that timed out waits before it ends
}
GRADIENTS = 300 * 300 + 300


def train(folder: Path, **settings: str) -> str:
    """Train on two chips, which fails; gives what was said."""
    (folder / "training.py").write_text(TRAINING)
    torchrun = ("torchrun", "--standalone", "--nproc-per-node", "2")
    options = ("--virtual", "--chips", "2")
    done = subprocess.run(
        [
            *(sys.executable, "-m", "cordee", "run", *options, "--"),
            *(*torchrun, str(folder / "training.py")),
        ],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
        timeout=280,
        env=os.environ | SETTINGS | settings,
    )
    assert done.returncode != 0, done.stdout
    return done.stdout


def recorded(folder: Path, rank: int) -> dict[str, Any]:
    return pickle.loads((folder / f"trace_{rank}").read_bytes())


def test_a_rank_that_stops_is_seen_in_the_flight_recorders_of_all(tmp_path: Path) -> None:
    said = train(tmp_path, TORCH_HCCL_DEBUG_INFO_TEMP_FILE=str(tmp_path / "trace_"))
    assert "[Rank 0] Watchdog caught collective operation timeout: WorkHCCL(SeqNum=" in said
    assert f"OpType=ALLREDUCE, NumelIn={GRADIENTS}, NumelOut={GRADIENTS}, Timeout(ms)=8000" in said
    assert "Signal 6 (SIGABRT)" in said

    waits, stopped = recorded(tmp_path, 0), recorded(tmp_path, 1)
    last = waits["entries"][-1]
    assert (last["state"], last["retired"], last["timeout_ms"]) == ("scheduled", False, 8000)
    assert (last["input_sizes"], last["input_dtypes"]) == ([[GRADIENTS]], ["Float"])
    assert len(stopped["entries"]) == len(waits["entries"]) - 1
    for number, (one, other) in enumerate(
        zip(waits["entries"], stopped["entries"], strict=False), 1
    ):
        assert one["state"] == other["state"] == "completed"
        assert one["collective_seq_id"] == other["collective_seq_id"] == number
        assert one["input_sizes"] == other["input_sizes"]
    enqueued = [of["pg_status"]["0"]["last_enqueued_collective"] for of in (waits, stopped)]
    assert enqueued == [last["collective_seq_id"], last["collective_seq_id"] - 1]
