"""Reads now and then how much of each chip's memory the process holds."""

from collections.abc import Callable

import torch_npu

EVERY_S = 0.01


class Sampler:
    """Samples a chip when its last sample is old enough, and tells of every chip the first time."""

    def __init__(self, tell: Callable[[dict[str, object]], None]) -> None:
        self._tell = tell
        self._sampled_s: dict[int, float] = {}

    def sample(self, device: int, call: int, now_s: float, *, at_once: bool = False) -> None:
        """Sample chip `device` after call number `call`, `now_s` seconds after the beginning."""
        last_s = self._sampled_s.get(device)
        if last_s is not None and now_s - last_s < EVERY_S and not at_once:
            return
        if last_s is None:
            self._introduce(device)
        self._sampled_s[device] = now_s
        found = torch_npu._C._npu_memoryStats(device)
        allocated = found["allocated_bytes"]["all"]
        self._tell(
            {
                "memory": device,
                "call": call,
                "s": round(now_s, 6),
                "allocated_bytes": allocated["current"],
                "reserved_bytes": found["reserved_bytes"]["all"]["current"],
                "peak_bytes": allocated["peak"],
            }
        )

    def sample_all(self, call: int, now_s: float) -> None:
        """Sample every chip that has been sampled before."""
        for device in self._sampled_s:
            self.sample(device, call, now_s, at_once=True)

    def _introduce(self, device: int) -> None:
        found = torch_npu.npu.get_device_properties(device)
        self._tell({"chip": device, "name": found.name, "capacity_bytes": found.total_memory})
