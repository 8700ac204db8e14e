"""Does a run in which a worker is killed every 50 steps end with the evaluation loss of an undisturbed one?

python benchmarks/convergence.py [--steps 1000] [--every 50] [--run NAME] [--write]

The GPT of examples/nvidia_gpt, small, on its text: three workers and a spare on the CPU, in `exact` and in `fast` mode,
undisturbed and with one of the members, drawn by lot, killed (SIGKILL) after every 50th step, whatever it is at. Another one
comes in each time. The loss is that over held-out text, after the last step. `--run` makes one of the runs and keeps
its row in a folder, `--kept`, for `--write`, which makes those that are missing and writes convergence.md.
"""

import argparse
import hashlib
import json
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from random import Random
from typing import Any

HERE = Path(__file__).parent
RESULT = Path(__file__).with_suffix(".md")
SHARDS, SEQUENCES, BLOCK = 4, 4, 64
EVALUATED = 64
RUNS = {
    "exact, undisturbed": ("exact", False),
    "exact, killed": ("exact", True),
    "fast, undisturbed": ("fast", False),
    "fast, killed": ("fast", True),
}
"""Of each its mode, and whether workers are killed."""


def program(steps: int) -> None:
    """What each worker runs."""
    sys.path.insert(0, str(HERE.parent / "examples" / "nvidia_gpt"))
    import torch
    from corpus import batch, load
    from model import GPT, GPTConfig

    import cordee.train as ct

    torch.manual_seed(1337)
    vocabulary, text, held_out = load()
    model = GPT(GPTConfig(len(vocabulary), BLOCK, n_layer=2, n_head=4, n_embd=64))
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3, betas=(0.9, 0.95))
    decay = torch.optim.lr_scheduler.OneCycleLR(optimizer, 3e-3, steps, pct_start=0.1)
    training = ct.Training(model, optimizer, shards=SHARDS, clip=1.0, schedulers=[decay])
    for step in training.steps(steps):
        for shard in step:
            x, y = batch(text, SEQUENCES, BLOCK, 1337 + step.number * SHARDS + shard)
            step.backward(model(x, y)[1])
    made = hashlib.sha256()
    for value in model.state_dict().values():
        made.update(value.numpy().tobytes())
    model.eval()
    with torch.no_grad():
        losses = [model(*batch(held_out, SEQUENCES, BLOCK, n))[1].item() for n in range(EVALUATED)]
    told = {"loss": statistics.fmean(losses), "digest": made.hexdigest()[:16]}
    print(json.dumps(told), flush=True)


@dataclass(frozen=True)
class Row:
    """What a run showed."""

    name: str
    kills: int
    came: int
    """Workers that came in later."""
    steps: int
    """That were committed, each once."""
    pause_s: float
    """The median one, from the loss to the next step that was committed."""
    took_s: float
    loss: float
    digest: str


class Journal:
    """What a job has told so far."""

    def __init__(self, folder: Path) -> None:
        self._file, self._read, self.events = folder / "events.jsonl", 0, list[dict[str, Any]]()

    def of(self, kind: str) -> list[dict[str, Any]]:
        return [event for event in self.events if event["kind"] == kind]

    def look(self) -> None:
        """Read on."""
        if not self._file.exists():
            return
        with self._file.open("rb") as file:
            file.seek(self._read)
            whole = file.read()
        whole = whole[: whole.rfind(b"\n") + 1]
        self._read += len(whole)
        self.events += [json.loads(line) for line in whole.splitlines()]


def made(name: str, steps: int, every: int) -> Row:
    """Make a run."""
    mode, killed = RUNS[name]
    with tempfile.TemporaryDirectory() as name_of:
        folder = Path(name_of)
        command = [sys.executable, "-m", "cordee", "train", "-n", "3", "--spares", "1"]
        command += ["--mode", mode, "--folder", name_of, "--page", "off"]
        began_s = time.monotonic()
        job = subprocess.Popen(
            [*command, "--", __file__, "--steps", str(steps), "--program"],
            stdout=subprocess.DEVNULL,
            env=os.environ | {"TORCH_DEVICE_BACKEND_AUTOLOAD": "0"},
        )
        journal, kills, draw = Journal(folder), 0, Random(0)
        while job.poll() is None:
            journal.look()
            committed = len(journal.of("commit"))
            if killed and kills * every + every <= committed < steps:
                kills += _killed(journal, draw)
            time.sleep(0.005)
        took_s = time.monotonic() - began_s
        if job.returncode != 0:
            raise SystemExit(f"{name}: the job failed")
        journal.look()
        told = {
            line
            for log in folder.glob("worker-*.log")
            for line in log.read_text().splitlines()
            if "digest" in line
        }
    if len(told) != 1:
        raise SystemExit(f"{name}: members do not agree: {told}")
    return row(name, journal, kills, took_s, json.loads(told.pop()))


def _killed(journal: Journal, draw: Random) -> int:
    """Kill one of the members."""
    members = journal.of("epoch")[-1]["members"]
    victim = draw.choice(members)
    pids = {event["worker"]: event["pid"] for event in journal.of("worker")}
    try:
        os.kill(pids[victim], signal.SIGKILL)
    except ProcessLookupError:  # it has only just been lost
        return 0
    return 1


def row(name: str, journal: Journal, kills: int, took_s: float, told: dict[str, Any]) -> Row:
    pauses = [event["pause_s"] for event in journal.of("recovered")]
    steps = [event["step"] for event in journal.of("commit")]
    if steps != list(range(len(steps))):
        raise SystemExit(f"{name}: steps are lost or were made twice")
    members = [set(event["members"]) for event in journal.of("epoch")]
    return Row(
        name,
        kills,
        len(set.union(*members) - members[0]),
        len(steps),
        statistics.median(pauses) if pauses else 0.0,
        took_s,
        told["loss"],
        told["digest"],
    )


def table(rows: list[Row], every: int) -> str:
    count = rows[0].steps
    head = (
        f"# {count} steps, undisturbed and with a member killed every {every}\n\n"
        f"Three workers and a spare on {os.cpu_count()} cores, shared with other work. Written by "
        "`python benchmarks/convergence.py --write`.\n\n"
        "| run | kills | came in | steps | median pause | evaluation loss | parameters |\n"
        "| --- | ---: | ---: | ---: | ---: | ---: | --- |\n"
    )
    lines = [
        f"| {r.name} | {r.kills} | {r.came} | {r.steps} | {_pause(r)} | {r.loss:.7f} | `{r.digest}` |\n"
        for r in rows
    ]
    return head + "".join(lines)


def _pause(row: Row) -> str:
    return f"{row.pause_s:.2f} s" if row.kills else "-"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=1000)
    parser.add_argument("--every", type=int, default=50)
    parser.add_argument("--run", choices=RUNS)
    parser.add_argument("--kept", type=Path, default=Path(tempfile.gettempdir()) / "convergence")
    parser.add_argument("--write", action="store_true")
    parser.add_argument("--program", action="store_true", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.program:
        program(args.steps)
        return
    args.kept.mkdir(exist_ok=True)
    for name in [args.run] if args.run else RUNS:
        kept = args.kept / f"{name}.json"
        if args.run or not kept.exists():
            kept.write_text(json.dumps(asdict(made(name, args.steps, args.every))))
        print(kept.read_text())
    if args.write:
        found = [Row(**json.loads((args.kept / f"{name}.json").read_text())) for name in RUNS]
        RESULT.write_text(table(found, args.every), "utf-8")


if __name__ == "__main__":
    main()
