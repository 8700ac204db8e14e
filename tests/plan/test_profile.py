"""`cordee plan calibrate` with what a profiler exported, in the formats that profilers write."""

import csv
import gzip
import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from cordee.cli import cli
from cordee.core.errors import CordeeError
from cordee.hw import accelerators
from cordee.plan.calibration.fitting import profiled
from cordee.plan.calibration.profile import profile
from cordee.plan.calibration.table import calibration, kind_of
from cordee.plan.costs import Costs
from cordee.plan.layout import Job, Layout, Program
from cordee.plan.model import named
from cordee.plan.step_work import work_of
from cordee.plan.training import Step, step

SCRIPT = """torchrun --nproc_per_node 8 pretrain_gpt.py --num-layers 32 --hidden-size 4096 \\
  --ffn-hidden-size 11008 --num-attention-heads 32 --swiglu --disable-bias-linear --bf16 \\
  --untie-embeddings-and-output-weights --padded-vocab-size 32000 --seq-length 4096 \\
  --micro-batch-size 1 --global-batch-size 64 --tensor-model-parallel-size TENSOR \\
  --sequence-parallel --use-distributed-optimizer --overlap-grad-reduce
"""
NAMES = {
    "matrix products": ("aclnnMatmul_MatMulCommon_MatMulV2", "MatMulV2", "AI_CORE"),
    "attention": ("aclnnFlashAttentionScore", "FlashAttentionScore", "MIX_AIC"),
    "vector kernels": ("aclnnRmsNorm_RmsNorm", "RmsNorm", "AI_VECTOR_CORE"),
    "communication": ("hcom_allGather__123_0", "hcom_allGather_", "HCCL"),
}
HEADER = ["Step Id", "Device_id", "Name", "Type", "Accelerator Core"]
TIMES = ["Start Time(us)", "Duration(us)", "Wait Time(us)"]


def slower(tensor: int) -> Step:
    """A step on a machine whose products and links are slower than those that are published."""
    chip, model = accelerators().find("910B2"), named("Llama-2-7B")
    known = calibration().find(kind_of(chip, "mindspeed", model), chip.name)
    truth = replace(known, matmul=known.matmul / 1.4, link=known.link / 1.5)
    job = Job(
        model=model,
        layout=Layout(chips=8, tensor=tensor),
        sequence=4096,
        batch=64,
        program=Program(),
    )
    return step(work_of(job, chip), Costs(chip, truth, job.program))


def rows_of(one: Step, steps: int = 2) -> list[list[object]]:
    """Kernels of steps in a row, one after the other, with waiting at their ends."""
    rows: list[list[object]] = []
    for number in range(steps):
        now = number * one.seconds * 1e6
        for part, (name, kind, core) in NAMES.items():
            lasts = profiled(one)[part] * 1e6
            rows.append([number, 0, name, kind, core, f"{now:.3f}\t", f"{lasts:.3f}", 0])
            now += lasts
        end = (number + 1) * one.seconds * 1e6
        rows.append([number, 0, "aclnnAdd", "Add", "AI_VECTOR_CORE", f"{end - 1:.3f}", "1.0", 0])
    return rows


def export(path: Path, tensor: int = 4) -> Path:
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow([*HEADER, *TIMES])
        writer.writerows(rows_of(slower(tensor)))
    return path


@pytest.fixture
def run(tmp_path: Path) -> tuple[Path, Path]:
    """An export and the script of its run."""
    script = tmp_path / "run.sh"
    script.write_text(SCRIPT.replace("TENSOR", "4"))
    return export(tmp_path / "kernel_details.csv"), script


def calibrate(*arguments: str) -> Result:
    return CliRunner().invoke(cli, ["plan", "calibrate", *arguments])


def refused(*arguments: str) -> str:
    done = calibrate(*arguments)
    assert isinstance(done.exception, CordeeError), done.output
    return str(done.exception)


def test_one_export_brings_the_step_and_its_parts_close(run: tuple[Path, Path]) -> None:
    file, script = run
    done = calibrate(str(file), "--script", str(script), "--chip", "910B2", "--json")
    assert done.exit_code == 0, done.output
    (found,) = json.loads(done.output)
    assert abs(found["before"][0]) > 0.1
    assert abs(found["after"][0]) < 0.05
    parts = {part["name"]: part for part in found["parts"]}
    products = parts["matrix products"]
    assert products["before_s"] < 0.8 * products["measured_s"]
    assert products["after_s"] == pytest.approx(products["measured_s"], rel=0.05)
    links = parts["communication"]
    assert links["after_s"] == pytest.approx(links["measured_s"], rel=0.1)


