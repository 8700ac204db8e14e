"""`cordee plan calibrate`: a few step times of one's own make predictions better."""

import json
import re
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from cordee.cli import cli
from cordee.core.errors import CordeeError
from cordee.hw import accelerators
from cordee.plan.calibration.table import calibration, kind_of
from cordee.plan.costs import Costs
from cordee.plan.layout import Job, Layout
from cordee.plan.model import named
from cordee.plan.step_work import work_of
from cordee.plan.training import step

LAYOUTS = ((8, 1, 1), (4, 2, 1), (2, 2, 1), (1, 4, 1), (1, 8, 1), (4, 1, 2))


def measured(slower: float) -> str:
    """Steps on a machine whose products and links are slower than those that are published."""
    chip, model = accelerators().find("910B2"), named("Llama-2-7B")
    known = calibration().find(kind_of(chip, "mindspeed", model), chip.name)
    truth = replace(known, matmul=known.matmul / slower, link=known.link / slower)
    rows = []
    for tensor, pipeline, micro_batch in LAYOUTS:
        layout = Layout(chips=8, tensor=tensor, pipeline=pipeline, micro_batch=micro_batch)
        job = Job(model=model, layout=layout, sequence=4096, batch=64)
        seconds = step(work_of(job, chip), Costs(chip, truth, job.program)).seconds
        rows.append(
            f'[[measured]]\nmodel = "Llama-2-7B"\nchip = "910B2"\nsequence = 4096\nbatch = 64\n'
            f"chips = 8\ntensor = {tensor}\npipeline = {pipeline}\nmicro_batch = {micro_batch}\n"
            f'step_s = {seconds}\nsource = "a run"\n'
        )
    return "\n".join(rows)


def run(*arguments: str) -> Result:
    return CliRunner().invoke(cli, ["plan", *arguments])


def test_six_steps_bring_a_slower_machine_within_3_percent(tmp_path: Path) -> None:
    file = tmp_path / "steps.toml"
    file.write_text(measured(slower=1.3))
    (found,) = json.loads(run("calibrate", str(file), "--json").output)
    assert min(found["before"]) > 0.1
    assert max(map(abs, found["after"])) < 0.03
    assert max(map(abs, found["left_out"])) < 0.06


def test_a_plan_is_made_with_ones_own_calibration(tmp_path: Path) -> None:
    file, own = tmp_path / "steps.toml", tmp_path / "own.toml"
    file.write_text(measured(slower=1.3))
    done = run("calibrate", str(file), "--output", str(own))
    assert "ascend-910b mindspeed dense: 6 steps, off by" in done.output
    arguments = ("train", "Llama-2-13B", "--chip", "910B2", "--chips", "16", "--json")
    plain, theirs = (
        json.loads(run(*arguments, *more).output)["chips"][0]["plans"][0]["tokens_per_s"]
        for more in ((), ("--calibration", str(own)))
    )
    assert theirs < 0.9 * plain


@pytest.mark.parametrize(
    ("old", "new", "why"),
    [
        ("chips = 8", "chips = 12", "measured 1: 12 chips do not divide"),
        ('chip = "910B2"', 'chip = "910Z"', "measured 1: 910Z: no such chip"),
        ("step_s = ", "step_s = -", "measured 1: step_s = -"),
        ("[[measured]]", "[[step]]", "such a file is made of"),
    ],
)
def test_a_wrong_measurement_is_named_with_its_place(
    tmp_path: Path, old: str, new: str, why: str
) -> None:
    file = tmp_path / "steps.toml"
    file.write_text(measured(slower=1.1).replace(old, new))
    done = run("calibrate", str(file))
    assert isinstance(done.exception, CordeeError)
    assert why in str(done.exception)


@pytest.mark.parametrize(
    ("step_s", "why"),
    [
        ('"8.4"', "measured 1: step_s = '8.4': a number is needed"),
        ("nan", "measured 1: step_s = nan: a number is needed"),
        ("1e-4", "measured 1: a step of 0.0001 s: at its peak 910B2 takes"),
    ],
)
def test_a_time_that_cannot_be_is_refused(tmp_path: Path, step_s: str, why: str) -> None:
    file = tmp_path / "steps.toml"
    first = measured(slower=1.0).split("\n\n")[0]
    file.write_text(re.sub(r"step_s = .*", f"step_s = {step_s}", first))
    done = run("calibrate", str(file))
    assert isinstance(done.exception, CordeeError), done.output
    assert why in str(done.exception)


@pytest.mark.parametrize("plan", ["train", "serve"])
def test_an_empty_calibration_is_none(tmp_path: Path, plan: str) -> None:
    (tmp_path / "own.toml").write_text("")
    arguments = (plan, "GPT-2", "--chip", "910B3", "--chips", "1")
    done = run(*arguments, "--calibration", str(tmp_path / "own.toml"))
    assert isinstance(done.exception, CordeeError), done.output
    assert "what `cordee plan calibrate --output` wrote is needed" in str(done.exception)
