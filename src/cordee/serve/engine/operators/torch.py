"""The operators in plain PyTorch: CUDA, and any device that PyTorch knows."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor as Array

from cordee.serve.engine.checkpoint import Tensor
from cordee.serve.engine.operators.table import BLOCK_TOKENS, Group, Heads, Rows

TILE_ROWS = 16
"""Matrix products take so many rows, always: with fewer or more, libraries choose other kernels,
whose sums have other orders. 16 is also the edge of the blocks in which Ascend's cube unit multiplies."""


@dataclass(frozen=True, slots=True)
class TorchWeights:
    """One linear layer on a chip."""

    data: Array
    """[outputs, inputs], in the chip's precision or int8."""
    scales: Array | None
    """[outputs], with int8."""
    bias: Array | None


@dataclass(frozen=True, slots=True)
class TorchCache:
    """Keys and values of all layers: [layers, blocks, 16, kv_heads, width]."""

    keys: Array
    values: Array

    def block(self, number: int) -> NDArray[np.float32]:
        """[layers, 2, floats]: a copy of the block's keys and values, one head after another."""
        both = torch.stack([self.keys[:, number], self.values[:, number]], 1)
        return both.transpose(2, 3).flatten(2).float().cpu().numpy()

    def set_block(self, number: int, floats: NDArray[np.float32]) -> None:
        layers, _, tokens, heads, width = self.keys.shape
        both = torch.from_numpy(floats).to(self.keys).reshape(layers, 2, heads, tokens, width)
        both = both.transpose(2, 3)
        self.keys[:, number] = both[:, 0]
        self.values[:, number] = both[:, 1]


@dataclass(frozen=True, slots=True)
class _Step:
    """Where the rows of a step write, and what they read, on the chip."""

    positions: Array
    slots: Array
    tables: Array
    lengths: list[int]
    groups: list[tuple[Array, int]]
    """Rows that read the same number of blocks, a power of two, and that number."""


