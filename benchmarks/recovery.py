"""What does the loss of a worker, or of a link, cost: cordee train, torchrun's elastic restart, and torchft?

python benchmarks/recovery.py [--workers 4] [--device npu] [--torchft PYTHON] [--only "cordee exact:stop"]

A GPT of 10 million parameters, on the CPU or on virtual Ascend chips. In the middle of a run one worker is killed
(SIGKILL) or stopped (SIGSTOP), or its link to another one carries nothing any more, or little (on the CPU by what
rehearsals of `cordee train` use, which drops or paces what comes and goes over sockets; on chips by `cordee fault`, a
twentieth of what it did). torchft has no group for Ascend and gets one of HCCL's, recovery/torchft_hccl.py: there its
Python needs torch_npu, too. The pause is from then to the next new step of those that are left, in seconds and in median
steps of the same run; of a slow link it is what all its steps took longer than usual. Steps lost are those made twice.
The parameters are compared with those of undisturbed runs. Writes recovery.toml, or one for the number of workers and
the device, of which `--only` renews a part. What a step costs without a fault: steady.py.
"""

import contextlib
import itertools
import json
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import click

HERE = Path(__file__).parent
PROGRAMS = HERE / "recovery"
SIGNALS = {"kill": signal.SIGKILL, "stop": signal.SIGSTOP}
LINKS = {
    "link down": {"do": "link-down"},
    "slow link": {"do": "link-slow", "bytes_per_s": 20_000_000},
}
CHIP_LINKS = {"link down": "--down", "slow link": "--slow 20"}
"""As `cordee fault link` strikes those of virtual chips."""
SLOW_FROM = 24
"""The step from which on a link is slow: how long reductions usually take must be known."""
LONGER = 1.25
"""A step counts as longer from so many times the usual on: steps of workers that share cores differ by less."""
CHIP = "Ascend910B3"
LOG = "steps.jsonl"


@dataclass(frozen=True)
class Setting:
    """In what all systems are compared."""

    workers: int
    steps: int
    shards: int
    device: str
    most_s: float
    """After a fault a run that has not ended by then is given up."""

    @property
    def file(self) -> Path:
        more = ("-npu" if self.device == "npu" else "") + (
            f"-{self.workers}" if self.workers != 2 else ""
        )
        return HERE / f"recovery{more}.toml"


@dataclass
class Seen:
    """What a run showed."""

    system: str
    fault: str
    workers: int
    pause_s: float = 0.0
    pause_steps: float = 0.0
    steps_lost: int = 0
    full_s: float | None = None
    same: bool = False
    note: str = ""
    runs: int = 1
    step_s: float = field(default=0.0, repr=False)

    def row(self) -> dict[str, object]:
        full = {} if self.full_s is None else {"full_strength_s": round(self.full_s, 2)}
        pause = {"pause_s": round(self.pause_s, 2), "pause_steps": round(self.pause_steps, 1)}
        found = pause | {"steps_lost": self.steps_lost, **full, "same_parameters": self.same}
        if self.note.startswith("none"):
            found = {}
        note = {"note": self.note} if self.note else {}
        return {
            "system": self.system,
            "fault": self.fault,
            "runs": self.runs,
            **found,
            **note,
        }


def command(system: str, setting: Setting, folder: Path) -> list[str]:
    """What starts a run."""
    arguments, workers = [str(setting.steps), str(setting.shards)], setting.workers
    chips = ["--chip", CHIP] if setting.device == "npu" else []
    cordee = [sys.executable, "-m", "cordee"]
    machine = [*cordee, "run", *chips, "--chips", str(workers), "--"] if chips else []
    if system in ("plain", "torchrun"):
        torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
        more = ["--max-restarts=3"] if system == "torchrun" else []
        save = ["save"] if system == "torchrun" else []
        program = [f"--nproc-per-node={workers}", *more, str(PROGRAMS / "plain.py"), *arguments]
        return [*machine, *torchrun, *program, *save]
    if system == "torchft":
        program = [str(PROGRAMS / "torchft_replica.py"), *arguments, str(workers)]
        return [*machine, os.environ["TORCHFT_PYTHON"], *program]
    mode = system.removeprefix("cordee ")
    ours = [*cordee, "train", "-n", str(workers), "--mode", mode, *chips]
    return [*ours, "--folder", str(folder), "--", str(PROGRAMS / "ours.py"), *arguments]


