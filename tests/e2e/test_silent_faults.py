"""Wrong results that raise no error, and the adapter's own checks of gradients that look for them."""

import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

TRAINING = """
import os, time
import torch, torch.distributed as dist
from torch.nn.parallel import DistributedDataParallel

torch.npu.set_device(int(os.environ["LOCAL_RANK"]))
dist.init_process_group("hccl")
torch.manual_seed(0)
layers = (torch.nn.Linear(64, 64), torch.nn.GELU(), torch.nn.Linear(64, 64))
model = torch.nn.Sequential(*layers).npu()
if dist.get_world_size() > 1:
    model = DistributedDataParallel(model)
optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
done = 0
try:
    for step in range(14):
        model(torch.randn(8, 64).npu()).pow(2).mean().backward()
        optimizer.step()
        optimizer.zero_grad()
        torch.npu.synchronize()
        done += 1
except RuntimeError as error:
    print(f"rank {dist.get_rank()} ended after {done}: {error}", flush=True)
    os._exit(0)
time.sleep(float(os.environ.get("LINGER", "0")))  # a thread looks at gradients now and then
print(f"rank {dist.get_rank()} did all {done}", flush=True)
os._exit(0)
"""

# Gradients of weights are products; of the twelfth step the first element gets its highest bit turned.
FAULT = """
[[fault]]
kind = "wrong-result"
chip = {chip}
operator = "aten::mm"
bit = 30
at_step = 11
"""


def train(folder: Path, fault: str = "", chips: int = 1, **variables: str) -> str:
    """What the training says on two chips, or one."""
    (folder / "faults.toml").write_text(fault)
    (folder / "training.py").write_text(TRAINING)
    options = ("--virtual", "--chips", str(chips), "--faults", str(folder / "faults.toml"))
    torchrun = ("torchrun", "--standalone", "--nproc-per-node", str(chips))
    settings = [f"{name}={value}" for name, value in variables.items()]
    done = subprocess.run(
        [
            *(sys.executable, "-m", "cordee", "run", *options, "--"),
            *("env", *settings, *torchrun, str(folder / "training.py")),
        ],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
        timeout=280,
    )
    assert done.returncode == 0, done.stdout
    return done.stdout


def test_a_gradient_that_is_wrong_ends_the_training(tmp_path: Path) -> None:
    said = train(tmp_path, FAULT.format(chip=0), NPU_ASD_ENABLE="2")
    assert "chip 0: SilentCheckV2 ComputeL1Error" in said
    assert "rank 0 ended after 11" in said
    assert "error code is 507018" in said


def test_a_gradient_that_is_wrong_is_only_told_where_that_is_asked_for(tmp_path: Path) -> None:
    said = train(tmp_path, FAULT.format(chip=0), NPU_ASD_ENABLE="1")
    assert "chip 0: SilentCheckV2 ComputeL1Error" in said
    assert "rank 0 did all 14" in said


def test_gradients_are_checked_before_they_are_sent(tmp_path: Path) -> None:
    said = train(tmp_path, FAULT.format(chip=1), chips=2, NPU_ASD_ENABLE="1")
    wrong = [line for line in said.splitlines() if "ComputeL1Error" in line]
    assert "chip 1" in wrong[0], said  # before it spread to the other rank
    assert "rank 0 did all 14" in said
    assert "rank 1 did all 14" in said


@pytest.mark.parametrize("level", ["2", "3"])
def test_right_gradients_pass(level: str, tmp_path: Path) -> None:
    said = train(tmp_path, chips=2, NPU_ASD_ENABLE=level, ASCEND_GLOBAL_LOG_LEVEL="1")
    assert "rank 0 did all 14" in said
    assert "rank 1 did all 14" in said
    assert "Error: val" not in said
    assert ("SilentCheckV2 normal case" in said) == (level == "3")


WATCH = "enable:true,strikes_num:1,grad_sample_interval:1"


def test_the_watch_over_gradients_sees_one_that_is_wrong(tmp_path: Path) -> None:
    said = train(tmp_path, FAULT.format(chip=0), NPU_ASD_CONFIG=WATCH, LINGER="12")
    assert "[Rank 0]: feature detection detects abnormal results!" in said
    assert "rank 0 did all 14" in said


def test_the_watch_over_gradients_is_silent_about_right_ones(tmp_path: Path) -> None:
    said = train(tmp_path, NPU_ASD_CONFIG=WATCH, LINGER="12")
    assert "abnormal" not in said
    assert "rank 0 did all 14" in said
