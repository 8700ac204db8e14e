"""What does the loss of a worker cost: cordee train, torchrun's elastic restart, and torchft?

python benchmarks/recovery.py [--workers 2] [--torchft PYTHON]

A GPT of 10 million parameters on the CPU. One worker is killed (SIGKILL) or stopped (SIGSTOP) in the middle of a run.
The pause is from the signal to the next new step of those that are left, in seconds and in median steps of the same
run; steps lost are those made twice. Beside it the median step of undisturbed runs, in turn. Writes recovery.toml.
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
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import click

HERE = Path(__file__).parent
PROGRAMS = HERE / "recovery"
SIGNALS = {"kill": signal.SIGKILL, "stop": signal.SIGSTOP}
FULL_S = 60.0


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
    step_s: float = field(default=0.0, repr=False)

    def row(self) -> str:
        full = "" if self.full_s is None else f"full_strength_s = {self.full_s:.2f}\n"
        return (
            f'[[run]]\nsystem = "{self.system}"\nfault = "{self.fault}"\nworkers = {self.workers}\n'
            f"pause_s = {self.pause_s:.2f}\npause_steps = {self.pause_steps:.1f}\n"
            f"steps_lost = {self.steps_lost}\n{full}same_parameters = {str(self.same).lower()}\n"
            + (f'note = "{self.note}"\n' if self.note else "")
        )


def command(system: str, workers: int, steps: int, shards: int, folder: Path) -> list[str]:
    """What starts a run."""
    arguments = [str(steps), str(shards)]
    if system == "plain":
        torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
        return [*torchrun, f"--nproc-per-node={workers}", str(PROGRAMS / "plain.py"), *arguments]
    if system == "torchrun":
        torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
        restarts = [f"--nproc-per-node={workers}", "--max-restarts=3"]
        return [*torchrun, *restarts, str(PROGRAMS / "plain.py"), *arguments, "save"]
    if system == "torchft":
        words = [*arguments, str(workers)]
        return [os.environ["TORCHFT_PYTHON"], str(PROGRAMS / "torchft_replica.py"), *words]
    mode = system.removeprefix("cordee ")
    ours = [sys.executable, "-m", "cordee", "train", "-n", str(workers), "--mode", mode]
    return [*ours, "--folder", str(folder), "--", str(PROGRAMS / "ours.py"), *arguments]


def lines(log: Path) -> list[dict[str, float]]:
    if not log.exists():
        return []
    return [json.loads(line) for line in log.read_text().splitlines() if line.endswith("}")]


def run(
    system: str, workers: int, steps: int, shards: int, fault: str | None
) -> tuple[list[dict[str, float]], float, int, str]:
    """Steps as they were logged, when the fault struck, whom, and the digest of the parameters."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        log = folder / "steps.jsonl"
        environment = os.environ | {
            "STEPS_LOG": str(log),
            "OMP_NUM_THREADS": "1",
            "TORCH_DEVICE_BACKEND_AUTOLOAD": "0",
            "TORCH_DISABLE_SHARE_RDZV_TCP_STORE": "1",  # without it the restart fails half the time
        }
        process = subprocess.Popen(
            command(system, workers, steps, shards, folder),
            env=environment,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        struck_s, victim = 0.0, 0
        end_s = time.time() + 300
        while process.poll() is None:
            if time.time() > end_s:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
                break
            if fault and not victim:
                victim = next(
                    (
                        int(e["pid"])
                        for e in lines(log)
                        if e.get("worker") == 1 and e["step"] >= steps // 3
                    ),
                    0,
                )
                if victim:
                    struck_s = time.time()
                    os.kill(victim, SIGNALS[fault])
            time.sleep(0.005)
        if victim:
            with contextlib.suppress(ProcessLookupError):
                os.kill(victim, signal.SIGKILL)
        found = lines(log)
        digests = {str(e["digest"]) for e in found if "digest" in e}
        return found, struck_s, victim, digests.pop() if len(digests) == 1 else "differ"


def judge(system: str, workers: int, steps: int, shards: int, fault: str, expected: str) -> Seen:
    found, struck_s, victim, digest = run(system, workers, steps, shards, fault)
    made = [e for e in found if "step" in e]
    before = [e for e in made if e["time_s"] < struck_s]
    most = max((e["step"] for e in before), default=-1)
    news = [e for e in made if e["time_s"] > struck_s and e["pid"] != victim and e["step"] > most]
    seen = Seen(system, fault, workers)
    if not news:
        seen.note = "did not go on"
        return seen
    seen.step_s = step_s(before)
    first = min(news, key=lambda e: e["time_s"])
    seen.pause_s = first["time_s"] - struck_s
    seen.pause_steps = seen.pause_s / seen.step_s
    again = {e["step"] for e in made if e["time_s"] > struck_s and e["step"] <= most}
    seen.steps_lost = len(
        [s for s in again if any(e["step"] == s for e in before if e["pid"] != victim)]
    )
    fresh = {e["pid"] for e in before}
    joined = [e["time_s"] for e in made if e["pid"] not in fresh]
    seen.full_s = min(joined) - struck_s if joined else None
    seen.same = digest == expected
    return seen


def step_s(made: Sequence[dict[str, float]]) -> float:
    """The median time of a step, the first ones left out."""
    one = [e["time_s"] for e in made if e["pid"] == made[0]["pid"]][3:]
    return statistics.median(b - a for a, b in itertools.pairwise(one))


@click.command()
@click.option("--workers", default=2)
@click.option("--steps", default=36)
@click.option("--shards", default=4)
@click.option("--rounds", default=3)
@click.option("--torchft", help="A Python that has torchft-nightly, which is then compared, too.")
@click.option("--write/--no-write", default=True)
def main(
    workers: int, steps: int, shards: int, rounds: int, torchft: str | None, write: bool
) -> None:
    os.environ["TORCHFT_PYTHON"] = torchft or ""
    more = [("torchft", "kill"), ("torchft", "stop")] if torchft else []
    steady: dict[str, list[float]] = {}
    digests: dict[str, str] = {}
    for _ in range(rounds):
        for system in ("plain", "cordee fast", "cordee exact", *(["torchft"] if torchft else [])):
            found, _, _, digest = run(system, workers, steps, shards, None)
            digests[system] = digest
            steady.setdefault(system, []).append(step_s([e for e in found if "step" in e]))
    medians = {system: statistics.median(times) for system, times in steady.items()}
    text = f"# benchmarks/recovery.py: {workers} workers, {steps} steps, {shards} shards; medians of {rounds}\n[steady]\n"
    for system, median in medians.items():
        ratio = median / medians["plain"]
        text += f'"{system}" = {{ step_ms = {median * 1e3:.0f}, against_plain = {ratio:.3f} }}\n'
    print(text, flush=True)
    for system, fault in (
        ("cordee exact", "kill"), ("cordee exact", "stop"), ("cordee fast", "kill"),
        ("torchrun", "kill"), *more,
    ):  # fmt: skip
        expected = digests.get(system, digests["plain"])
        runs = [judge(system, workers, steps, shards, fault, expected) for _ in range(rounds)]
        for seen in runs:
            print(seen, flush=True)
        done = [seen for seen in runs if not seen.note]
        middle = sorted(done, key=lambda s: s.pause_s)[len(done) // 2] if done else runs[0]
        middle.same = all(seen.same for seen in runs)
        middle.steps_lost = max(seen.steps_lost for seen in runs)
        if len(done) < len(runs):
            middle.note = f"{len(runs) - len(done)} of {len(runs)} did not go on"
        text += middle.row()
    print(text)
    if write:
        name = "recovery.toml" if workers == 2 else f"recovery-{workers}.toml"
        (HERE / name).write_text(text)


if __name__ == "__main__":
    main()
