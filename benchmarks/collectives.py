"""How fast are the virtual chips' collectives beside gloo's on the same computer?

    python benchmarks/collectives.py [--ranks 2 4 8] [--write]

Both move the same bytes between the same processes, turn by turn: gloo's tensors are on the CPU,
those of HCCL on virtual chips. A size is that of the largest buffer of a rank. A turn is as many
operations one after the other, each waited for, as move some MiB, 16 at most; what counts is the
slowest rank. A message goes to and fro. The figures are medians over turns and their ratio. `--write` puts the table beside this script.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

RESULT = Path(__file__).with_suffix(".md")
SIZES = (4 << 10, 64 << 10, 1 << 20, 16 << 20, 256 << 20)
ENOUGH_S = 1.5  # for one operation at one size
ROUNDS = (3, 40)  # at least, at most


@dataclass(frozen=True)
class Row:
    """One operation at one size among `ranks` ranks: medians in microseconds."""

    name: str
    size_bytes: int
    ranks: int
    hccl_us: float
    gloo_us: float


def operations(
    size_bytes: int, device: str, ranks: int, rank: int
) -> Iterator[tuple[str, Callable]]:
    """Names, and calls that do the operation once on tensors of that device."""
    import torch
    import torch.distributed as dist

    count = size_bytes // 4
    whole = torch.ones(count, device=device)
    other = torch.ones(count, device=device)
    part = torch.ones(count // ranks, device=device)
    group = None if device == "npu" else GLOO[0]
    parts = whole[: count // ranks * ranks]

    def pairs() -> None:
        partner = rank ^ 1
        turns = (dist.send, dist.recv) if rank % 2 == 0 else (dist.recv, dist.send)
        for turn in turns:
            turn(whole, partner, group=group)

    yield "all-reduce", lambda: dist.all_reduce(whole, group=group)
    yield "broadcast", lambda: dist.broadcast(whole, 0, group=group)
    yield "reduce", lambda: dist.reduce(whole, 0, group=group)
    yield "all-gather", lambda: dist.all_gather_into_tensor(parts, part, group=group)
    yield "reduce-scatter", lambda: dist.reduce_scatter_tensor(part, parts, group=group)
    yield "all-to-all", lambda: dist.all_to_all_single(other[: len(parts)], parts, group=group)
    yield "to and fro", pairs


GLOO: list = []


def work() -> None:
    """One rank: measures and, on rank 0, prints a line of JSON per operation and size."""
    import torch
    import torch.distributed as dist

    rank, ranks = int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
    torch.npu.set_device(rank)
    dist.init_process_group("cpu:gloo,npu:hccl")
    GLOO.append(dist.new_group(backend="gloo"))
    for size_bytes in SIZES:
        ours = operations(size_bytes, "npu", ranks, rank)
        theirs = operations(size_bytes, "cpu", ranks, rank)
        for (name, on_chip), (_, on_cpu) in zip(ours, theirs, strict=True):
            row = compare(name, size_bytes, on_chip, on_cpu)
            if rank == 0:
                print("row", json.dumps(row), flush=True)
    dist.destroy_process_group()


def compare(name: str, size_bytes: int, on_chip: Callable, on_cpu: Callable) -> list:
    import torch
    import torch.distributed as dist

    def timed(call: Callable, settle: Callable) -> float:
        dist.barrier(group=GLOO[0])
        start = time.perf_counter()
        for _ in range(repeats):
            call()
            settle()
        took = torch.tensor([(time.perf_counter() - start) / repeats])
        dist.all_reduce(took, dist.ReduceOp.MAX, group=GLOO[0])
        return took.item()

    repeats = max(1, min(16, (4 << 20) // size_bytes))
    hccl: list[float] = []
    gloo: list[float] = []
    for _ in range(2):  # links, mappings and first touch
        timed(on_chip, torch.npu.synchronize)
        timed(on_cpu, lambda: None)
    while len(hccl) < ROUNDS[0] or (
        repeats * (sum(hccl) + sum(gloo)) < ENOUGH_S and len(hccl) < ROUNDS[1]
    ):
        hccl.append(timed(on_chip, torch.npu.synchronize))
        gloo.append(timed(on_cpu, lambda: None))
    return [name, size_bytes, statistics.median(hccl) * 1e6, statistics.median(gloo) * 1e6]


def measure(ranks: int) -> list[Row]:
    command = [
        *(sys.executable, "-m", "cordee", "run", "--virtual", "--chips", str(ranks), "--"),
        *(sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", str(ranks)),
        *("--master-port", "29533", __file__, "--worker"),
    ]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    with tempfile.TemporaryFile("w+") as said:
        done = subprocess.run(
            command, stdout=subprocess.PIPE, stderr=said, text=True, env=environment, check=False
        )
        if done.returncode != 0:
            said.seek(0)
            raise SystemExit(said.read()[-3000:])
    lines = [line for line in done.stdout.splitlines() if line.startswith("row ")]
    return [
        Row(name, size, ranks, ours, theirs) for name, size, ours, theirs in map(_values, lines)
    ]


def _values(line: str) -> list:
    return json.loads(line.removeprefix("row "))


def table(rows: list[Row]) -> str:
    return "\n".join(
        [
            "# Collectives beside gloo",
            "",
            "Written by `python benchmarks/collectives.py --write`. Both sides of a row were measured in",
            "turns in the same processes; times depend on the computer, ratios hardly. Above 1 the virtual",
            "chips are faster.",
            "",
            "| operation | size | ranks | HCCL here / us | gloo / us | gloo / HCCL |",
            "| --- | ---: | ---: | ---: | ---: | ---: |",
            *(
                f"| {row.name} | {_size(row.size_bytes)} | {row.ranks} | {row.hccl_us:.0f} | "
                f"{row.gloo_us:.0f} | {row.gloo_us / row.hccl_us:.2f} |"
                for row in rows
            ),
            "",
        ]
    )


def _size(size_bytes: int) -> str:
    return f"{size_bytes >> 20} MiB" if size_bytes >= 1 << 20 else f"{size_bytes >> 10} KiB"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--ranks", type=int, nargs="+", default=[2, 4, 8])
    parser.add_argument("--write", action="store_true", help="put the table beside this script")
    parser.add_argument("--worker", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.worker:
        work()
        return
    rows = [row for ranks in arguments.ranks for row in measure(ranks)]
    print(table(rows))
    if arguments.write:
        RESULT.write_text(table(rows))


if __name__ == "__main__":
    main()
