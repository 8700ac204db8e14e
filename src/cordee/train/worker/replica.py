"""A model that several workers hold together: the mesh that a program is given, and the groups behind it."""

from collections.abc import Sequence
from math import prod

import torch
import torch.distributed as dist
from torch._C._distributed_c10d import HashStore
from torch.distributed.device_mesh import DeviceMesh, init_device_mesh

from cordee.core.errors import UsageError
from cordee.train.devices import devices
from cordee.train.policy.teams import Team
from cordee.train.wire import Epoch, Planned
from cordee.train.worker.backends import groups_for
from cordee.train.worker.control import Left
from cordee.train.worker.door import Door, as_part
from cordee.train.worker.groups import Groups, Joined
from cordee.train.worker.job import Mode, job_of
from cordee.train.worker.stable import Stable, Together

BACKEND = "cordee"


class Replica:
    """A worker's place among those that hold a model together."""

    def __init__(self, place: int, sizes: dict[str, int], device: str, door: Door | None) -> None:
        self.place, self.sizes, self.door = place, sizes, door
        self.size = prod(sizes.values())
        self.together = Together()
        self._device = torch.device(device)
        self._stable: list[Stable] = []
        self._groups: list[Groups] = []
        self._teams: tuple[Team, ...] = ()
        if door is not None:
            door.line.on_epoch = self.free
            door.line.waiting_s = lambda: self.together.waits_s

    @property
    def data(self) -> int:
        """Into so many pieces a replica divides each of its shards of the batch."""
        return self.sizes.get("data", 1)

    @property
    def piece(self) -> int:
        """Which of them is this worker's."""
        after = prod(size for name, size in self.sizes.items() if name == "tensor")
        return self.place // after % self.data

    @property
    def ends(self) -> bool:
        """Whether this worker has the end of the model, and so the loss."""
        return self.place >= self.size - self.size // self.sizes.get("pipeline", 1)

    @property
    def copies(self) -> int:
        """So many workers of a replica have the parameters that are not spread."""
        return self.size // self.sizes.get("pipeline", 1)

    def owned(self, owners: Sequence[int]) -> tuple[int, ...]:
        """Owners of shards, teams by their first members: by those that have the same part as this worker."""
        mine = {team[0]: team[self.place] for team in self._teams}
        return tuple(mine[head] for head in owners)

    def add(self, stable: Stable) -> None:
        """One more group of the program's."""
        self._stable.append(stable)
        name = f"replica{len(self._stable)}"
        self._groups.append(groups_for(self._device, "exact", (job_of().host,), name))

    def form(self, epoch: Epoch, plan: Planned, worker: int) -> bool:
        """Join the others of the team; gives whether there is one. Raises `RuntimeError`."""
        self._teams = plan.teams
        team = next((team for team in plan.teams if worker in team), None)
        if team is None:
            return False
        stores = {member.worker: member.store for member in epoch.members}
        for stable, groups in zip(self._stable, self._groups, strict=True):
            reached = [stores[team[place]] for place in stable.ranks]
            if len(reached) > 1:
                group = groups.form(epoch.epoch, stable.place, reached)
                assert isinstance(group, Joined)
                stable.behind = group
        self.together.broken = ""
        return True

    def free(self, epoch: int) -> None:
        """Let what waits for the team of an earlier epoch end. From any thread."""
        for groups in self._groups:
            groups.free(epoch)

    def drop(self) -> None:
        """There is no team until the next one is formed."""
        self.together.broken = self.together.broken or "members have changed"
        for stable, groups in zip(self._stable, self._groups, strict=True):
            stable.behind = None
            groups.drop()


_current: list[Replica] = []


def current() -> Replica | None:
    """The replica of this process, if its program has asked for a mesh."""
    return _current[0] if _current else None


def whole_shards(shards: int, mode: Mode, replica: Replica | None) -> int:
    """So many shards a replica computes in a step, all of its workers one of them. Raises `UsageError`."""
    if replica is None:
        return shards
    if mode in ("local", "adaptive"):
        raise UsageError(f"mode {mode} has no replicas of several workers: use exact or fast")
    if shards % replica.data:
        raise UsageError(
            f"{shards} shards cannot be divided among the {replica.data} data-parallel workers of a replica"
        )
    return shards // replica.data


def mesh(
    *, data: int = 1, tensor: int = 1, pipeline: int = 1, device: str | None = None
) -> DeviceMesh:
    """The chips that hold one replica of the model together; waits for this worker's place among them.

    `data`: each has another part of the parameters and of the batch (FSDP2); `tensor`, `pipeline`: as their names
    say. Raises `UsageError`.
    """
    if _current:
        raise UsageError("ct.mesh was called twice: a process has one")
    job = job_of()
    sizes = _sizes(data, tensor, pipeline)
    size, kind = prod(sizes.values()), _device(device)
    door = Door(job, as_part(kind, size)) if job.coordinator and size > 1 else None
    if door is None and size > 1:
        raise UsageError(f"a mesh of {size} workers: start the program with cordee train -n {size}")
    replica = Replica(_seat(door), sizes, kind, door)
    _current.append(replica)
    dist.Backend.register_backend(
        BACKEND, _made, extended_api=True, devices=["cpu", *([kind] if kind != "cpu" else [])]
    )
    store = HashStore()  # there is nothing to agree upon
    dist.init_process_group(BACKEND, store=store, rank=replica.place, world_size=size)
    return init_device_mesh(kind, tuple(sizes.values()), mesh_dim_names=tuple(sizes))


def _seat(door: Door | None) -> int:
    """This worker's place, when it has one. Raises `SystemExit` where the job ends before."""
    if door is None:
        return 0
    try:
        return door.line.seat()
    except Left as left:
        raise SystemExit(f"cordee train: this worker ends: {left}") from None


def _made(about: object, _: object) -> Stable:
    """A group of the program's, as PyTorch asks for one."""
    replica = _current[0]
    ranks: Sequence[int] = about.global_ranks_in_group or range(replica.size)  # type: ignore[attr-defined]
    stable = Stable(about.group_rank, ranks, replica.together)  # type: ignore[attr-defined]
    replica.add(stable)
    return stable


def _sizes(data: int, tensor: int, pipeline: int) -> dict[str, int]:
    """The dimensions of the mesh, by name. Raises `UsageError`."""
    sizes = {"pipeline": pipeline, "data": data, "tensor": tensor}
    if min(sizes.values()) < 1:
        raise UsageError(f"a mesh of {sizes}: each is one at least")
    return {name: size for name, size in sizes.items() if size > 1} or {"data": 1}


def _device(wanted: str | None) -> str:
    """The kind of device that is wanted, or that there is. Raises `UsageError`."""
    there = [device.name for device in devices() if _is_there(device.name)]
    if wanted is not None and wanted != "cpu" and wanted not in there:
        has = " and ".join([*there, "cpu"])
        raise UsageError(
            f"ct.mesh(device={wanted!r}): PyTorch finds no such device here, but {has}"
        )
    return wanted or next(iter(there), "cpu")


def _is_there(name: str) -> bool:
    kind = getattr(torch, name, None)
    return kind is not None and bool(kind.is_available())
