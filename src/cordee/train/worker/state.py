"""The state of a job, as one worker gives it to another: tensors, and a header that says what they are."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import msgspec
import torch
from torch import Tensor, nn

from cordee.core.errors import CordeeError
from cordee.train.worker.groups import Group
from cordee.train.worker.spread import begins, is_spread, like, part_of

Value = bool | int | float | str | list[Any] | dict[str, Any] | None


class Entry(msgspec.Struct, frozen=True):
    """One tensor."""

    where: str
    """`model`, `optimizer`, or `kept`."""
    name: str
    """Of the tensor in the model; of the value that the optimizer keeps."""
    parameter: int
    """Which of the optimizer's parameters; -1 elsewhere."""
    dtype: str
    shape: tuple[int, ...]
    host: bool
    """Whether it is kept on the host, whatever the device."""
    spread: bool = False
    """Whether it is this worker's part of a larger one."""
    owner: str = ""
    """The name of the optimizer's parameter in the model, where it has one."""
    begins: tuple[int, ...] = ()
    """Where a part begins in the larger tensor; nothing: at its first number, or PyTorch does not say."""


class Header(msgspec.Struct, frozen=True):
    """What a state has, but for the numbers of its tensors."""

    step: int
    entries: tuple[Entry, ...]
    groups: list[dict[str, Value]]
    """The settings of each group of the optimizer."""
    scalars: list[tuple[int, str, Value]]
    """Values that the optimizer keeps for a parameter and that are no tensors."""
    others: list[dict[str, Value]]
    """Of schedulers and the like."""


class Stateful(Protocol):
    """A scheduler, or anything else that has a state of plain values."""

    def state_dict(self) -> dict[str, Any]: ...

    def load_state_dict(self, state: dict[str, Any], /) -> object: ...


@dataclass(frozen=True, slots=True)
class Trained:
    """What a job trains."""

    model: nn.Module
    optimizer: torch.optim.Optimizer
    others: tuple[Stateful, ...] = ()
    kept: dict[str, Tensor] = field(default_factory=dict)
    """More tensors that all members have alike."""

    @property
    def parameters(self) -> list[nn.Parameter]:
        """Those of the optimizer, in its order."""
        return [p for group in self.optimizer.param_groups for p in group["params"]]


def tensors_of(trained: Trained, step: int) -> tuple[Header, list[Tensor]]:
    """The state as it is now; its tensors are the very ones that are trained."""
    entries: list[Entry] = []
    tensors: list[Tensor] = []
    scalars: list[tuple[int, str, Value]] = []

    def add(where: str, name: str, number: int, tensor: Tensor) -> None:
        part = part_of(tensor)
        entries.append(
            Entry(
                where,
                name,
                number,
                dtype=str(part.dtype).removeprefix("torch."),
                shape=tuple(part.shape),
                host=part.device.type == "cpu",
                spread=is_spread(tensor),
                owner=owners[number] if number >= 0 else "",
                begins=begins(tensor),
            )
        )
        tensors.append(part.detach())

    own = list(_own(trained.model))
    parameters, names = trained.parameters, {id(tensor): name for name, tensor in own}
    owners = [names.get(id(parameter), "") for parameter in parameters]
    for name, tensor in own:
        add("model", name, -1, tensor)
    for name, tensor in sorted(trained.kept.items()):
        add("kept", name, -1, tensor)
    for number, parameter in enumerate(parameters):
        for key, value in sorted(trained.optimizer.state.get(parameter, {}).items()):
            if isinstance(value, Tensor):
                add("optimizer", key, number, value)
            else:
                scalars.append((number, key, value))
    header = Header(step, tuple(entries), settings(trained), scalars, _others(trained))
    return header, tensors


