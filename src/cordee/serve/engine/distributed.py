"""The chips of a tensor-parallel group as processes, joined by torch.distributed.

Rank 0 has the requests. It tells the others the rows of each step, and all of them walk through the decoder side by
side: gloo between hosts' memories, NCCL and HCCL between chips.
"""

from collections.abc import Sequence
from datetime import timedelta
from typing import Generic

import numpy as np
import torch
import torch.distributed as dist
from numpy.typing import NDArray

from cordee.serve.engine.decoder import Decoder
from cordee.serve.engine.operators.table import A, C, Cache, Rows, W

BACKENDS = {"cpu": "gloo", "cuda": "cpu:gloo,cuda:nccl", "ascend": "cpu:gloo,npu:hccl"}
STORE, RANK = "CORDEE_STORE", "CORDEE_RANK"
JOIN_S = 120
LOGITS, STATES, READ, WRITE = range(4)
MOST_ARRAYS = 5


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

    def tell(self, kind: int, arrays: Sequence[NDArray[np.int32]], width: int = 0) -> None:
        """Rank 0: what is to be done next. `width`: of an array that has two axes."""
        head = torch.zeros(2 + MOST_ARRAYS, dtype=torch.int64)
        sizes = [kind, width, *(array.size for array in arrays)]
        head[: len(sizes)] = torch.tensor(sizes)
        dist.broadcast(head, 0)
        flat = np.concatenate([array.ravel() for array in arrays])
        dist.broadcast(torch.from_numpy(flat), 0)

    def told(self) -> tuple[int, list[NDArray[np.int32]], int]:
        """The others: wait for what `tell` says."""
        head = torch.zeros(2 + MOST_ARRAYS, dtype=torch.int64)
        dist.broadcast(head, 0)
        kind, width, *sizes = (int(number) for number in head)
        flat = torch.zeros(sum(sizes), dtype=torch.int32)
        dist.broadcast(flat, 0)
        return kind, np.split(flat.numpy(), np.cumsum(sizes)[:-1]), width

    def spread(
        self, whole: NDArray[np.float32] | None, shape: Sequence[int]
    ) -> NDArray[np.float32]:
        """This chip's part [..., width] of what rank 0 has [..., count width]. `shape`: that of the part."""
        *axes, width = shape
        floats = torch.zeros(*axes, self.count * width)
        if whole is not None:
            floats.copy_(torch.from_numpy(whole))
        dist.broadcast(floats, 0)
        return floats.numpy()[..., self.rank * width : (self.rank + 1) * width]


class Leader(Decoder[A, W, C], Generic[A, W, C]):
    """The decoder of rank 0: every step is told to the others before it is made."""

    group: Distributed

    def logits(self, rows: Rows, cache: C) -> NDArray[np.float32]:
        self._tell_rows(LOGITS, rows)
        return super().logits(rows, cache)

    def states(self, rows: Rows, cache: C) -> NDArray[np.float32]:
        self._tell_rows(STATES, rows)
        return super().states(rows, cache)

    def read_blocks(self, cache: C, numbers: Sequence[int]) -> NDArray[np.float32]:
        self.group.tell(READ, [np.array(numbers, np.int32)])
        return self.group.gather(super().read_blocks(cache, numbers))

    def write_blocks(self, cache: C, numbers: Sequence[int], floats: NDArray[np.float32]) -> None:
        self.group.tell(WRITE, [np.array(numbers, np.int32)])
        own = self.group.spread(floats, _shape(cache, numbers))
        super().write_blocks(cache, numbers, own)

    def _tell_rows(self, kind: int, rows: Rows) -> None:
        arrays = [rows.ids, rows.positions, rows.sequence, rows.tables, rows.wanted]
        self.group.tell(kind, arrays, rows.tables.shape[1])


def follow(decoder: Decoder[A, W, C], cache: C, group: Distributed) -> None:
    """Do what rank 0 tells, as long as it is there."""
    while True:
        try:
            kind, (first, *more), width = group.told()
        except RuntimeError:  # its sockets are closed
            return
        numbers = first.tolist()
        if kind == READ:
            group.gather(decoder.read_blocks(cache, numbers))
        elif kind == WRITE:
            decoder.write_blocks(cache, numbers, group.spread(None, _shape(cache, numbers)))
        else:
            positions, sequence, tables, wanted = more
            rows = Rows(first, positions, sequence, tables.reshape(-1, width), wanted)
            (decoder.logits if kind == LOGITS else decoder.states)(rows, cache)


def _shape(cache: Cache, numbers: Sequence[int]) -> tuple[int, ...]:
    return (len(numbers), *cache.block(0).shape)