def variables(setting: Setting, folder: Path) -> dict[str, str]:
    """What its processes find in their environment."""
    return os.environ | {
        "STEPS_LOG": str(folder / LOG),
        "OMP_NUM_THREADS": "1",
        "DEVICE": setting.device,
        "TORCH_DEVICE_BACKEND_AUTOLOAD": str(int(setting.device == "npu")),
        "TORCH_DISABLE_SHARE_RDZV_TCP_STORE": "1",  # without it the restart fails half the time
    }


def lines(log: Path) -> list[dict[str, float]]:
    if not log.exists():
        return []
    return [json.loads(line) for line in log.read_text().splitlines() if line.endswith("}")]


def run(
    system: str, setting: Setting, fault: str | None
) -> tuple[list[dict[str, float]], float, int, int | None, str]:
    """Steps as they were logged, when the fault struck, whom, the exit code, and the digest of the parameters.

    The code is None where a run was given up.
    """
    at = SLOW_FROM if fault == "slow link" else setting.steps // 3
    struck = {"worker": 1, "step": at, "at": "forward", **cut(setting, fault or "")}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        log = folder / LOG
        name = "CORDEE_TRAIN_FAULTS" if system.startswith("cordee") else "LINK_FAULT"
        told = [struck] if system.startswith("cordee") else struck
        faults = {name: json.dumps(told) if fault in LINKS else ""}
        process = subprocess.Popen(
            command(system, setting, folder),
            env=variables(setting, folder) | faults,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        struck_s, victim = 0.0, 0
        end_s = time.time() + 300
        while (code := process.poll()) is None:
            if time.time() > end_s:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
                break
            if fault and not struck_s:
                after = at - 1 if fault in LINKS else at
                found = (e for e in lines(log) if e.get("worker") == 1 and e["step"] >= after)
                last = next(found, None)
                if last is not None and fault in LINKS:
                    struck_s = last["time_s"]
                elif last is not None:
                    victim, struck_s = int(last["pid"]), time.time()
                    os.kill(victim, SIGNALS[fault])
                end_s = time.time() + setting.most_s if struck_s else end_s
            time.sleep(0.005)
        if victim:
            with contextlib.suppress(ProcessLookupError):
                os.kill(victim, signal.SIGKILL)
        found = lines(log)
        digests = {str(e["digest"]) for e in found if "digest" in e}
        return found, struck_s, victim, code, digests.pop() if len(digests) == 1 else "differ"


def cut(setting: Setting, fault: str) -> dict[str, object]:
    """What a rehearsal does to the link between the first two workers."""
    if setting.device == "cpu" or fault not in LINKS:
        return {"other": 0, **LINKS.get(fault, {})}
    told = f"{sys.executable} -m cordee fault link --between 0 1 {CHIP_LINKS[fault]}"
    return {"do": "run", "command": told}


def judge(system: str, setting: Setting, fault: str, expected: str) -> Seen:
    found, struck_s, victim, code, digest = run(system, setting, fault)
    made = [e for e in found if "step" in e]
    before = [e for e in made if e["time_s"] <= struck_s]
    most = max((e["step"] for e in before), default=-1)
    news = [e for e in made if e["time_s"] > struck_s and e["pid"] != victim and e["step"] > most]
    seen = Seen(system, fault, setting.workers)
    if not news:
        seen.note = f"none: no further step within {setting.most_s:.0f} s"
        if code is not None:
            seen.note = f"none: ended with exit code {code} and without a further step"
        return seen
    seen.step_s = step_s(before)
    first = min(news, key=lambda e: e["time_s"])
    seen.pause_s = first["time_s"] - struck_s
    if fault == "slow link":
        seen.pause_s = longer_s(struck_s, news, seen.step_s)
    seen.pause_steps = seen.pause_s / seen.step_s
    fresh = {e["pid"] for e in before}
    known = {(e["pid"], e["step"]) for e in before}
    again = {
        e["step"]
        for e in made
        if e["time_s"] > struck_s and e["step"] <= most
        if e["pid"] not in fresh or (e["pid"], e["step"]) in known
    }
    seen.steps_lost = len(
        [s for s in again if any(e["step"] == s for e in before if e["pid"] != victim)]
    )
    joined = [e["time_s"] for e in made if e["pid"] not in fresh]
    seen.full_s = min(joined) - struck_s if joined else None
    seen.same = digest == expected
    if setting.steps - 1 not in {e["step"] for e in made}:
        seen.note = f"not at its end {setting.most_s:.0f} s later"
    return seen


def longer_s(struck_s: float, news: Sequence[dict[str, float]], usual_s: float) -> float:
    """So much longer steps took, as long as each took clearly longer than usual."""
    one = [e["time_s"] for e in news if e["pid"] == news[0]["pid"]]
    steps = [b - a for a, b in itertools.pairwise([struck_s, *one])]
    return sum(
        took - usual_s for took in itertools.takewhile(lambda s: s > LONGER * usual_s, steps)
    )


def step_s(made: Sequence[dict[str, float]]) -> float:
    """The median time of a step, the first ones left out."""
    one = [e["time_s"] for e in made if e["pid"] == made[0]["pid"]][3:]
    return statistics.median(b - a for a, b in itertools.pairwise(one))


def middle(runs: Sequence[Seen]) -> Seen:
    """Of several runs, with what was the worst of any."""
    done = sorted((seen for seen in runs if not seen.note), key=lambda s: s.pause_s)
    found = done[len(done) // 2] if done else runs[0]
    found.same = all(seen.same for seen in runs)
    found.steps_lost = max(seen.steps_lost for seen in runs)
    found.runs = len(runs)
    if done and len(done) < len(runs):
        found.note = f"{len(runs) - len(done)} of {len(runs)} did not go on"
    return found


def known(setting: Setting) -> dict[str, Any]:
    """What was measured before."""
    return tomllib.loads(setting.file.read_text()) if setting.file.exists() else {}


def written(setting: Setting, digests: dict[str, str], row: dict[str, object]) -> None:
    """Renew what was measured, and keep the rest."""
    old = known(setting)
    rows = {(row["system"], row["fault"]): row for row in [*old.get("run", []), row] if row}
    steps = f"{setting.workers} workers, {setting.steps} steps, {setting.shards} shards"
    text = f"# benchmarks/recovery.py --device {setting.device}: {steps}; medians of so many runs\n"
    text += "[undisturbed]\n"
    for system, digest in (old.get("undisturbed", {}) | digests).items():
        text += f"{json.dumps(system)} = {json.dumps(digest)}\n"
    for one in rows.values():
        text += "[[run]]\n" + "".join(f"{k} = {json.dumps(v)}\n" for k, v in one.items())
    setting.file.write_text(text)


@click.command()
@click.option("--workers", default=2)
@click.option("--steps", default=36)
@click.option("--shards", default=4)
@click.option("--rounds", default=3)
@click.option("--device", type=click.Choice(["cpu", "npu"]), default="cpu")
@click.option("--most-s", default=60.0, help="After a fault a run is given up so much later.")
@click.option("--torchft", help="A Python that has torchft-nightly, which is compared, too.")
@click.option("--only", multiple=True, help="SYSTEM:FAULT; else all.")
def main(rounds: int, torchft: str | None, only: tuple[str, ...], **given: Any) -> None:
    os.environ["TORCHFT_PYTHON"] = torchft or ""
    setting = Setting(**given)
    theirs = ["torchft"] if torchft else []
    pairs = [("cordee exact", fault) for fault in (*SIGNALS, *LINKS)]
    pairs += [("cordee fast", "kill")]
    pairs += [(system, fault) for system in ("torchrun", *theirs) for fault in (*SIGNALS, *LINKS)]
    for system, fault in pairs:
        if only and f"{system}:{fault}" not in only:
            continue
        plain = "plain" if system == "torchrun" else system
        if plain not in known(setting).get("undisturbed", {}):
            *_, digest = run(plain, setting, None)
            written(setting, {plain: digest}, {})
        expected = known(setting)["undisturbed"][plain]
        runs = [judge(system, setting, fault, expected) for _ in range(rounds)]
        for seen in runs:
            print(seen, flush=True)
        written(setting, {}, middle(runs).row())


if __name__ == "__main__":
    main()
