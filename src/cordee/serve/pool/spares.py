"""Chips that stand by for those that are lost."""

from collections.abc import Iterable
from dataclasses import dataclass, field


@dataclass(slots=True)
class Spares:
    """Those that nobody uses, by the name of their device."""

    _free: dict[str, list[int]] = field(default_factory=dict)

    def add(self, device: str, chips: Iterable[int]) -> None:
        self._free.setdefault(device, []).extend(chips)

    def instead(
        self, device: str, chips: tuple[int, ...], lost: tuple[int, ...]
    ) -> tuple[int, ...]:
        """A replica's chips with spare ones in place of those that are lost; as they are where there are too few."""
        free = self._free.get(device, [])
        if len(free) < len(lost):
            return chips
        taken = {chip: free.pop(0) for chip in lost}
        return tuple(taken.get(chip, chip) for chip in chips)