def test_what_is_learnt_holds_for_another_layout(tmp_path: Path, run: tuple[Path, Path]) -> None:
    file, script = run
    own = tmp_path / "own.toml"
    done = calibrate(str(file), "--script", str(script), "--chip", "910B2", "--output", str(own))
    assert "matrix products: " in done.output
    script.write_text(SCRIPT.replace("TENSOR", "1"))
    arguments = ["plan", "train", "--script", str(script), "--chip", "910B2", "--json"]
    plain, theirs = (
        json.loads(CliRunner().invoke(cli, [*arguments, *more]).output)["script"]["as_it_is"][0]
        for more in ([], ["--calibration", str(own)])
    )
    truth = slower(1).seconds
    assert abs(theirs["step_s"] / truth - 1) < 0.06 < abs(plain["step_s"] / truth - 1)


def test_a_table_of_steps_names_exports_too(tmp_path: Path, run: tuple[Path, Path]) -> None:
    table = tmp_path / "steps.toml"
    table.write_text(
        '[[measured]]\nmodel = "Llama-2-7B"\nchip = "910B2"\nsequence = 4096\nbatch = 64\n'
        'chips = 8\ntensor = 4\nprofile = "kernel_details.csv"\nsource = "a run"\n'
    )
    (found,) = json.loads(calibrate(str(table), "--json").output)
    assert found["parts"][0]["name"] == "matrix products"


def trace(folder: Path, events: list[dict[str, Any]]) -> Path:
    path = folder / "trace.json.gz"
    path.write_bytes(gzip.compress(json.dumps({"traceEvents": events}).encode()))
    return path


def event(name: str, cat: str, ts: float, dur: float) -> dict[str, Any]:
    return {"ph": "X", "name": name, "cat": cat, "ts": ts, "dur": dur, "pid": 0, "tid": 7}


def test_communication_counts_where_no_other_kernel_runs_beside_it(tmp_path: Path) -> None:
    found = profile(
        trace(
            tmp_path,
            [
                event("ProfilerStep#3", "user_annotation", 0, 1000),
                event("ProfilerStep#3", "gpu_user_annotation", 5, 990),
                event("sm90_xmma_gemm_bf16", "kernel", 100, 400),
                event("ncclDevKernel_AllReduce_Sum_bf16", "kernel", 300, 400),
                event("void flash_fwd_kernel", "kernel", 700, 100),
                event("vectorized_elementwise_kernel", "kernel", 800, 50),
                event("aten::mm", "cpu_op", 90, 5),
            ],
        )
    )
    assert found.steps == 1
    assert {name: round(seconds * 1e6) for name, seconds in found.parts.items()} == {
        "matrix products": 400,
        "attention": 100,
        "vector kernels": 50,
        "communication": 200,
        "waiting": 250,
    }
    assert found.step_s == pytest.approx(1e-3)


RECORD = """
import sys, torch
from torch.profiler import ProfilerActivity, profile, schedule
with profile(activities=[ProfilerActivity.CPU], schedule=schedule(wait=0, warmup=0, active=2, repeat=1)) as prof:
    for _ in range(2):
        a = torch.randn(64, 64); (a @ a).relu().sum()
        prof.step()
prof.export_chrome_trace(sys.argv[1])
"""


def test_a_trace_that_torch_writes_is_read(tmp_path: Path) -> None:
    path = tmp_path / "trace.json"
    subprocess.run(
        [sys.executable, "-c", RECORD, str(path)],
        check=True,
        timeout=120,
        env=os.environ | {"TORCH_DEVICE_BACKEND_AUTOLOAD": "0"},
    )
    with pytest.raises(CordeeError, match=r"no kernels of a chip in it: record with .*CUDA"):
        profile(path)
    data = json.loads(path.read_text())
    for one in data["traceEvents"]:  # as if each product had run on a chip
        if one.get("name") == "aten::mm":
            one |= {"cat": "kernel", "name": "sm90_xmma_gemm_f32"}
    path.write_text(json.dumps(data))
    found = profile(path)
    assert found.steps == 2
    assert 0 < found.parts["matrix products"] < found.step_s
    assert sum(found.parts.values()) == pytest.approx(found.step_s)


def test_what_is_wrong_is_said_with_its_place(tmp_path: Path, run: tuple[Path, Path]) -> None:
    file, script = run
    assert "give --script, the launch script of that run, and --chip" in refused(str(file))
    told = ("--script", str(script), "--chip", "910B2")
    text = file.read_text()
    file.write_text(text.replace("Duration(us)", "Dauer"))
    assert "no column Duration(us)" in refused(str(file), *told)
    file.write_text(text.replace("1,0,aclnnMatmul", "1,1,aclnnMatmul"))
    assert "kernels of 2 chips: give the export of one" in refused(str(file), *told)
    lines = text.splitlines()
    lines[2] = lines[2].rsplit(",", 2)[0] + ",,0"
    file.write_text("\n".join(lines))
    assert "line 3: a start and a duration are needed" in refused(str(file), *told)
    broken = tmp_path / "trace.json"
    broken.write_text("{}")
    assert "no traceEvents" in refused(str(broken), *told)
