"""How long is a job away when all its workers are killed at once, and what does it cost to be ready for that?

    python benchmarks/last_resort.py [--steps 30] [--write]

A GPT of 10 million parameters with AdamW, on two workers on the CPU: undisturbed without anything kept, with the
state of each step kept in shared memory, and with checkpoints every ten steps; then with all workers killed, and
with the launcher killed too. Times are those of the journal. `--write` puts the table into last_resort.md.
"""

import argparse
import itertools
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cordee.core.events import read

RESULT = Path(__file__).with_suffix(".md")
KILLED_AT = 12
VOCABULARY, WIDTH, LAYERS, LENGTH = 4096, 384, 4, 64


def program(steps: int) -> None:
    """What each worker runs."""
    import hashlib

    import torch
    import torch.nn.functional as F
    from torch import nn

    import cordee.train as ct

    torch.manual_seed(0)
    layer = nn.TransformerEncoderLayer(WIDTH, 6, 4 * WIDTH, 0.0, "gelu", batch_first=True)
    model = nn.Sequential(
        nn.Embedding(VOCABULARY, WIDTH),
        nn.TransformerEncoder(layer, LAYERS, enable_nested_tensor=False),
        nn.Linear(WIDTH, VOCABULARY),
    )
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4)
    training = ct.Training(model, optimizer, shards=4, mode="exact")
    for step in training.steps(steps):
        for shard in step:
            generator = torch.Generator().manual_seed(1000 * step.number + shard)
            x = torch.randint(0, VOCABULARY, (2, LENGTH + 1), generator=generator)
            scores = model(x[:, :-1])
            loss = F.cross_entropy(scores.reshape(-1, VOCABULARY), x[:, 1:].reshape(-1))
            step.backward(loss)
    made = hashlib.sha256()
    for value in model.state_dict().values():
        made.update(value.numpy().tobytes())
    print("parameters", sum(p.numel() for p in model.parameters()), "digest", made.hexdigest()[:16])


@dataclass(frozen=True)
class Run:
    """A job that was run, as its journal tells of it."""

    folder: Path

    @property
    def events(self) -> list[dict[str, Any]]:
        file = self.folder / "events.jsonl"
        return list(read(file)) if file.exists() else []

    def of(self, kind: str) -> list[dict[str, Any]]:
        return [event for event in self.events if event["kind"] == kind]

    @property
    def step_s(self) -> float:
        """The median step, once all are at work."""
        times = [event["time_s"] for event in self.of("commit")][3:]
        return statistics.median(b - a for a, b in itertools.pairwise(times))

    @property
    def digests(self) -> set[str]:
        logs = (log.read_text().split() for log in self.folder.glob("worker-*.log"))
        return {words[-1] for words in logs if "digest" in words}

    def after(self, kind: str, since_s: float) -> dict[str, Any]:
        return next(event for event in self.of(kind) if event["time_s"] > since_s)


def started(folder: Path, steps: int, *options: str) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "cordee", "train", "-n", "2", "--folder", str(folder)]
    return subprocess.Popen(
        [*command, *options, "--", __file__, "--steps", str(steps), "--program"],
        stdout=subprocess.DEVNULL,
        start_new_session=True,
    )


def whole(folder: Path, steps: int, *options: str) -> Run:
    """A job run to its end."""
    if started(folder, steps, *options).wait() != 0:
        raise SystemExit(f"the job failed: {folder}")
    return Run(folder)


def at_step(run: Run, step: int) -> None:
    """Wait until it is made."""
    while len(run.of("commit")) <= step:
        time.sleep(0.02)


def all_workers_killed(folder: Path, steps: int) -> tuple[Run, float, float]:
    """A run, how long from the kill until there is a state, and until the next step is made."""
    job, run = started(folder, steps), Run(folder)
    at_step(run, KILLED_AT)
    killed_s = time.time()
    for event in run.of("worker"):
        os.kill(event["pid"], signal.SIGKILL)
    if job.wait() != 0:
        raise SystemExit(f"the job failed: {folder}")
    return (
        run,
        run.after("resumed", killed_s)["time_s"] - killed_s,
        run.after("commit", run.after("resumed", killed_s)["time_s"])["time_s"] - killed_s,
    )


def all_killed(folder: Path, steps: int) -> tuple[Run, float, float]:
    """Likewise with the launcher; from when the new workers have imported all that they need."""
    options = ("--checkpoint", str(folder / "kept"), "--checkpoint-every", "1000")
    job, run = started(folder, steps, *options), Run(folder)
    at_step(run, KILLED_AT)
    job.kill()
    job.wait()
    again_s = time.time()
    whole(folder, steps, *options)
    born_s = run.after("worker", again_s)["time_s"]
    resumed_s = run.after("resumed", again_s)["time_s"]
    return run, resumed_s - born_s, run.after("commit", resumed_s)["time_s"] - born_s


def table(steps: int, folder: Path) -> str:
    off = whole(folder / "off", steps, "--keep-every", "0")
    memory = whole(folder / "memory", steps)
    disk = ("--keep-every", "0", "--checkpoint", str(folder / "kept"), "--checkpoint-every", "10")
    on_disk = whole(folder / "disk", steps, *disk)
    workers, workers_s, workers_step_s = all_workers_killed(folder / "workers", steps)
    killed, killed_s, killed_step_s = all_killed(folder / "all", steps)
    same = {True: "the same", False: "OTHERS"}[
        len({d for run in (off, memory, on_disk, workers, killed) for d in run.digests}) == 1
    ]
    written = [event["took_s"] for event in on_disk.of("checkpoint") if "took_s" in event]
    gone = [run.after("resumed", 0)["step"] for run in (workers, killed)]
    size = next((folder / "kept").glob("step-*/*.safetensors")).stat().st_size
    rows = [
        ("median step, nothing kept", f"{off.step_s:.3f} s"),
        ("median step, state of each step in shared memory", f"{memory.step_s:.3f} s"),
        ("median step, a checkpoint every 10 steps", f"{on_disk.step_s:.3f} s"),
        ("a state", f"{size / 1e6:.0f} MB"),
        ("a checkpoint is written in, in the background", f"{statistics.median(written):.2f} s"),
        ("all workers killed: until new ones have the state", f"{workers_s:.2f} s"),
        ("all workers killed: until the next step is made", f"{workers_step_s:.2f} s"),
        (
            "launcher killed too: from the first new worker's start until they have it",
            f"{killed_s:.2f} s",
        ),
        ("launcher killed too: until the next step is made", f"{killed_step_s:.2f} s"),
        (f"goes on at step, killed after step {KILLED_AT}", " and ".join(map(str, gone))),
        ("parameters at the end, of all runs", same),
    ]
    head = f"# All workers of a job are killed at once\n\n| 2 workers, {os.cpu_count()} cores | |\n| --- | ---: |\n"
    return head + "".join(f"| {what} | {value} |\n" for what, value in rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=30)
    parser.add_argument("--write", action="store_true")
    parser.add_argument("--program", action="store_true", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.program:
        program(args.steps)
        return
    with tempfile.TemporaryDirectory() as folder:
        text = table(args.steps, Path(folder))
    print(text, end="")
    if args.write:
        RESULT.write_text(text, "utf-8")


if __name__ == "__main__":
    main()