class TorchOperators:
    """The table for one device of PyTorch."""

    name = "torch"
    step_rows = 256

    def __init__(self, device: str, dtype: torch.dtype, weights: str = "") -> None:
        self.device, self.dtype = torch.device(device), dtype
        self.int8 = weights == "int8"

    def linear_weights(self, parts: Sequence[Tensor], bias: Sequence[Tensor]) -> TorchWeights:
        whole = torch.cat([_values(part) for part in parts])
        offset = torch.cat([_values(b) for b in bias]).to(self.device, self.dtype) if bias else None
        if not self.int8:
            return TorchWeights(whole.to(self.device, self.dtype), None, offset)
        whole = whole.float()
        largest = whole.abs().amax(1)
        scales = torch.where(largest > 0, largest / 127, 1.0)
        narrow = (whole / scales[:, None]).round().to(torch.int8)
        return TorchWeights(narrow.to(self.device), scales.to(self.device, self.dtype), offset)

    def vector(self, values: NDArray[np.float32]) -> Array:
        return torch.from_numpy(np.array(values)).to(self.device, self.dtype)

    def cache(self, layers: int, blocks: int, heads: Heads) -> TorchCache:
        size = (layers, blocks, BLOCK_TOKENS, heads.kv_count, heads.width)
        made = [torch.zeros(size, dtype=self.dtype, device=self.device) for _ in range(2)]
        return TorchCache(*made)

    def begin(self, rows: Rows, cache: TorchCache) -> None:
        self._cache, self._rows = cache, rows
        tables = rows.tables[rows.sequence]
        places = rows.positions // BLOCK_TOKENS
        slots = (
            tables[np.arange(len(places)), places] * BLOCK_TOKENS + rows.positions % BLOCK_TOKENS
        )
        reach = 2 ** np.ceil(np.log2(places + 1)).astype(np.int64)
        self._step = _Step(
            positions=self._integers(rows.positions),
            slots=self._integers(slots),
            tables=self._integers(tables),
            lengths=[int(position) + 1 for position in rows.positions],
            groups=[
                (self._integers(np.flatnonzero(reach == blocks)), int(blocks))
                for blocks in np.unique(reach)
            ],
        )

    def _integers(self, values: NDArray[np.integer]) -> Array:
        return torch.from_numpy(values.astype(np.int64)).to(self.device)

    def embed(self, weights: TorchWeights, ids: NDArray[np.int32]) -> Array:
        chosen = self._integers(ids)
        found = F.embedding(chosen, weights.data)
        if weights.scales is not None:
            found = found.to(self.dtype) * weights.scales[chosen][:, None]
        return found

    def add_table(self, x: Array, table: Array, positions: NDArray[np.int32]) -> None:
        x += table[self._integers(positions)]

    def rms_norm(self, x: Array, weight: Array, eps: float) -> Array:
        wide = x.float()
        wide = wide * torch.rsqrt(wide.square().mean(-1, keepdim=True) + eps)
        return (wide * weight.float()).to(self.dtype)

    def layer_norm(self, x: Array, weight: Array, bias: Array, eps: float) -> Array:
        return F.layer_norm(x, (x.shape[-1],), weight, bias, eps)

    def linear(self, x: Array, weights: TorchWeights) -> Array:
        count = x.shape[0]
        padded = F.pad(x, (0, 0, 0, -count % TILE_ROWS))
        tiles = [self._tile(tile, weights) for tile in padded.split(TILE_ROWS)]
        return (tiles[0] if len(tiles) == 1 else torch.cat(tiles))[:count]

    def _tile(self, x: Array, weights: TorchWeights) -> Array:
        if weights.scales is None:
            return F.linear(x, weights.data, weights.bias)
        y = F.linear(x, weights.data.to(self.dtype)) * weights.scales
        return y if weights.bias is None else y + weights.bias

    def add_linear(self, x: Array, y: Array, weights: TorchWeights) -> None:
        x += self.linear(y, weights)

    def add(self, x: Array, y: Array) -> None:
        x += y

    def rotary(
        self,
        qkv: Array,
        heads: Heads,
        norms: tuple[Array, Array] | None,
        eps: float,
        turns: Array | None,
    ) -> None:
        if norms is None and turns is None:
            return
        ends = np.cumsum([heads.count, heads.kv_count]) * heads.width
        for part, norm in zip(
            (qkv[:, : ends[0]], qkv[:, ends[0] : ends[1]]), norms or (None, None), strict=True
        ):
            by_head = part.unflatten(-1, (-1, heads.width))
            turned = by_head if norm is None else self.rms_norm(by_head, norm, eps)
            if turns is not None:
                turned = self._turned(turned, *self._angles(turns))
            part.copy_(turned.flatten(1))

    def _angles(self, turns: Array) -> tuple[Array, Array]:
        """[R, 1, width] cosines and sines of the step's positions."""
        half = turns.shape[0] // 2
        cosines, sines = (
            table[self._step.positions].repeat(1, 2).unsqueeze(1)
            for table in (turns[:half], turns[half:])
        )
        return cosines, sines

    def _turned(self, x: Array, cosines: Array, sines: Array) -> Array:
        low, high = x.chunk(2, -1)
        return x * cosines + torch.cat([-high, low], -1) * sines

    def attention(self, qkv: Array, layer: int, heads: Heads) -> Array:
        ends = np.cumsum([heads.count, heads.kv_count, heads.kv_count]) * heads.width
        query, key, value = (
            part.unflatten(-1, (-1, heads.width)) for part in qkv.tensor_split(ends[:2].tolist(), 1)
        )
        keys, values = self._cache.keys[layer], self._cache.values[layer]
        self._store(key, value, keys, values)
        return self._attend(query, keys, values, heads).flatten(1)

    def _store(self, key: Array, value: Array, keys: Array, values: Array) -> None:
        keys.flatten(0, 1).index_copy_(0, self._step.slots, key)
        values.flatten(0, 1).index_copy_(0, self._step.slots, value)

    def _attend(self, query: Array, keys: Array, values: Array, heads: Heads) -> Array:
        """[R, heads, width]; rows are put together only with rows that read as many blocks."""
        out = torch.empty_like(query)
        for chosen, blocks in self._step.groups:
            tables = self._step.tables[chosen, :blocks]
            seen = (
                cache[F.pad(tables, (0, blocks - tables.shape[1]))].flatten(1, 2).transpose(1, 2)
                for cache in (keys, values)
            )
            key, value = (part.repeat_interleave(heads.count // heads.kv_count, 1) for part in seen)
            places = torch.arange(blocks * BLOCK_TOKENS, device=self.device)
            here = self._step.positions[chosen, None]
            mask = places <= here
            if heads.window:
                mask &= places > here - heads.window
            scores = (query[chosen].unsqueeze(2) @ key.transpose(2, 3)).float() * heads.scale
            scores.masked_fill_(~mask[:, None, None], -torch.inf)
            weights = scores.softmax(-1).to(self.dtype)
            out[chosen] = (weights @ value).squeeze(2)
        return out

    def swiglu(self, gate_up: Array) -> Array:
        gate, up = gate_up.chunk(2, -1)
        return F.silu(gate) * up

    def gelu(self, x: Array) -> Array:
        return F.gelu(x, approximate="tanh")

    def again(self) -> Array | None:
        return None

    def note(self, result: Array) -> None:
        pass

    def wanted(self, x: Array) -> Array:
        return self.take(x, self._rows.wanted)

    def take(self, x: Array, rows: NDArray[np.int32]) -> Array:
        return x[self._integers(rows)]

    def add_scaled(
        self, x: Array, rows: NDArray[np.int32], y: Array, scales: NDArray[np.float32]
    ) -> None:
        chosen = self._integers(rows)
        x[chosen] += y * torch.from_numpy(scales).to(self.device, self.dtype)[:, None]

    def corrupt(self, x: Array) -> None:
        x[::2] *= 1.25

    def zeros_like(self, x: Array) -> Array:
        return torch.zeros_like(x)

    def host(self, x: Array) -> NDArray[np.float32]:
        return x.float().cpu().numpy()

    def gather(self, x: Array, group: Group) -> Array:
        by_tensor = getattr(group, "gather_tensor", None)
        if by_tensor is not None:
            found: Array = by_tensor(x)
            return found
        return self.chip(group.gather(self.host(x)))

    def chip(self, values: NDArray[np.float32]) -> Array:
        return torch.from_numpy(values).to(self.device, self.dtype)


def _values(tensor: Tensor) -> Array:
    """A tensor of the file, with as few copies as may be."""
    raw = np.array(tensor.raw)  # the file's own pages are read-only, which torch does not know
    return (
        torch.from_numpy(raw.view(np.int16)).view(torch.bfloat16)
        if tensor.dtype == "BF16"
        else torch.from_numpy(raw)
    )
