"""The GPT written for NVIDIA, on the CPU and carried over to the virtual chip."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLE = Path(__file__).parents[2] / "examples" / "nvidia_gpt"
SMALL = ["--layers", "2", "--width", "64", "--batch-size", "4", "--block-size", "64"]
ON_A_CHIP = [sys.executable, "-m", "cordee", "run", "--virtual", "--from-cuda", "--"]

pytestmark = pytest.mark.slow


def output(*command: str | Path) -> str:
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    assert done.returncode == 0, done.stderr
    return done.stdout


def losses(text: str) -> list[float]:
    return [float(found) for found in re.findall(r"loss ([\d.]+)", text)]


def trained(*options: str, on: list[str]) -> list[float]:
    return losses(output(*on, EXAMPLE / "train.py", *SMALL, *options))


def test_the_chip_learns_what_the_cpu_learns() -> None:
    options = ("--steps", "5", "--dtype", "float32")
    on_cpu = trained(*options, on=[sys.executable])
    on_chip = trained(*options, on=[*ON_A_CHIP, "python"])
    assert len(on_cpu) == 6
    assert on_chip == pytest.approx(on_cpu, rel=1e-4)


def test_half_precision_learns_nearly_the_same() -> None:
    full = trained("--steps", "5", "--dtype", "float32", on=[*ON_A_CHIP, "python"])
    for dtype in ("float16", "bfloat16"):
        half = trained("--steps", "5", "--dtype", dtype, on=[*ON_A_CHIP, "python"])
        assert half == pytest.approx(full, rel=1e-2)


def test_a_run_that_was_stopped_goes_on_as_if_it_had_not_been(tmp_path: Path) -> None:
    checkpoint = str(tmp_path / "gpt.pt")
    python = [*ON_A_CHIP, "python"]
    dropout = ("--dtype", "float16", "--dropout", "0.1")
    whole = trained("--steps", "4", *dropout, on=python)
    trained("--steps", "2", *dropout, "--checkpoint", checkpoint, on=python)
    rest = trained("--steps", "4", *dropout, "--checkpoint", checkpoint, on=python)
    assert rest == whole[2:]


def test_a_saved_model_writes_the_same_text_on_both(tmp_path: Path) -> None:
    checkpoint = str(tmp_path / "gpt.pt")
    trained("--steps", "2", "--dtype", "float32", "--checkpoint", checkpoint, on=[sys.executable])
    sample = [EXAMPLE / "sample.py", checkpoint, "--tokens", "20", "--temperature", "0"]
    on_cpu = output(sys.executable, *sample)
    on_chip = output(*ON_A_CHIP, "python", *sample)
    assert on_chip.startswith(on_cpu.rstrip("\n"))


def test_torchrun_starts_it_with_nccl_calls() -> None:
    options = ("--steps", "3", "--dtype", "float32")
    alone = trained(*options, on=[*ON_A_CHIP, "python"])
    launched = trained(*options, on=[*ON_A_CHIP, "torchrun", "--nproc_per_node", "1"])
    assert launched == pytest.approx(alone, rel=1e-5)
