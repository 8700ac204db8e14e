"""The operators on the CPU, in C (kernels/): float32 activations, weights as they are or in int8."""

import ctypes
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cordee.serve.engine.checkpoint import Tensor
from cordee.serve.engine.kernels.library import PagesStruct, WeightsStruct, kernels
from cordee.serve.engine.operators.table import BLOCK_TOKENS, Group, Heads, Rows

KINDS = {"F32": 0, "BF16": 1, "INT8": 2}


class Matrix:
    """[rows, width] floats at a known address, so that no operator has to ask for it."""

    __slots__ = ("address", "array", "rows", "width")

    def __init__(self, array: NDArray[np.float32]) -> None:
        self.array = array
        self.rows, self.width = array.shape if array.ndim == 2 else (1, array.shape[0])
        self.address = array.ctypes.data


@dataclass(frozen=True, slots=True)
class Part:
    """Weights [outputs, inputs], in the checkpoint's pages or in int8."""

    struct: WeightsStruct
    pointer: int
    outputs: int
    keeps: tuple[NDArray[np.generic], ...]


@dataclass(frozen=True, slots=True)
class CpuWeights:
    """One linear layer: its parts give outputs side by side."""

    parts: tuple[Part, ...]
    outputs: int


class CpuCache:
    """Keys and values of all layers in float32."""

    def __init__(self, layers: int, blocks: int, heads: Heads) -> None:
        size = (layers, 2, blocks, heads.kv_count * BLOCK_TOKENS * heads.width)
        self.floats = np.zeros(size, np.float32)  # pages come into being when they are written
        self.layers = [
            PagesStruct(
                keys=self.floats[layer, 0].ctypes.data,
                values=self.floats[layer, 1].ctypes.data,
                kv_heads=heads.kv_count,
                width=heads.width,
            )
            for layer in range(layers)
        ]
        self.pointers = [ctypes.addressof(pages) for pages in self.layers]

    def block(self, number: int) -> NDArray[np.float32]:
        """[layers, 2, floats]: the block's keys and values."""
        return self.floats[:, :, number]

    def set_block(self, number: int, floats: NDArray[np.float32]) -> None:
        self.floats[:, :, number] = floats