def place(trained: Trained, header: Header) -> list[Tensor]:
    """Make the state that of a header, but for the numbers; gives the tensors to fill.

    Raises `CordeeError` where the models differ.
    """
    own = dict(_own(trained.model))
    parameters = trained.parameters
    made: list[Tensor] = []
    for entry in header.entries:
        if entry.where == "model":
            found = part_of(own[entry.name]) if entry.name in own else None
            if found is None or tuple(found.shape) != entry.shape:
                raise CordeeError(f"the model has no {entry.name} of shape {list(entry.shape)}")
            made.append(found.detach())
            continue
        if entry.where == "kept":
            made.append(trained.kept.setdefault(entry.name, _empty(entry, parameters[0].device)))
            continue
        parameter = parameters[entry.parameter]
        kept = trained.optimizer.state[parameter]
        value = kept.get(entry.name)
        if not isinstance(value, Tensor) or tuple(part_of(value).shape) != entry.shape:
            empty = _empty(entry, parameter.device)
            kept[entry.name] = like(empty, parameter) if entry.spread else empty
        made.append(part_of(kept[entry.name]))
    for number, key, value in header.scalars:
        trained.optimizer.state[parameters[number]][key] = value
    apply_settings(trained, header.groups)
    for other, state in zip(trained.others, header.others, strict=True):
        other.load_state_dict(dict(state))
    return made


def settings(trained: Trained) -> list[dict[str, Value]]:
    """Learning rates and whatever else the groups of the optimizer have."""
    return [
        {key: _plain(value) for key, value in group.items() if key != "params"}
        for group in trained.optimizer.param_groups
    ]


def apply_settings(trained: Trained, groups: Sequence[dict[str, Value]]) -> None:
    """Set the groups of the optimizer as they are elsewhere."""
    for group, given in zip(trained.optimizer.param_groups, groups, strict=True):
        for key, value in given.items():
            before = group.get(key)
            if isinstance(before, Tensor):
                before.fill_(value)  # type: ignore[arg-type]
            else:
                group[key] = tuple(value) if isinstance(value, list) else value


def broadcast(trained: Trained, step: int, group: Group, source: int, takes: bool) -> int:
    """Give the state of one member to those that take it; gives its step."""
    mine, device = group.rank == source, trained.parameters[0].device
    header, tensors = tensors_of(trained, step)
    text = msgspec.json.encode(header)
    size = torch.tensor([len(text)], dtype=torch.int64, device=device)
    group.broadcast(size, source)
    told = torch.empty(int(size), dtype=torch.uint8, device=device)
    if mine:
        told.copy_(torch.frombuffer(bytearray(text), dtype=torch.uint8))
    group.broadcast(told, source)
    if not mine:
        header = msgspec.json.decode(told.cpu().numpy().tobytes(), type=Header)
        tensors = place(trained, header) if takes else [_empty(e, device) for e in header.entries]
    for flat, parts in _joined(tensors, device):
        group.broadcast(flat, source)
        if not mine:
            at = 0
            for tensor in parts:
                tensor.copy_(flat[at : at + tensor.numel()].view_as(tensor))
                at += tensor.numel()
    return header.step


def _joined(
    tensors: Sequence[Tensor], device: torch.device, most: int = 1 << 24
) -> Iterator[tuple[Tensor, list[Tensor]]]:
    """Tensors of one type after another, in flat copies of at most so many numbers, or one tensor."""
    parts: list[Tensor] = []
    for tensor in [*tensors, None]:
        full = sum(t.numel() for t in parts) >= most
        if parts and (tensor is None or full or tensor.dtype != parts[0].dtype):
            yield torch.cat([t.reshape(-1).to(device) for t in parts]), parts
            parts = []
        if tensor is not None:
            parts.append(tensor)


def _empty(entry: Entry, device: torch.device) -> Tensor:
    where = torch.device("cpu") if entry.host else device
    return torch.empty(entry.shape, dtype=getattr(torch, entry.dtype), device=where)


def _own(model: nn.Module) -> Iterator[tuple[str, Tensor]]:
    """Parameters and those buffers that belong to the state, each once."""
    seen: set[int] = set()
    for name, value in model.state_dict(keep_vars=True).items():
        if isinstance(value, Tensor) and id(value) not in seen:
            seen.add(id(value))
            yield name, value


def _others(trained: Trained) -> list[dict[str, Value]]:
    return [{k: _plain(v) for k, v in other.state_dict().items()} for other in trained.others]


def _plain(value: object) -> Value:
    if isinstance(value, Tensor):
        return float(value)
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, list | tuple):
        return [_plain(part) for part in value]
    if isinstance(value, dict) and all(isinstance(key, str) for key in value):
        return {key: _plain(part) for key, part in value.items()}
    raise CordeeError(f"a setting of the optimizer is {value!r}: it cannot be sent to others")
