"""Is a group on a device freed where it is stuck? What is the same for all devices, with gloo as the library."""

import threading
from collections.abc import Callable
from datetime import timedelta
from typing import cast

import pytest
import torch
from torch._C._distributed_c10d import Backend, ProcessGroupGloo, Store

from cordee.train.worker.aside import aside
from cordee.train.worker.groups import Alone, Group
from cordee.train.worker.on_device import Guarded, OnDevice
from cordee.train.worker.sockets import shut, sockets
from cordee.train.worker.store import Store as OwnStore

LOOPBACK = "127.0.0.1"


class OverSockets(OnDevice):
    """The CPU as a device whose library is gloo: what is stuck there ends when its sockets are shut."""

    def __init__(self) -> None:
        super().__init__(torch.device("cpu"))
        self.ended: list[int] = []
        self.began = threading.Event()
        self.others = sockets()

    def _made(self, store: Store, rank: int, size: int, name: str) -> Backend:
        return cast(Backend, ProcessGroupGloo(store, rank, size, timedelta(seconds=60)))

    def _connected(self, connect: Callable[[], Guarded], freed: Callable[[], bool]) -> Guarded:
        return aside(connect, freed)

    def _finish(self) -> None:
        """Calls wait by themselves."""

    def _stop(self, group: Guarded) -> None:
        if not group.stopped:
            group.stopped = True
            shut(sockets() - self.others)

    def _wake(self) -> None: ...

    def _end(self, group: Guarded) -> None:
        self.ended.append(group.epoch)


def formed(members: list[OverSockets], epoch: int, stores: list[str]) -> list[Group]:
    """The groups of all members, each of which forms its own meanwhile."""
    found: dict[int, Group] = {}

    def form(rank: int) -> None:
        found[rank] = members[rank].form(epoch, rank, stores)

    threads = [threading.Thread(target=form, args=(rank,)) for rank in range(len(members))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return [found[rank] for rank in range(len(members))]


def test_a_worker_without_others_needs_no_library() -> None:
    assert isinstance(OverSockets().form(1, 0, ["nowhere:1"]), Alone)


def test_who_waits_for_one_that_never_comes_is_freed_and_goes_on_in_another_group() -> None:
    members = [OverSockets(), OverSockets()]
    own = [OwnStore(LOOPBACK) for _ in members]
    stores = [f"{LOOPBACK}:{store.port}" for store in own]
    groups = formed(members, 1, stores)
    failed: list[RuntimeError] = []

    def wait() -> None:
        members[0].began.set()
        try:
            groups[0].all_reduce(torch.ones(4))
        except RuntimeError as error:
            failed.append(error)

    stuck = threading.Thread(target=wait)
    stuck.start()
    members[0].began.wait()
    members[0].free(2)  # before or after it has begun to wait
    stuck.join()
    assert len(failed) == 1
    members[1].free(2)
    for member in members:
        member.drop()
    assert [member.ended for member in members] == [[1], [1]]
    again = formed(members, 2, stores)
    sums = [torch.full((3,), float(rank + 1)) for rank in range(2)]
    threads = [
        threading.Thread(target=group.all_reduce, args=(data,))
        for group, data in zip(again, sums, strict=True)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [data.tolist() for data in sums] == [[3.0] * 3] * 2


def test_a_group_that_was_freed_takes_no_more_collectives() -> None:
    members = [OverSockets(), OverSockets()]
    own = [OwnStore(LOOPBACK) for _ in members]
    (group, _) = formed(members, 1, [f"{LOOPBACK}:{store.port}" for store in own])
    members[0].free(2)
    with pytest.raises(RuntimeError, match="epoch 1 is over"):
        group.wait([])  # type: ignore[attr-defined]


def test_forming_that_never_ends_is_left_behind_once_it_was_freed() -> None:
    member, over = OverSockets(), threading.Event()
    own = [OwnStore(LOOPBACK)]
    at = f"{LOOPBACK}:{own[0].port}"
    failed: list[RuntimeError] = []

    def form() -> None:
        try:
            member.form(1, 0, [at, at])
        except RuntimeError as error:
            failed.append(error)
        over.set()

    threading.Thread(target=form).start()
    member.free(2)
    assert over.wait(50)
    assert len(failed) == 1
    own.clear()  # what was left behind ends, for the other side is gone
    for thread in threading.enumerate():
        if thread.name == "train_join":
            thread.join(100)
            assert not thread.is_alive()
