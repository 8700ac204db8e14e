"""Which groups there are for which device."""

from collections.abc import Sequence

import torch
from torch.distributed import is_nccl_available

from cordee.core.errors import UsageError
from cordee.train.worker.gloo import Gloo
from cordee.train.worker.groups import Groups
from cordee.train.worker.hosted import Hosted
from cordee.train.worker.job import Mode


def groups_for(device: torch.device, mode: Mode, hosts: Sequence[str], name: str = "") -> Groups:
    """Groups for tensors on a device; `hosts` and `name` as those of `Gloo`. Raises `UsageError` where there are none."""
    if device.type == "cpu":
        return Gloo(hosts, name)
    if mode == "local":
        return Hosted(hosts)
    if device.type == "npu":
        from cordee.train.worker.hccl import Hccl  # torch_npu is not everywhere

        return Hccl(device, name)
    if device.type == "cuda":
        if not is_nccl_available():
            raise UsageError("this PyTorch was built without NCCL, by which GPUs work together")
        from cordee.train.worker.nccl import Nccl  # nor is NCCL

        return Nccl(device, name)
    raise UsageError(
        f"cordee train has no groups for {device.type}: it has some for cpu, npu and cuda"
    )


def finish(device: torch.device) -> None:
    """Wait until a device has done all that it was given. Raises `RuntimeError` where that was stopped."""
    if device.type != "cpu":
        getattr(torch, device.type).synchronize(device)
