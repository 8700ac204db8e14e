"""Groups for weak links, whatever the device: what is exchanged goes by way of the host's memory."""

from collections.abc import Sequence

from torch import Tensor

from cordee.train.worker.gloo import Gloo
from cordee.train.worker.groups import Group


class Hosted:
    """Groups of gloo that take tensors of any device."""

    def __init__(self, hosts: Sequence[str]) -> None:
        self._groups = Gloo(hosts)

    def form(self, epoch: int, rank: int, stores: Sequence[str]) -> Group:
        return _Copying(self._groups.form(epoch, rank, stores))

    def over(self, way: int) -> None:
        self._groups.over(way)

    def free(self, epoch: int) -> None:
        self._groups.free(epoch)

    def drop(self) -> None:
        self._groups.drop()

    def moved_bytes(self) -> int:
        return self._groups.moved_bytes()

    def answers(self, most_s: float) -> bool:
        return True


class _Copying:
    """A group that copies what is not on the host."""

    def __init__(self, group: Group) -> None:
        self._group = group
        self.rank, self.size = group.rank, group.size

    def all_to_all(
        self, data: Tensor, out: Tensor, received: Sequence[int], sent: Sequence[int]
    ) -> Sequence[Tensor]:
        found = self._group.all_to_all(data.cpu(), out.cpu(), received, sent)
        return [part.to(out.device) for part in found]

    def all_gather(self, data: Tensor, out: Tensor, ranks: Sequence[int] = ()) -> None:
        host = out.cpu()
        self._group.all_gather(data.cpu(), host, ranks)
        if host is not out:
            out.copy_(host)

    def all_reduce(self, data: Tensor) -> None:
        host = data.cpu()
        self._group.all_reduce(host)
        if host is not data:
            data.copy_(host)

    def broadcast(self, data: Tensor, source: int) -> None:
        host = data.cpu()
        self._group.broadcast(host, source)
        if host is not data:
            data.copy_(host)