class CpuOperators:
    """The table for the CPU. Results lie in buffers that the same operator uses again."""

    name = "cpu"

    def __init__(self, threads: int, weights: str = "bfloat16") -> None:
        self.threads = threads
        self.int8 = weights == "int8"
        self._c = kernels()
        self._buffers: dict[tuple[str, int], NDArray[np.float32]] = {}
        self._views: dict[tuple[str, int, int], Matrix] = {}

    def linear_weights(self, parts: Sequence[Tensor], bias: Sequence[Tensor]) -> CpuWeights:
        offsets = [b.floats() for b in bias]
        made = tuple(
            self._part(part, offsets[i] if offsets else None) for i, part in enumerate(parts)
        )
        return CpuWeights(made, sum(part.outputs for part in made))

    def _part(self, tensor: Tensor, bias: NDArray[np.float32] | None) -> Part:
        outputs, inputs = tensor.shape
        kind, scales = tensor.dtype, None
        raw: NDArray[np.generic] = np.ascontiguousarray(tensor.raw)
        if kind not in ("F32", "BF16"):
            raw, kind = tensor.floats(), "F32"
        if self.int8:
            narrow = np.empty((outputs, inputs), np.int8)
            scales = np.empty(outputs, np.float32)
            self._c.cordee_quantize(
                raw.ctypes.data, KINDS[kind], outputs, inputs,
                narrow.ctypes.data, scales.ctypes.data, self.threads,
            )  # fmt: skip
            raw, kind = narrow, "INT8"
        struct = WeightsStruct(
            data=raw.ctypes.data,
            scales=None if scales is None else scales.ctypes.data,
            bias=None if bias is None else bias.ctypes.data,
            outputs=outputs,
            inputs=inputs,
            kind=KINDS[kind],
        )
        keeps = tuple(array for array in (raw, scales, bias) if array is not None)
        return Part(struct, ctypes.addressof(struct), outputs, keeps)

    def vector(self, values: NDArray[np.float32]) -> Matrix:
        return Matrix(np.ascontiguousarray(values, np.float32))

    def cache(self, layers: int, blocks: int, heads: Heads) -> CpuCache:
        return CpuCache(layers, blocks, heads)

    def begin(self, rows: Rows, cache: CpuCache) -> None:
        self._rows, self._cache = rows, cache
        self._positions = rows.positions.ctypes.data
        tables, sequence = rows.tables.ctypes.data, rows.sequence.ctypes.data
        for pages in cache.layers:
            pages.tables, pages.sequence, pages.positions = tables, sequence, self._positions
            pages.table_width = rows.tables.shape[1]

    def embed(self, weights: CpuWeights, ids: NDArray[np.int32]) -> Matrix:
        part = weights.parts[0]
        width = part.struct.inputs
        y = self._buffer("embed", len(ids), width)
        struct = part.struct
        self._c.cordee_embed(
            struct.data, struct.kind, struct.scales, ids.ctypes.data, len(ids), width, y.address
        )
        return y

    def add_table(self, x: Matrix, table: Matrix, positions: NDArray[np.int32]) -> None:
        x.array += table.array[positions]

    def rms_norm(self, x: Matrix, weight: Matrix, eps: float) -> Matrix:
        y = self._buffer("norm", x.rows, x.width)
        self._c.cordee_rms_norm(x.address, weight.address, eps, x.rows, x.width, y.address)
        return y

    def layer_norm(self, x: Matrix, weight: Matrix, bias: Matrix, eps: float) -> Matrix:
        y = self._buffer("norm", x.rows, x.width)
        self._c.cordee_layer_norm(
            x.address, weight.address, bias.address, eps, x.rows, x.width, y.address
        )
        return y

    def linear(self, x: Matrix, weights: CpuWeights) -> Matrix:
        y = self._buffer("linear", x.rows, weights.outputs)
        self._linear(x, weights, y, add=False)
        return y

    def add_linear(self, x: Matrix, y: Matrix, weights: CpuWeights) -> None:
        self._linear(y, weights, x, add=True)

    def _linear(self, x: Matrix, weights: CpuWeights, y: Matrix, *, add: bool) -> None:
        to = y.address
        for part in weights.parts:
            self._c.cordee_linear(
                part.pointer, x.address, x.width, x.rows, to, y.width, add, self.threads
            )
            to += 4 * part.outputs

    def add(self, x: Matrix, y: Matrix) -> None:
        x.array += y.array

    def rotary(
        self,
        qkv: Matrix,
        heads: Heads,
        norms: tuple[Matrix, Matrix] | None,
        eps: float,
        turns: Matrix | None,
    ) -> None:
        cosines = turns.address if turns else None
        # turns holds cosines, then sines: [2, positions, width / 2].
        sines = turns.address + turns.array.nbytes // 2 if turns else None
        for first, count, norm in (
            (0, heads.count, norms[0] if norms else None),
            (heads.count, heads.kv_count, norms[1] if norms else None),
        ):
            self._c.cordee_rotary(
                qkv.address + 4 * first * heads.width, qkv.width, qkv.rows, count, heads.width,
                norm.address if norm else None, eps, self._positions, cosines, sines,
            )  # fmt: skip

    def attention(self, qkv: Matrix, layer: int, heads: Heads) -> Matrix:
        pages = self._cache.pointers[layer]
        keys = qkv.address + 4 * heads.count * heads.width
        values = keys + 4 * heads.kv_count * heads.width
        self._c.cordee_store(pages, keys, qkv.width, values, qkv.width, qkv.rows)
        y = self._buffer("attention", qkv.rows, heads.count * heads.width)
        self._c.cordee_attention(
            pages, qkv.address, qkv.width, qkv.rows, heads.count, heads.scale, heads.window,
            y.address, self.threads,
        )  # fmt: skip
        return y

    def swiglu(self, gate_up: Matrix) -> Matrix:
        width = gate_up.width // 2
        y = self._buffer("swiglu", gate_up.rows, width)
        self._c.cordee_swiglu(gate_up.address, gate_up.rows, width, y.address)
        return y

    def gelu(self, x: Matrix) -> Matrix:
        self._c.cordee_gelu(x.address, x.rows * x.width)
        return x

    def take(self, x: Matrix, rows: NDArray[np.int32]) -> Matrix:
        if len(rows) == x.rows and np.array_equal(rows, np.arange(x.rows)):
            return x
        y = self._buffer("take", len(rows), x.width)
        np.take(x.array, rows, axis=0, out=y.array)
        return y

    def add_scaled(
        self, x: Matrix, rows: NDArray[np.int32], y: Matrix, scales: NDArray[np.float32]
    ) -> None:
        x.array[rows] += y.array * scales[:, None]

    def corrupt(self, x: Matrix) -> None:
        wrong = x.array.copy()  # the file's own pages cannot be written
        wrong[::2] *= 1.25
        self._corrupted = wrong
        x.array, x.address = wrong, wrong.ctypes.data

    def zeros_like(self, x: Matrix) -> Matrix:
        return Matrix(np.zeros_like(x.array))

    def host(self, x: Matrix) -> NDArray[np.float32]:
        return x.array

    def gather(self, x: Matrix, group: Group) -> Matrix:
        return Matrix(group.gather(x.array))

    def chip(self, values: NDArray[np.float32]) -> Matrix:
        return Matrix(np.ascontiguousarray(values))

    def _buffer(self, name: str, rows: int, width: int) -> Matrix:
        view = self._views.get((name, rows, width))
        if view is None:
            whole = self._buffers.get((name, width))
            if whole is None or len(whole) < rows:
                whole = np.empty(
                    (max(rows, 2 * len(whole) if whole is not None else 1), width), np.float32
                )
                self._buffers[name, width] = whole
                for key in [k for k in self._views if k[0] == name and k[2] == width]:
                    del self._views[key]
            view = self._views[name, rows, width] = Matrix(whole[:rows])
        return view
