"""Groups on the CPU: gloo's, freed by shutting their sockets."""

import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import timedelta
from typing import Any, cast

import torch
from torch import Tensor
from torch._C._distributed_c10d import (
    PrefixStore,
    ProcessGroup,
    ProcessGroupGloo,
    Work,
)

from cordee.train.worker.aside import aside
from cordee.train.worker.groups import Alone, Group, Joined
from cordee.train.worker.patience import GRACE_S, LOOK_S, Patience
from cordee.train.worker.sockets import moved_bytes, opened, shut, sockets
from cordee.train.worker.store import GROUP_S, reached

LOOPBACK = "127.0.0.1"
_left: list[ProcessGroup] = []
"""Groups that are stuck for good: to take them apart would be to wait for them."""


class _Pairs(Joined):
    """A group whose exchanges go from each member to each: gloo's own all-gather takes four times as long."""

    def __init__(self, group: ProcessGroup, freed: Callable[[], bool], patience: Patience) -> None:
        super().__init__(group)
        self._freed, self._patience = freed, patience
        self._end_s = 0.0
        """By then sums that were freed have ended, or never will."""

    def wait(self, works: Sequence[Work]) -> None:
        if not self._patience.wait(works, self._freed):
            _left.append(self.group)
            raise RuntimeError("a collective was freed")

    def sum_later(self, data: Tensor) -> Work:
        return self.group.allreduce([data])

    def ended(self, work: Work) -> None:
        while not work.is_completed():
            with suppress(RuntimeError):  # it has not ended yet, or has failed
                work.wait(timedelta(seconds=LOOK_S))
            if not self._end_s and self._freed():
                self._end_s = time.monotonic() + GRACE_S
            if self._end_s and time.monotonic() > self._end_s and not work.is_completed():
                _left.append(self.group)
                raise RuntimeError("a collective was freed")
        work.wait()

    def all_to_all(
        self, data: Tensor, out: Tensor, received: Sequence[int], sent: Sequence[int]
    ) -> Sequence[Tensor]:
        pieces = data.split(list(sent))
        taken = list(out.split(list(received)))
        self._exchange(pieces, taken)
        taken[self.rank] = pieces[self.rank]
        return taken

    def all_gather(self, data: Tensor, out: Tensor, ranks: Sequence[int] = ()) -> None:
        givers = ranks or range(self.size)
        parts = dict(zip(givers, out.chunk(len(givers)), strict=True))
        own = parts.get(self.rank, data)
        if own.data_ptr() != data.data_ptr():
            own.copy_(data)
        given = data if self.rank in parts else data[:0]
        taken = [parts.get(rank, data[:0]) for rank in range(self.size)]
        self._exchange([given] * self.size, taken)

    def _exchange(self, given: Sequence[Tensor], taken: Sequence[Tensor]) -> None:
        """`given[r]` to each other rank r, and from it into `taken[r]`. Each in another order: none is overrun."""
        works = []
        for turn in range(1, self.size):
            source, target = (self.rank - turn) % self.size, (self.rank + turn) % self.size
            if taken[source].numel():
                works.append(self.group.recv([taken[source]], source, 0))
            if given[target].numel():
                works.append(self.group.send([given[target]], target, 0))
        self.wait(works)


class Gloo:
    """Groups on the CPU.

    In PyTorch 2.13 gloo's `abort` frees nothing, but a collective whose sockets are shut down fails at once. Its
    sockets are those that were opened while the group was formed.
    """

    def __init__(self, hosts: Sequence[str] = (LOOPBACK,), name: str = "") -> None:
        """`hosts`: addresses under which others reach this process, of which the first is used unless another one is said.

        `name`: tells the groups from others of the same members.
        """
        self._hosts, self._host, self._name = hosts, hosts[0], name
        self._patience = Patience()
        self._lock = threading.Lock()
        self._before: set[int] | None = None
        self._own: set[int] = set()
        self._epoch = self._freed = 0

    def form(self, epoch: int, rank: int, stores: Sequence[str]) -> Group:
        if len(stores) == 1:
            return Alone()
        with self._lock:
            self._check(epoch)
            self._epoch, self._before, self._own = epoch, sockets(), set()
        try:
            store = reached(stores[0], lambda: epoch < self._freed)
            prefix = PrefixStore(f"epoch{epoch}{self._name}", store)
            group = self._joined(prefix, rank, len(stores), lambda: epoch < self._freed)
        finally:
            with self._lock:
                self._own = sockets() - (self._before or set())
                self._before = None
        self._check(epoch)
        return group

    def _joined(
        self, store: PrefixStore, rank: int, size: int, freed: Callable[[], bool]
    ) -> "_Pairs":
        """A group whose members are connected. Raises `RuntimeError`.

        A connection to a host that nothing reaches is tried for minutes, and trying is not ended by shutting its
        socket (gloo takes that for one that failed, or waits on): what is freed and does not end is left behind.
        """

        def join() -> _Pairs:
            found = ProcessGroupGloo(store, rank, size, self._options())
            opened()
            group = _Pairs(cast(ProcessGroup, found), freed, self._patience)  # as is every backend
            group.all_reduce(torch.zeros(1))  # now all of them are connected
            return group

        return aside(join, freed)

    def _options(self) -> Any:
        """Its sockets are those of this host's address; of the only host, those that PyTorch takes."""
        if self._host == LOOPBACK:
            return timedelta(seconds=GROUP_S)
        kind: Any = ProcessGroupGloo  # its stub has not all of it
        options = kind._Options()
        options._timeout = timedelta(seconds=GROUP_S)
        options._devices = [kind.create_device(hostname=self._host)]
        return options

    def over(self, way: int) -> None:
        self._host = self._hosts[way]

    def free(self, epoch: int) -> None:
        with self._lock:
            self._freed = max(self._freed, epoch)
            if self._epoch < epoch and self._before is None:
                shut(self._own)
        threading.Thread(target=self._break_off, daemon=True).start()

    def _break_off(self) -> None:
        """End the forming of a group that is over, which may open more connections meanwhile."""
        while True:
            with self._lock:
                if self._before is None or self._epoch >= self._freed:
                    return
                shut(sockets() - self._before)
            time.sleep(0.02)

    def drop(self) -> None:
        """Whoever is ahead of this worker, and waits for it there, is woken: the group itself may be held on to for longer."""
        with self._lock:
            if self._before is None:
                shut(self._own)
                self._own = set()

    def moved_bytes(self) -> int:
        with self._lock:
            before, own = self._before, set(self._own)
        return moved_bytes(own if before is None else sockets() - before)

    def answers(self, most_s: float) -> bool:
        return True

    def _check(self, epoch: int) -> None:
        if epoch < self._freed:
            raise RuntimeError(f"epoch {epoch} is over")
