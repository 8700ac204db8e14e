"""The third chapter: the ported model is trained on four virtual chips, of which one is killed."""

import os
import re
import shutil
import signal
import time
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

from cordee.core.events import read
from cordee.core.programs import Program
from cordee.journey.commands import LOOK_S, ChapterFailed, Desk, failed

WORKERS = 4
CHIP = "Ascend910B3"
LOSS = re.compile(r"^step (\d+) loss ([\d.]+)$", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Change:
    """Who takes part from a step on, and why."""

    step: int
    members: tuple[int, ...]
    reason: str
    second: float
    """Since the job began."""


@dataclass(frozen=True, slots=True)
class Trained:
    """The course of the run, through the loss of a chip."""

    losses: tuple[float, ...]
    killed_worker: int
    killed_at: int
    pause_s: float
    usual_s: float
    """A step when nothing happens, the median."""
    back_after_s: float
    changes: tuple[Change, ...]
    seconds: float


def train(desk: Desk, script: Path, ported: Path, steps: int, kill_at: int) -> Trained:
    """Train `script` with the modules of `ported`; kill -9 a worker when step `kill_at` is made."""
    job, model = desk.folder / "job", desk.folder / "model"
    for old in (job, model):
        shutil.rmtree(old, ignore_errors=True)
    options = [
        "--workers",
        str(WORKERS),
        "--mode",
        "exact",
        "--chip",
        CHIP,
        "--chips",
        str(WORKERS),
    ]
    program = [str(script), "--steps", str(steps), "--save", str(model)]
    arguments = ["train", *options, "--folder", str(job), "--", *program]
    victim = WORKERS - 1
    began_s = time.monotonic()
    with desk.start("train", arguments, {"PYTHONPATH": _with(ported)}) as running:
        _wait_for_step(desk, running, job, kill_at)
        pid = next(e["pid"] for e in _events(job, "worker") if e["worker"] == victim)
        desk.say(f"kill -9 {pid}  # worker {victim}, after step {kill_at}")
        os.kill(pid, signal.SIGKILL)
        _wait_for_step(desk, running, job, steps - 1)
        while not running.ended:
            time.sleep(LOOK_S)
        if running.exit_code != 0:
            raise failed("train", running)
    trained = _trained(job, victim, time.monotonic() - began_s)
    if len(trained.losses) != steps:
        raise ChapterFailed(
            f"train: {len(trained.losses)} of {steps} steps are in the logs in {job}"
        )
    desk.say(
        f"loss {trained.losses[0]:.3f} to {trained.losses[-1]:.3f}; "
        f"the step after the loss came {trained.pause_s:.2f} s later, no step lost"
    )
    return trained


def _wait_for_step(desk: Desk, running: Program, job: Path, step: int) -> None:
    """Wait until a step is made, and tell how far training is meanwhile."""
    told = -1
    while True:
        made = max((e["step"] for e in _events(job, "commit")), default=-1)
        if made // 20 > told // 20:
            desk.say(f"step {made}")
            told = made
        if made >= step:
            return
        if running.ended:
            raise failed("train", running)
        time.sleep(LOOK_S)


def _trained(job: Path, victim: int, seconds: float) -> Trained:
    logs = "\n".join(log.read_text("utf-8", "replace") for log in job.glob("worker-*.log"))
    losses = {int(step): float(loss) for step, loss in LOSS.findall(logs)}
    epochs, commits = _events(job, "epoch"), _events(job, "commit")
    began_s = epochs[0]["time_s"]
    changes = tuple(
        Change(e["step"], tuple(e["members"]), e["reason"], e["time_s"] - began_s) for e in epochs
    )
    loss = next((e for e in epochs if victim in e["lost"]), None)
    if loss is None:
        raise ChapterFailed(f"train: nobody missed worker {victim}, which was killed: {job}")
    full = next(
        (e for e in epochs if e["time_s"] > loss["time_s"] and len(e["members"]) == WORKERS), None
    )
    times = [e["time_s"] for e in commits]
    usual = sorted(b - a for a, b in pairwise(times))
    return Trained(
        losses=tuple(losses[step] for step in sorted(losses)),
        killed_worker=victim,
        killed_at=loss["step"],
        pause_s=next(t for t in times if t > loss["time_s"]) - loss["time_s"],
        usual_s=usual[len(usual) // 2],
        back_after_s=full["time_s"] - loss["time_s"] if full else 0.0,
        changes=changes,
        seconds=seconds,
    )


def _events(job: Path, kind: str) -> list[dict[str, Any]]:
    """Of one kind, from the journal as far as it is written."""
    try:
        return [event for event in read(job / "events.jsonl") if event["kind"] == kind]
    except FileNotFoundError:
        return []


def _with(folder: Path) -> str:
    """PYTHONPATH with `folder` in front."""
    return os.pathsep.join([str(folder), *filter(None, [os.environ.get("PYTHONPATH")])])
