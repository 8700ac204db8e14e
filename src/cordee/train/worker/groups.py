"""Process groups, one for each epoch, that can be freed while they are stuck."""

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

from torch import Tensor
from torch._C._distributed_c10d import ProcessGroup, Work


class Group(Protocol):
    """The members of an epoch, joined."""

    rank: int
    size: int

    def all_to_all(
        self, data: Tensor, out: Tensor, received: Sequence[int], sent: Sequence[int]
    ) -> Sequence[Tensor]:
        """[sum of `received`] from [sum of `sent`]: `sent[r]` numbers to r, `received[r]` from r.

        Gives what came from each; its own may lie in `data`.
        """

    def all_gather(self, data: Tensor, out: Tensor, ranks: Sequence[int] = ()) -> None:
        """[ranks * n] from the [n] of each of these, none: of all; it may lie in `out` where it is to be."""

    def all_reduce(self, data: Tensor) -> None:
        """Sum into `data` on all."""

    def broadcast(self, data: Tensor, source: int) -> None:
        """`data` of the member with the rank `source` on all."""


@runtime_checkable
class Summing(Group, Protocol):
    """A group that can sum something up while the program computes."""

    def sum_later(self, data: Tensor) -> Work:
        """Begin to sum into `data` on all."""

    def ended(self, work: Work) -> None:
        """Wait for that. Raises `RuntimeError`."""


class Alone:
    """A group of one."""

    rank, size = 0, 1

    def all_to_all(
        self, data: Tensor, out: Tensor, received: Sequence[int], sent: Sequence[int]
    ) -> Sequence[Tensor]:
        return [data]

    def all_gather(self, data: Tensor, out: Tensor, ranks: Sequence[int] = ()) -> None:
        if data.data_ptr() != out.data_ptr():
            out.copy_(data)

    def all_reduce(self, data: Tensor) -> None:
        pass

    def broadcast(self, data: Tensor, source: int) -> None:
        pass


class Joined:
    """A group of PyTorch's."""

    def __init__(self, group: ProcessGroup) -> None:
        self.group = group
        self.rank, self.size = group.rank(), group.size()

    def all_to_all(
        self, data: Tensor, out: Tensor, received: Sequence[int], sent: Sequence[int]
    ) -> Sequence[Tensor]:
        self.wait([self.group.alltoall_base(out, data, list(received), list(sent))])
        parts: Sequence[Tensor] = out.split(list(received))
        return parts

    def all_gather(self, data: Tensor, out: Tensor, ranks: Sequence[int] = ()) -> None:
        if ranks:
            each = out.numel() // len(ranks)
            given = data.repeat(self.size if self.rank in ranks else 0)
            received = [each if rank in ranks else 0 for rank in range(self.size)]
            self.all_to_all(given, out, received, [given.numel() // self.size] * self.size)
            return
        lies_there = out.data_ptr() <= data.data_ptr() < out.data_ptr() + out.nbytes
        self.wait([self.group._allgather_base(out, data.clone() if lies_there else data)])

    def all_reduce(self, data: Tensor) -> None:
        self.wait([self.group.allreduce([data])])

    def broadcast(self, data: Tensor, source: int) -> None:
        self.wait([self.group.broadcast(data, source)])

    def wait(self, works: Sequence[Work]) -> None:
        """Until they have ended. Raises `RuntimeError`."""
        for work in works:
            work.wait()


class Groups(Protocol):
    """Makes groups of one kind."""

    def form(self, epoch: int, rank: int, stores: Sequence[str]) -> Group:
        """Join the others of an epoch. Raises `RuntimeError` where one is gone, or it was freed."""

    def over(self, way: int) -> None:
        """Groups that are formed from now on use this one of the host's addresses, where the kind of group has a choice."""

    def free(self, epoch: int) -> None:
        """Let what is stuck in a group of an earlier epoch fail. From any thread."""

    def drop(self) -> None:
        """The group is used no more."""

    def moved_bytes(self) -> int:
        """What has come and gone between this worker and the others of its group; -1: not known. From any thread."""

    def answers(self, most_s: float) -> bool:
        """Whether the device does what it is given, in that time. From any thread."""
