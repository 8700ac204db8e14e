"""Programs that PyTorch spreads over several virtual chips, as torchrun starts them."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "examples" / "nvidia_gpt" / "train.py"
PARALLELISM = Path(__file__).parent / "programs" / "parallelism.py"
SMALL = [*("--layers", "2", "--width", "64", "--block-size", "64", "--steps", "8")]

slow = pytest.mark.slow


def torchrun(
    ranks: int, *program: str | Path, options: tuple[str, ...] = (), **environment: str
) -> str:
    """What `program` printed on as many chips as ranks; it must succeed."""
    command = [
        *(
            sys.executable,
            "-m",
            "cordee",
            "run",
            "--virtual",
            "--chips",
            str(ranks),
            *options,
            "--",
        ),
        *("torchrun", "--standalone", "--nproc-per-node", str(ranks), *map(str, program)),
    ]
    done = subprocess.run(
        command,
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | {"OMP_NUM_THREADS": "1"} | environment,
        cwd=ROOT,
    )
    assert done.returncode == 0, done.stderr[-4000:]
    return done.stdout


def losses(text: str) -> list[float]:
    return [float(found) for found in re.findall(r"^step \d+ loss ([\d.]+)", text, re.MULTILINE)]


def trained(ranks: int, *options: str) -> list[float]:
    program = [EXAMPLE, *SMALL, "--dtype", "float32", "--batch-size", str(8 // ranks), *options]
    return losses(torchrun(ranks, *program, options=("--from-cuda",)))


@slow
@pytest.mark.parametrize("way", [[], ["--shard"]], ids=["ddp", "fsdp2"])
def test_four_chips_learn_what_one_learns(way: list[str]) -> None:
    alone = trained(1)
    together = trained(4, *way)
    assert len(alone) == 8
    assert together == pytest.approx(alone, abs=1e-4)
    assert trained(4, *way) == together


@slow
def test_a_sharded_run_goes_on_from_its_checkpoint(tmp_path: Path) -> None:
    checkpoint = ("--shard", "--checkpoint", str(tmp_path / "gpt.pt"), "--save-every", "4")
    whole = trained(2, *checkpoint)
    (tmp_path / "gpt.pt").rename(tmp_path / "whole.pt")
    trained(2, *checkpoint, "--steps", "4")
    assert trained(2, *checkpoint) == whole[4:]


def test_every_way_of_pytorch_to_spread_a_model_works() -> None:
    said = torchrun(4, PARALLELISM)
    failed = re.findall(r"failed (\w+)", said)
    assert not failed
    assert len(re.findall(r"ok (\w+)", said)) == 4 * 17


@slow
@pytest.mark.parametrize("backend", ["None", "hccl"])
def test_the_process_group_comes_under_its_usual_names(backend: str) -> None:
    said = torchrun(4, PARALLELISM, "data_parallel", "objects", BACKEND=backend)
    assert said.count("ok data_parallel") == said.count("ok objects") == 4


RESTARTED = """
import os, sys, torch, torch.distributed as dist
rank = int(os.environ["RANK"])
torch.npu.set_device(rank)
dist.init_process_group("hccl")
x = torch.ones(1, device="npu")
dist.all_reduce(x)
if os.environ["TORCHELASTIC_RESTART_COUNT"] == "0" and rank == 1:
    os.kill(os.getpid(), 9)
dist.barrier()
sys.stdout.write(f"sum {x.item()} at attempt {os.environ['TORCHELASTIC_RESTART_COUNT']}\\n")
dist.destroy_process_group()
"""


@slow
def test_torchrun_starts_the_ranks_again_when_one_is_killed(tmp_path: Path) -> None:
    program = tmp_path / "restarted.py"
    program.write_text(RESTARTED)
    command = [
        *(sys.executable, "-m", "cordee", "run", "--virtual", "--chips", "2", "--", "torchrun"),
        *("--standalone", "--nproc-per-node", "2", "--max-restarts", "1", str(program)),
    ]
    done = subprocess.run(
        command,
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | {"OMP_NUM_THREADS": "1", "TORCH_DISABLE_SHARE_RDZV_TCP_STORE": "1"},
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert done.stdout.count("sum 2.0 at attempt 1") == 2
