"""The chips of a tensor-parallel group as processes, joined by torch.distributed.

Rank 0 has the requests. It tells the others the rows of each step, and all of them walk through the decoder side by
side: gloo between hosts' memories, NCCL and HCCL between chips.
"""

import os
import socket
import subprocess
from collections.abc import Sequence
from datetime import timedelta
from typing import Generic

import numpy as np
import torch
import torch.distributed as dist
from numpy.typing import NDArray

from cordee.serve.engine.decoder import Decoder
from cordee.serve.engine.operators.table import A, C, Rows, W

BACKENDS = {"cpu": "gloo", "cuda": "cpu:gloo,cuda:nccl", "ascend": "cpu:gloo,npu:hccl"}
STORE, RANK = "CORDEE_STORE", "CORDEE_RANK"
JOIN_S = 120
END, LOGITS, STATES = 0, 1, 2


class Distributed:
    """This process's place in the group."""

    def __init__(self, rank: int, count: int, device: str, store: str) -> None:
        """Join the others at `store`, an address such as 127.0.0.1:29500."""
        self.rank, self.count = rank, count
        host, _, port = store.rpartition(":")
        wait = timedelta(seconds=JOIN_S)
        made = dist.TCPStore(host, int(port), count, rank == 0, timeout=wait)  # type: ignore[attr-defined]
        dist.init_process_group(BACKENDS[device], store=made, rank=rank, world_size=count)

    def gather(self, part: NDArray[np.float32]) -> NDArray[np.float32]:
        """[rows, width] of each chip to [rows, count width], by way of the hosts' memories."""
        return self.gather_tensor(torch.from_numpy(np.ascontiguousarray(part))).numpy()

    def gather_tensor(self, part: torch.Tensor) -> torch.Tensor:
        """The same where the tensors lie."""
        parts = [torch.empty_like(part) for _ in range(self.count)]
        dist.all_gather(parts, part.contiguous())
        return torch.cat(parts, dim=-1)

    def tell(self, kind: int, rows: Rows | None) -> None:
        """Rank 0: what the next step is."""
        arrays = [] if rows is None else _arrays(rows)
        width = 0 if rows is None else rows.tables.shape[1]
        sizes = [kind, width, *(array.size for array in arrays)]
        head = torch.zeros(7, dtype=torch.int64)
        head[: len(sizes)] = torch.tensor(sizes)
        dist.broadcast(head, 0)
        if arrays:
            flat = np.concatenate([array.ravel() for array in arrays])
            dist.broadcast(torch.from_numpy(flat), 0)

    def told(self) -> tuple[int, Rows | None]:
        """The others: wait for the next step."""
        head = torch.zeros(7, dtype=torch.int64)
        dist.broadcast(head, 0)
        kind, width, *sizes = (int(number) for number in head)
        if kind == END:
            return kind, None
        flat = torch.zeros(sum(sizes), dtype=torch.int32)
        dist.broadcast(flat, 0)
        ids, positions, sequence, tables, wanted = np.split(flat.numpy(), np.cumsum(sizes)[:-1])
        return kind, Rows(ids, positions, sequence, tables.reshape(-1, width), wanted)


class Leader(Decoder[A, W, C], Generic[A, W, C]):
    """The decoder of rank 0: every step is told to the others before it is made."""

    group: Distributed

    def logits(self, rows: Rows, cache: C) -> NDArray[np.float32]:
        self.group.tell(LOGITS, rows)
        return super().logits(rows, cache)

    def states(self, rows: Rows, cache: C) -> NDArray[np.float32]:
        self.group.tell(STATES, rows)
        return super().states(rows, cache)


def follow(decoder: Decoder[A, W, C], cache: C, group: Distributed) -> None:
    """Make the steps that rank 0 tells, until it ends."""
    while True:
        kind, rows = group.told()
        if rows is None:
            return
        if kind == LOGITS:
            decoder.logits(rows, cache)
        else:
            decoder.states(rows, cache)


def start_followers(count: int, command: Sequence[str]) -> list["subprocess.Popen[bytes]"]:
    """Start a command once for each other rank; they end with this process."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        store = f"127.0.0.1:{free.getsockname()[1]}"
    os.environ[STORE], os.environ[RANK] = store, "0"
    return [
        subprocess.Popen(command, env={**os.environ, RANK: str(rank)}, stdout=subprocess.DEVNULL)
        for rank in range(1, count)
    ]


def _arrays(rows: Rows) -> list[NDArray[np.int32]]:
    return [rows.ids, rows.positions, rows.sequence, rows.tables, rows.wanted]
