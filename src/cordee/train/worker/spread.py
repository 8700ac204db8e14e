"""Tensors of which a worker has only a part: PyTorch's DTensor, told apart without loading that."""

from collections.abc import Sequence
from typing import Any

from torch import Tensor


def part_of(tensor: Tensor) -> Tensor:
    """What this worker has of a tensor; all of it where it is an ordinary one."""
    part: Tensor = getattr(tensor, "_local_tensor", tensor)
    return part


def is_spread(tensor: Tensor) -> bool:
    return hasattr(tensor, "_local_tensor")


def begins(tensor: Any) -> tuple[int, ...]:
    """Where this worker's part of a tensor begins in it; nothing where it has all, or none.

    As PyTorch tells it to its own checkpoints (torch/distributed/tensor/_api.py, `DTensor.__create_chunk_list__`).
    """
    if not is_spread(tensor):
        return ()
    chunks = tensor.__create_chunk_list__()
    return tuple(chunks[0].offsets) if len(chunks) == 1 else ()


def like(part: Tensor, other: Any) -> Tensor:
    """A tensor of which this is the part, spread as another one is; the part itself where that has all."""
    if not is_spread(other):
        return part
    made: Tensor = type(other).from_local(
        part,
        other.device_mesh,
        other.placements,
        run_check=False,
        shape=other.shape,
        stride=other.stride(),
    )
    return made


def share(tensor: Any, copies: int) -> float:
    """The part of a number's square that this worker counts, so that all that have it count it once.

    `copies`: so many workers would have an ordinary tensor.
    """
    if is_spread(tensor):
        sizes: Sequence[int] = tensor.device_mesh.shape
        for size, placement in zip(sizes, tensor.placements, strict=True):
            if placement.is_shard():
                copies //= size
    return 1.0 / max(1, copies)
