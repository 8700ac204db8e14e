"""What does it take to have many virtual chips on one computer: time to start, memory a rank?

    python benchmarks/many_ranks.py [--ranks 8 64] [--write]

On the chips eight are on a node, as torch_npu takes at most 32 in a process. As many processes as
ranks import PyTorch, join, train a tiny model for two steps and end; once on
virtual chips with HCCL, once on the CPU with gloo. Times depend on the computer and on what else runs
there; the ratio says what the chips add. Memory is the proportional set size: shared pages are
divided among those who share them. `--write` puts the table beside this script.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

RESULT = Path(__file__).with_suffix(".md")
MEBIBYTE = 1 << 20
ON_A_NODE = 8


@dataclass(frozen=True)
class Side:
    """One run: seconds from its start until a moment, the slowest rank's; memory a rank."""

    joined_s: float
    reduced_s: float
    ended_s: float
    memory_bytes: float


def proportional_bytes() -> int:
    text = Path("/proc/self/smaps_rollup").read_text()
    line = next(line for line in text.splitlines() if line.startswith("Pss:"))
    return int(line.split()[1]) << 10


def work() -> None:
    """One rank: prints when it joined and reduced, and its memory, as a line of JSON."""
    rank, ranks = int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
    device = os.environ["DEVICE"]
    os.environ["CORDEE_NODE"] = str(rank // ON_A_NODE)  # before torch_npu counts its chips

    import torch
    import torch.distributed as dist

    if device == "npu":
        torch.npu.set_device(rank % ON_A_NODE)
    dist.init_process_group("hccl" if device == "npu" else "gloo")
    joined = time.time()
    x = torch.ones(1000, device=device)
    dist.all_reduce(x)
    assert (x.cpu() == ranks).all()
    reduced = time.time()
    torch.manual_seed(0)
    model = torch.nn.parallel.DistributedDataParallel(torch.nn.Linear(16, 16).to(device))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    for _ in range(2):
        model(torch.full((2, 16), float(rank), device=device)).sum().backward()
        optimizer.step()
        optimizer.zero_grad()
    total = model.module.weight.double().sum() if device == "cpu" else model.module.weight.sum()
    assert total.isfinite().item()
    dist.barrier()
    print("rank " + json.dumps([joined, reduced, proportional_bytes()]) + "\n", end="", flush=True)
    dist.barrier()
    dist.destroy_process_group()


def measure(ranks: int, device: str) -> Side:
    torchrun = [
        *(sys.executable, "-m", "torch.distributed.run", "--standalone"),
        *("--nproc-per-node", str(ranks), __file__, "--worker"),
    ]
    on_chips = [
        *(sys.executable, "-m", "cordee", "run", "--virtual", "--chips", str(ranks)),
        *("--nodes", str(ranks // ON_A_NODE), "--"),
    ]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "DEVICE": device}
    if device == "cpu":
        environment["TORCH_DEVICE_BACKEND_AUTOLOAD"] = "0"
    began = time.time()
    done = subprocess.run(
        [*(on_chips if device == "npu" else []), *torchrun],
        capture_output=True,
        text=True,
        env=environment,
        check=False,
    )
    ended_s = time.time() - began
    found = [line for line in done.stdout.splitlines() if line.startswith("rank [")]
    if done.returncode != 0 or len(found) != ranks:
        raise SystemExit(
            f"{len(found)} of {ranks} ranks on {device} ended well: {done.stderr[-3000:]}"
        )
    rows = [json.loads(line.removeprefix("rank ")) for line in found]
    return Side(
        joined_s=max(row[0] for row in rows) - began,
        reduced_s=max(row[1] for row in rows) - began,
        ended_s=ended_s,
        memory_bytes=statistics.median(row[2] for row in rows),
    )


def table(results: dict[int, tuple[Side, Side]]) -> str:
    lines = [
        "# Many ranks on one computer",
        "",
        "Written by `python benchmarks/many_ranks.py --write`. Seconds of the slowest rank from the start",
        "of `torchrun` on; most of it is Python importing PyTorch, and torch_npu on the chips, once a rank",
        f"on {os.cpu_count()} cores.",
        "",
        "| ranks | on | joined / s | first all-reduce done / s | all ended / s | memory a rank / MiB |",
        "| ---: | --- | ---: | ---: | ---: | ---: |",
    ]
    for ranks, sides in results.items():
        for name, side in zip(("virtual chips", "the CPU, gloo"), sides, strict=True):
            lines.append(
                f"| {ranks} | {name} | {side.joined_s:.0f} | {side.reduced_s:.0f} | "
                f"{side.ended_s:.0f} | {side.memory_bytes / MEBIBYTE:.0f} |"
            )
        chips, cpu = sides
        lines.append(
            f"| {ranks} | ratio | {chips.joined_s / cpu.joined_s:.2f} | "
            f"{chips.reduced_s / cpu.reduced_s:.2f} | {chips.ended_s / cpu.ended_s:.2f} | "
            f"{chips.memory_bytes / cpu.memory_bytes:.2f} |"
        )
    return "\n".join([*lines, ""])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--ranks", type=int, nargs="+", default=[8, 64])
    parser.add_argument("--write", action="store_true", help="put the table beside this script")
    parser.add_argument("--worker", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.worker:
        work()
        return
    results = {ranks: (measure(ranks, "npu"), measure(ranks, "cpu")) for ranks in arguments.ranks}
    print(table(results))
    if arguments.write:
        RESULT.write_text(table(results))


if __name__ == "__main__":
    main()
