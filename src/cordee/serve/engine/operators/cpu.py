"""The operators on the CPU, in C (kernels/): float32 activations, weights as they are or in int8."""

import ctypes
import os
import time
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby

import numpy as np
from numpy.typing import NDArray

from cordee.serve.engine.checkpoint import Tensor
from cordee.serve.engine.kernels.library import Call, Calls, StepStruct, WeightsStruct, kernels
from cordee.serve.engine.operators.table import BLOCK_TOKENS, Group, Heads, Rows
from cordee.serve.engine.operators.threads import Threads

KINDS = {"F32": 0, "BF16": 1, "INT8": 2}
PART_OUTPUTS, TILE_INPUTS = 64, 64
"""In int8 there are whole tiles of inputs, and of outputs as many as a thread takes at a time."""
MOST_STEPS = 128
"""So many kinds of steps, by their numbers of rows, are kept at a time."""


class Matrix:
    """[rows, width] floats at a known address, so that no operator has to ask for it."""

    __slots__ = ("address", "array", "rows", "width")

    def __init__(self, array: NDArray[np.float32]) -> None:
        self.array = array
        self.rows, self.width = array.shape if array.ndim == 2 else (1, array.shape[0])
        self.address = array.ctypes.data


@dataclass(frozen=True, slots=True)
class CpuWeights:
    """One linear layer: its parts, in the checkpoint's pages or in int8, give outputs side by side."""

    groups: tuple[tuple[int, int, int], ...]
    """Parts of one kind after another: the address of their structures, how many, and their outputs."""
    inputs: int
    outputs: int
    keeps: tuple[object, ...]


class CpuCache:
    """Keys and values of all layers in float32."""

    def __init__(self, layers: int, blocks: int, heads: Heads) -> None:
        size = (layers, 2, blocks, heads.kv_count * BLOCK_TOKENS * heads.width)
        self.floats = np.zeros(size, np.float32)  # pages come into being when they are written
        self.addresses = [
            (self.floats[layer, 0].ctypes.data, self.floats[layer, 1].ctypes.data)
            for layer in range(layers)
        ]

    def block(self, number: int) -> NDArray[np.float32]:
        """[layers, 2, floats]: the block's keys and values."""
        return self.floats[:, :, number]

    def set_block(self, number: int, floats: NDArray[np.float32]) -> None:
        self.floats[:, :, number] = floats


