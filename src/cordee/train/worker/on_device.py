"""Groups on a device of this process, whatever its library: a collective has ended when its call has, or was freed."""

import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import cast

import torch
from torch._C._distributed_c10d import Backend, PrefixStore, ProcessGroup, Store, Work

from cordee.train.worker.groups import Alone, Group, Joined
from cordee.train.worker.store import reached

LOOK_S = 0.05


class OnDevice(ABC):
    """Groups for one device. Whoever frees a group stops it only while a collective is waited for."""

    def __init__(self, device: torch.device, name: str = "") -> None:
        """`name`: tells the groups from others of the same members."""
        self._device = torch.device(device.type, device.index or 0)
        self._name = name
        self._lock = threading.Lock()
        self._freed = 0
        self._group: Guarded | None = None

    # What each library does in its own way.

    @abstractmethod
    def _made(self, store: Store, rank: int, size: int, name: str) -> Backend:
        """A group, which may not be connected yet. `name`: that no other of this process has. Raises `RuntimeError`."""

    @abstractmethod
    def _connected(self, connect: Callable[[], "Guarded"], freed: Callable[[], bool]) -> "Guarded":
        """What `connect` gives; it ends where the group was freed meanwhile. Raises `RuntimeError`."""

    @abstractmethod
    def _finish(self) -> None:
        """Wait until what was begun has ended. Raises `RuntimeError`."""

    @abstractmethod
    def _stop(self, group: "Guarded") -> None:
        """Let what is stuck in a collective end, if that is not done yet. From any thread."""

    @abstractmethod
    def _wake(self) -> None:
        """Make the device usable again after that."""

    @abstractmethod
    def _end(self, group: "Guarded") -> None:
        """Give back what a group has."""

    # What is the same for all.

    def form(self, epoch: int, rank: int, stores: Sequence[str]) -> Group:
        self._wake()
        if len(stores) == 1:
            return Alone()

        def freed() -> bool:
            return epoch < self._freed

        def connect() -> Guarded:
            store = reached(stores[0], freed)
            name = f"{epoch}{self._name}"
            made = self._made(PrefixStore(f"epoch{name}", store), rank, len(stores), name)
            group = Guarded(self, made, epoch)
            with self._lock:
                self._check(group)
                self._group = group
            group.all_reduce(
                torch.zeros(1, device=self._device)
            )  # connections are made at first use
            return group

        return self._connected(connect, freed)

    def over(self, way: int) -> None:  # noqa: B027 - as a group may have it
        """Devices have links of their own."""

    def free(self, epoch: int) -> None:
        with self._lock:
            self._freed = max(self._freed, epoch)
            group = self._group
            if group is not None and group.inside and group.epoch < epoch:
                self._stop(group)

    def drop(self) -> None:
        with self._lock:
            group, self._group = self._group, None
        if group is not None:
            self._wake()
            self._end(group)

    def moved_bytes(self) -> int:
        return -1  # devices exchange it among themselves

    def answers(self, most_s: float) -> bool:
        """A device with a collective that is stuck still does what is on another stream; one that hangs does not."""
        end_s, kind = time.monotonic() + most_s, getattr(torch, self._device.type)
        try:
            kind.set_device(self._device)
            with kind.stream(kind.Stream(self._device)):
                torch.zeros(1, device=self._device)
                done = kind.Event()
                done.record()
            while not done.query():
                if time.monotonic() > end_s:
                    return False
                time.sleep(LOOK_S)
        except RuntimeError:
            return False
        return True

    @contextmanager
    def waits(self, group: "Guarded") -> Iterator[None]:
        """A collective of a group is waited for. Raises `RuntimeError` where it was freed."""
        with self._lock:
            self._check(group)
            group.inside = True
        try:
            yield
            self._finish()
        finally:
            with self._lock:
                group.inside = False
        self._check(group)  # what was stopped may end as if it had been done

    def settle(self, group: "Guarded") -> None:
        """Let the device go on without what is stuck."""
        with self._lock:
            self._stop(group)
            self._wake()

    def _check(self, group: "Guarded") -> None:
        if group.epoch < self._freed:
            raise RuntimeError(f"epoch {group.epoch} is over")


class Guarded(Joined):
    """A group whose collectives have ended when the call has."""

    def __init__(self, groups: OnDevice, backend: Backend, epoch: int) -> None:
        super().__init__(cast(ProcessGroup, backend))  # as is every backend
        self._groups, self.backend, self.epoch = groups, backend, epoch
        self.inside = self.stopped = False

    def wait(self, works: Sequence[Work]) -> None:
        try:
            with self._groups.waits(self):
                super().wait(works)
        except RuntimeError:
            self._groups.settle(self)
            raise

    def let_go(self) -> None:
        """It is used no more, whoever has it still: what the library runs for it ends."""
        del self.group, self.backend
