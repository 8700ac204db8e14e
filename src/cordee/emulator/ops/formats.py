"""The number formats an operator's dtype codes name, and how values are rounded and packed."""

import tomllib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from cordee.core.errors import NotEmulated

ROUNDINGS: dict[str, Callable[[Tensor], Tensor]] = {
    "rint": torch.round,
    "floor": torch.floor,
    "ceil": torch.ceil,
    "trunc": torch.trunc,
    # Half away from zero; "rint" is half to even.
    "round": lambda values: torch.sign(values) * torch.floor(values.abs() + 0.5),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Format:
    """A number format: what it can hold and how it lies in memory."""

    name: str
    codes: tuple[int, ...]
    storage: torch.dtype
    kind: str  # "integer", "float" (a PyTorch float), or "small float" (8 bits or fewer)
    lowest: float = 0.0
    largest: float = 0.0
    per_item: int = 1  # numbers in one element of the storage dtype
    mantissa_bits: int = 0
    least_exponent: int = 0

    def write(self, values: Tensor, rounding: str = "rint") -> Tensor:
        """`values` in this format, saturated. Packs along the last axis where `per_item` > 1."""
        if self.kind == "float":
            return values.to(self.storage)
        if self.kind == "integer":
            whole = rounded(values.double(), rounding).nan_to_num(nan=0.0)
            whole = whole.clamp(self.lowest, self.largest)
            return pack_int4(whole.to(torch.int32)) if self.per_item > 1 else whole.to(self.storage)
        on_grid = self.on_grid(values, rounding)
        return self._pack_float4(on_grid) if self.per_item > 1 else on_grid.to(self.storage)

    def read(self, stored: Tensor) -> Tensor:
        """What `write` stored, as float32."""
        if self.name == "int4":
            return unpack_int4(stored).float()
        if self.per_item == 1:
            return stored.float()
        bytes_ = stored.view(torch.uint8)
        nibbles = torch.stack((bytes_ & 0xF, bytes_ >> 4), dim=-1).flatten(-2)
        magnitude = self._magnitudes()[(nibbles & 7).long()]
        return torch.where(nibbles >= 8, -magnitude, magnitude)

    def on_grid(self, values: Tensor, rounding: str = "rint") -> Tensor:
        """The nearest numbers of a small float format, saturated, still float32."""
        _, exponent = torch.frexp(values.float())
        exponent = (exponent - 1).clamp(min=self.least_exponent) - self.mantissa_bits
        step = torch.ldexp(torch.ones_like(values, dtype=torch.float32), exponent)
        return (rounded(values / step, rounding) * step).clamp(self.lowest, self.largest)

    def _magnitudes(self) -> Tensor:
        mantissas = 2**self.mantissa_bits
        exponents = 8 // mantissas - 1
        normal = [2.0**e * (1 + m / mantissas) for e in range(exponents) for m in range(mantissas)]
        return torch.tensor([m / mantissas for m in range(mantissas)] + normal)

    def _pack_float4(self, values: Tensor) -> Tensor:
        index = torch.searchsorted(self._magnitudes(), values.abs().contiguous())
        nibbles = (index + 8 * torch.signbit(values)).to(torch.uint8)
        low, high = nibbles[..., ::2], nibbles[..., 1::2]
        return (low | (high << 4)).view(self.storage)


def rounded(values: Tensor, rounding: str) -> Tensor:
    """`values` as whole numbers; `rounding` is one of the vendor's `round_mode` names."""
    if rounding not in ROUNDINGS:
        raise NotEmulated(f"round_mode={rounding!r}; one of {sorted(ROUNDINGS)} is")
    return ROUNDINGS[rounding](values)


def pack_int4(values: Tensor) -> Tensor:
    """Eight int4 in each int32 along the last axis, the first in the lowest bits."""
    shifts = torch.arange(0, 32, 4)
    nibbles = torch.unflatten(values.long() & 0xF, -1, (-1, 8)) << shifts
    packed = nibbles.sum(-1)
    return torch.where(packed >= 2**31, packed - 2**32, packed).to(torch.int32)


def unpack_int4(packed: Tensor) -> Tensor:
    """The int4 of `pack_int4`, each as an int32."""
    shifts = torch.arange(0, 32, 4, dtype=torch.int32)
    nibbles = (packed.unsqueeze(-1) >> shifts) & 0xF
    return torch.where(nibbles > 7, nibbles - 16, nibbles).flatten(-2)


def format_of(code: int | None, default: str = "int8") -> Format:
    """The format a dtype code names; `default` where the operator was given none."""
    if code is None:
        return NAMED[default]
    if code not in CODED:
        raise NotEmulated(f"dtype code {code}")
    return CODED[code]


def format_named(name: str) -> Format:
    """The format of that name in `formats.toml`."""
    return NAMED[name]


def _formats() -> list[Format]:
    rows = tomllib.loads(Path(__file__).with_suffix(".toml").read_text())["format"]
    found = []
    for row in rows:
        facts = {key: value for key, value in row.items() if key != "source"}
        facts |= {"codes": tuple(row["codes"]), "storage": getattr(torch, row["storage"])}
        found.append(Format(**facts))
    return found


NAMED = {row.name: row for row in _formats()}
CODED = {code: row for row in NAMED.values() for code in row.codes}