class CpuOperators:
    """The table for the CPU. Results lie in buffers that the same operator uses again.

    A step calls the same kernels on the same buffers as any step before it with as many rows; so its calls
    are noted, then made in one, and made again for the next such step.
    """

    name = "cpu"

    def __init__(self, threads: int = 0, weights: str = "bfloat16", *, tiles: bool = True) -> None:
        """`threads`: always so many; 0: as it pays. `tiles`: whether the matrix unit is used where there is one."""
        self._threads = Threads(len(os.sched_getaffinity(0)), threads)
        self.int8 = weights == "int8"
        self._kernels = kernels()
        self.tiles = tiles and self._kernels.has_tiles
        self.step_rows = 192 if self.tiles else 48
        self._buffers: dict[tuple[str, int], NDArray[np.float32]] = {}
        self._views: dict[tuple[str, int, int], Matrix] = {}
        self._step = StepStruct()
        self._inputs = [np.empty(0, np.int32) for _ in range(5)]
        self._noted: list[Call] | None = None
        self._steps: dict[tuple[int, ...], tuple[Calls, Matrix]] = {}

    @property
    def numerics(self) -> str:
        """What the bits of results depend on, besides the kernels: whole numbers have the same sums anywhere."""
        return "int8" if self.int8 else "tiles" if self.tiles else "plain"

    def linear_weights(self, parts: Sequence[Tensor], bias: Sequence[Tensor]) -> CpuWeights:
        offsets = [b.floats() for b in bias]
        made = [self._part(part, offsets[i] if bias else None) for i, part in enumerate(parts)]
        keeps: list[object] = [*made]
        groups = []
        for _, group in groupby((struct for struct, _ in made), key=lambda struct: struct.kind):
            structs = list(group)
            array = (WeightsStruct * len(structs))(*structs)
            keeps.append(array)
            groups.append((ctypes.addressof(array), len(array), sum(s.outputs for s in structs)))
        outputs = sum(count for *_, count in groups)
        return CpuWeights(tuple(groups), parts[0].shape[1], outputs, tuple(keeps))

    def _part(
        self, tensor: Tensor, bias: NDArray[np.float32] | None
    ) -> tuple[ctypes.Structure, list[NDArray[np.generic]]]:
        outputs, inputs = tensor.shape
        kind, scales = tensor.dtype, None
        raw: NDArray[np.generic] = np.ascontiguousarray(tensor.raw)
        if kind not in ("F32", "BF16"):
            raw, kind = tensor.floats(), "F32"
        if self.int8:
            narrow = _tiles(outputs, inputs)
            scales = np.empty(outputs, np.float32)
            self._call(
                "quantize", raw.ctypes.data, KINDS[kind], outputs, inputs,
                narrow.ctypes.data, scales.ctypes.data,
            )  # fmt: skip
            raw, kind = narrow, "INT8"
        arrays = [array for array in (raw, scales, bias) if array is not None]
        struct = WeightsStruct(
            data=raw.ctypes.data,
            scales=None if scales is None else scales.ctypes.data,
            bias=None if bias is None else bias.ctypes.data,
            outputs=outputs,
            inputs=inputs,
            kind=KINDS[kind],
            tiles=self.tiles and kind != "F32",
        )
        return struct, arrays

    def vector(self, values: NDArray[np.float32]) -> Matrix:
        return Matrix(np.ascontiguousarray(values, np.float32))

    def cache(self, layers: int, blocks: int, heads: Heads) -> CpuCache:
        return CpuCache(layers, blocks, heads)

    def begin(self, rows: Rows, cache: CpuCache) -> None:
        self._cache = cache
        given = (rows.ids, rows.positions, rows.sequence, rows.wanted, rows.tables.ravel())
        for place, values in enumerate(given):
            if self._inputs[place].size < values.size:
                self._inputs[place] = np.empty(2 * values.size, np.int32)
                self._steps.clear()
            self._inputs[place][: values.size] = values
        self._ids, self._positions, sequence, self._wanted, tables = (
            array.ctypes.data for array in self._inputs
        )
        step = self._step
        step.tables, step.sequence, step.positions = tables, sequence, self._positions
        step.table_width = rows.tables.shape[1]
        self._key = (len(rows.ids), len(rows.wanted), cache.floats.ctypes.data, cache.floats.size)
        self._noted = None

    def again(self) -> Matrix | None:
        found = self._steps.get(self._key)
        if found is None:
            self._noted = []
            return None
        calls, result = found
        self._run(calls)
        return result

    def note(self, result: Matrix) -> None:
        if self._noted is not None:
            if len(self._steps) >= MOST_STEPS:
                del self._steps[next(iter(self._steps))]
            calls, self._noted = Calls(self._noted), None
            self._steps[self._key] = calls, result
            self._run(calls)

    def _run(self, calls: Calls) -> None:
        rows = self._key[0]
        threads, began_s = self._threads.of(rows), time.perf_counter()
        self._kernels.run(calls, threads)
        self._threads.took(rows, threads, time.perf_counter() - began_s)

    def _call(self, kernel: str, *arguments: object) -> None:
        call = self._kernels.call(kernel, *arguments)
        if self._noted is None:
            self._kernels.run(Calls([call]), self._threads.most)
        else:
            self._noted.append(call)

    def embed(self, weights: CpuWeights, ids: NDArray[np.int32]) -> Matrix:
        y = self._buffer("embed", len(ids), weights.inputs)
        self._call("embed", weights.groups[0][0], self._ids, len(ids), y.address)
        return y

    def add_table(self, x: Matrix, table: Matrix, positions: NDArray[np.int32]) -> None:
        x.array += table.array[positions]

    def rms_norm(self, x: Matrix, weight: Matrix, eps: float) -> Matrix:
        y = self._buffer("norm", x.rows, x.width)
        self._call("rms_norm", x.address, weight.address, None, eps, x.rows, x.width, y.address)
        return y

    def layer_norm(self, x: Matrix, weight: Matrix, bias: Matrix, eps: float) -> Matrix:
        y = self._buffer("norm", x.rows, x.width)
        self._call(
            "layer_norm", x.address, weight.address, bias.address, eps, x.rows, x.width, y.address
        )
        return y

    def linear(self, x: Matrix, weights: CpuWeights) -> Matrix:
        y = self._buffer("linear", x.rows, weights.outputs)
        self._linear(x, weights, y, add=False)
        return y

    def add_linear(self, x: Matrix, y: Matrix, weights: CpuWeights) -> None:
        self._linear(y, weights, x, add=True)

    def _linear(self, x: Matrix, weights: CpuWeights, y: Matrix, *, add: bool) -> None:
        scratch = self._buffer("scratch", x.rows + 16, 2 * (x.width + 64))
        to = y.address
        for address, count, outputs in weights.groups:
            self._call(
                "linear", address, count, x.address, x.width, x.rows, to, y.width, add,
                scratch.address,
            )  # fmt: skip
            to += 4 * outputs

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
        if norms is None and turns is None:
            return
        cosines = turns.address if turns else None
        # turns holds cosines, then sines: [2, positions, width / 2].
        sines = turns.address + turns.array.nbytes // 2 if turns else None
        for first, count, norm in (
            (0, heads.count, norms[0] if norms else None),
            (heads.count, heads.kv_count, norms[1] if norms else None),
        ):
            self._call(
                "rotary", qkv.address + 4 * first * heads.width, qkv.width, qkv.rows, count,
                heads.width, norm.address if norm else None, eps, self._positions, cosines, sines,
            )  # fmt: skip

    def attention(self, qkv: Matrix, layer: int, heads: Heads) -> Matrix:
        keys, values = self._cache.addresses[layer]
        y = self._buffer("attention", qkv.rows, heads.count * heads.width)
        self._call(
            "attention", ctypes.addressof(self._step), keys, values, heads.kv_count, heads.width,
            qkv.address, qkv.width, qkv.rows, heads.count, heads.scale, heads.window, y.address,
        )  # fmt: skip
        return y

    def swiglu(self, gate_up: Matrix) -> Matrix:
        width = gate_up.width // 2
        y = self._buffer("swiglu", gate_up.rows, width)
        self._call("swiglu", gate_up.address, gate_up.rows, width, y.address)
        return y

    def gelu(self, x: Matrix) -> Matrix:
        self._call("gelu", x.address, x.rows, x.width, None)
        return x

    def wanted(self, x: Matrix) -> Matrix:
        count = self._key[1]
        y = self._buffer("take", count, x.width)
        self._call("take", x.address, self._wanted, count, x.width, y.address)
        return y

    def take(self, x: Matrix, rows: NDArray[np.int32]) -> Matrix:
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
        self._steps.clear()

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
                self._steps.clear()
                for key in [k for k in self._views if k[0] == name and k[2] == width]:
                    del self._views[key]
            view = self._views[name, rows, width] = Matrix(whole[:rows])
        return view


def _tiles(outputs: int, inputs: int) -> NDArray[np.int8]:
    """Room for weights in int8 (kernels/weights.h), zeros, from the beginning of a line of the processor's cache."""
    count = -(-outputs // PART_OUTPUTS) * PART_OUTPUTS * -(-inputs // TILE_INPUTS) * TILE_INPUTS
    made = np.zeros(count + 64, np.int8)
    first = -made.ctypes.data % 64
    return made[first : first + count]
