"""The decoder: a step of rows through all layers, over the operators of one kind of chip."""

from collections.abc import Sequence
from dataclasses import dataclass
from importlib.resources import files
from typing import Generic

import numpy as np
from numpy.typing import NDArray

from cordee.core.facts import Fact, rows
from cordee.serve.engine.checkpoint import Checkpoint, Tensor
from cordee.serve.engine.operators.table import A, C, Heads, Operators, Rows, W
from cordee.serve.engine.shape import Shape
from cordee.serve.engine.tensor_parallel import ALONE, Part


@dataclass(frozen=True, slots=True, kw_only=True)
class Names(Fact):
    """What the weights of a family are called."""

    family: str
    embedding: str
    final_norm: str
    head: str
    layer: str
    input_norm: str
    after_norm: str
    query_key_value: Sequence[str]
    output: str
    gate_up: Sequence[str]
    down: str
    positions: str = ""
    head_norms: Sequence[str] = ()
    router: str = ""
    expert_gate_up: Sequence[str] = ()
    expert_down: str = ""
    prefixes: Sequence[str] = ("",)
    transposed: bool = False


@dataclass(frozen=True, slots=True)
class Norm(Generic[A]):
    """Root mean square, or with a bias a layer norm."""

    weight: A
    bias: A | None


@dataclass(frozen=True, slots=True)
class Dense(Generic[W]):
    """The layers of one MLP, or of one expert."""

    up: W
    down: W


@dataclass(frozen=True, slots=True)
class Mixture(Generic[W]):
    """Experts and what chooses among them."""

    router: W
    experts: tuple[Dense[W], ...]


@dataclass(frozen=True, slots=True)
class Layer(Generic[A, W]):
    """One layer of the decoder."""

    before: Norm[A]
    query_key_value: W
    head_norms: tuple[A, A] | None
    output: W
    after: Norm[A]
    mlp: Dense[W] | Mixture[W]
    heads: Heads


class Decoder(Generic[A, W, C]):
    """A model on one chip, or one chip's part of it."""

    def __init__(
        self,
        shape: Shape,
        checkpoint: Checkpoint,
        operators: Operators[A, W, C],
        part: Part = ALONE,
    ) -> None:
        self.shape, self.operators, self.part = shape, operators, part
        reader = _Reader(shape, checkpoint, operators, part)
        self.embedding, self.head = reader.embedding()
        self.positions = reader.positions()
        self.turns = reader.turns()
        self.final_norm = reader.norm(reader.names.final_norm)
        self.layers = [reader.layer(number) for number in range(shape.layers)]
        # What is done in a step depends on its rows only by their number.
        self._steady = part.alone and not shape.experts and self.positions is None

    def cache(self, blocks: int) -> C:
        """Room for `blocks` blocks of keys and values."""
        return self.operators.cache(self.shape.layers, blocks, self.layers[0].heads)

    def logits(self, rows: Rows, cache: C) -> NDArray[np.float32]:
        """[L, vocabulary] logits of the wanted rows, valid until the next step."""
        ops = self.operators
        ops.begin(rows, cache)
        scores = ops.again() if self._steady else None
        if scores is None:
            scores = self._scores(rows)
            ops.note(scores)
        if not len(rows.wanted):
            return np.empty((0, self.shape.vocabulary), np.float32)
        return ops.host(self.part.gather(ops, scores))[:, : self.shape.vocabulary]

    def read_blocks(self, cache: C, numbers: Sequence[int]) -> NDArray[np.float32]:
        """[blocks, layers, 2, floats]: keys and values of blocks, on all chips, one head after another."""
        return np.stack([cache.block(number) for number in numbers])

    def write_blocks(self, cache: C, numbers: Sequence[int], floats: NDArray[np.float32]) -> None:
        """Put what `read_blocks` gave into blocks."""
        for number, block in zip(numbers, floats, strict=True):
            cache.set_block(number, block)

    def states(self, rows: Rows, cache: C) -> NDArray[np.float32]:
        """[L, hidden] the last layer's normalised output of the wanted rows, for embeddings."""
        self.operators.begin(rows, cache)
        hidden = self.operators.wanted(self._hidden(rows))
        return self.operators.host(self._normalised(hidden, self.final_norm))

    def _scores(self, rows: Rows) -> A:
        """Those of the wanted rows; of a step in which none is wanted what its last layer made."""
        ops, hidden = self.operators, self._hidden(rows)
        if not len(rows.wanted):
            return hidden
        return ops.linear(self._normalised(ops.wanted(hidden), self.final_norm), self.head)

    def _hidden(self, rows: Rows) -> A:
        ops = self.operators
        x = ops.embed(self.embedding, rows.ids)
        if self.positions is not None:
            ops.add_table(x, self.positions, rows.positions)
        for number, layer in enumerate(self.layers):
            qkv = ops.linear(self._normalised(x, layer.before), layer.query_key_value)
            ops.rotary(qkv, layer.heads, layer.head_norms, self.shape.norm_eps, self.turns)
            seen = self.part.gather(ops, ops.attention(qkv, number, layer.heads))
            self._add(x, seen, layer.output)
            y = self._normalised(x, layer.after)
            if isinstance(layer.mlp, Dense):
                self._add(x, self._mlp(y, layer.mlp), layer.mlp.down)
            else:
                ops.add(x, self._mixture(y, layer.mlp))
        return x

    def _normalised(self, x: A, norm: Norm[A]) -> A:
        if norm.bias is None:
            return self.operators.rms_norm(x, norm.weight, self.shape.norm_eps)
        return self.operators.layer_norm(x, norm.weight, norm.bias, self.shape.norm_eps)

    def _add(self, x: A, y: A, weights: W) -> None:
        """x += y W^T, where each chip of a group knows a part of the outputs."""
        if self.part.alone:
            self.operators.add_linear(x, y, weights)
        else:
            ops = self.operators
            ops.add(x, self.part.gather(ops, ops.linear(y, weights)))

    def _mlp(self, x: A, mlp: Dense[W]) -> A:
        ops = self.operators
        wide = ops.linear(x, mlp.up)
        wide = ops.gelu(wide) if self.shape.family == "gpt2" else ops.swiglu(wide)
        return self.part.gather(ops, wide)

    def _mixture(self, x: A, mixture: Mixture[W]) -> A:
        """Source: Qwen3-MoE as in transformers models/qwen3_moe: softmax, then the best experts."""
        ops, experts = self.operators, self.shape.experts
        assert experts is not None
        scores = ops.host(ops.linear(x, mixture.router)).astype(np.float64)
        odds = np.exp(scores - scores.max(axis=1, keepdims=True))
        odds /= odds.sum(axis=1, keepdims=True)
        chosen = np.argsort(-odds, axis=1, kind="stable")[:, : experts.chosen]
        weights = np.take_along_axis(odds, chosen, axis=1)
        if experts.normalised:
            weights /= weights.sum(axis=1, keepdims=True)
        total = ops.zeros_like(x)
        for expert in np.unique(chosen):  # in order, so that each row's sum has one order
            rows, places = np.nonzero(chosen == expert)
            mlp = mixture.experts[expert]
            wide = self._mlp(ops.take(x, rows.astype(np.int32)), mlp)
            made = self.part.gather(ops, ops.linear(wide, mlp.down))
            ops.add_scaled(
                total, rows.astype(np.int32), made, weights[rows, places].astype(np.float32)
            )
        return total


class _Reader(Generic[A, W, C]):
    """Finds the weights of each layer in a checkpoint."""

    def __init__(
        self, shape: Shape, checkpoint: Checkpoint, operators: Operators[A, W, C], part: Part
    ) -> None:
        self.shape, self.checkpoint, self.ops, self.part = shape, checkpoint, operators, part
        family = "gpt2" if shape.family == "gpt2" else "llama"
        table = files("cordee.serve.engine") / "families.toml"
        self.names = next(row for row in rows(table, Names) if row.family == family)
        self.prefix = next(
            (p for p in self.names.prefixes if p + self.names.embedding in checkpoint), ""
        )

    def embedding(self) -> tuple[W, W]:
        shape, names = self.shape, self.names
        size = (shape.vocabulary, shape.hidden)
        table = self.checkpoint.tensor(self.prefix + names.embedding, size)
        embedding = self.ops.linear_weights([table], [])
        if shape.tied and self.part.alone:
            return embedding, embedding
        head = table if shape.tied else self.checkpoint.tensor(names.head, size)
        return embedding, self.ops.linear_weights([self.part.cut(head)], [])

    def positions(self) -> A | None:
        if not self.names.positions:
            return None
        size = (self.shape.positions, self.shape.hidden)
        return self.ops.vector(
            self.checkpoint.tensor(self.prefix + self.names.positions, size).floats()
        )

    def turns(self) -> A | None:
        """[2 positions, width / 2] cosines, then sines."""
        if self.shape.rope is None:
            return None
        frequencies = np.array(self.shape.rope.frequencies(self.shape.head_width))
        angles = np.outer(np.arange(self.shape.positions), frequencies)
        return self.ops.vector(np.concatenate([np.cos(angles), np.sin(angles)]).astype(np.float32))

    def norm(self, name: str) -> Norm[A]:
        weight = self._vector(f"{name}.weight", self.shape.hidden)
        gpt2 = self.shape.family == "gpt2"
        return Norm(weight, self._vector(f"{name}.bias", self.shape.hidden) if gpt2 else None)

    def layer(self, number: int) -> Layer[A, W]:
        shape, names = self.shape, self.names
        at = names.layer.format(layer=number)
        queries, keys = shape.heads * shape.head_width, shape.kv_heads * shape.head_width
        outputs = [queries, keys, keys]
        qkv = self._linear(
            [at + name for name in names.query_key_value],
            outputs,
            shape.hidden,
            shape.attention_bias,
        )
        norms = None
        if shape.head_norms:
            first, second = (
                self._vector(f"{at}{name}.weight", shape.head_width) for name in names.head_norms
            )
            norms = (first, second)
        mlp: Dense[W] | Mixture[W]
        if shape.experts and shape.experts.at(number):
            mlp = self._mixture(at)
        else:
            mlp = self._dense(at, names.gate_up, names.down, shape.mlp_width)
        return Layer(
            before=self.norm(at + names.input_norm),
            query_key_value=qkv,
            head_norms=norms,
            output=self._linear([at + names.output], [shape.hidden], queries, shape.output_bias),
            after=self.norm(at + names.after_norm),
            mlp=mlp,
            heads=self.part.heads(shape, number),
        )

    def _dense(self, at: str, gate_up: Sequence[str], down: str, width: int) -> Dense[W]:
        bias = self.shape.family == "gpt2"
        hidden = self.shape.hidden
        up = self._linear([at + name for name in gate_up], [width] * len(gate_up), hidden, bias)
        return Dense(up, self._linear([at + down], [hidden], width, bias))

    def _mixture(self, at: str) -> Mixture[W]:
        experts, names = self.shape.experts, self.names
        assert experts is not None
        size = (experts.count, self.shape.hidden)
        router = self.checkpoint.tensor(f"{at}{names.router}.weight", size)
        return Mixture(
            self.ops.linear_weights([router], []),
            tuple(
                self._dense(
                    at,
                    [name.format(expert=expert) for name in names.expert_gate_up],
                    names.expert_down.format(expert=expert),
                    experts.width,
                )
                for expert in range(experts.count)
            ),
        )

    def _linear(self, names: list[str], outputs: list[int], inputs: int, bias: bool) -> W:
        """One layer of several tensors, or of one tensor that holds several parts."""
        parts: list[Tensor] = []
        offsets: list[Tensor] = []
        for i, name in enumerate(names):
            sizes = outputs if len(names) == 1 else [outputs[i]]
            parts += self._rows(f"{self.prefix}{name}.weight", sizes, inputs)
            if bias:
                offsets += self._rows(f"{self.prefix}{name}.bias", sizes, None)
        return self.ops.linear_weights(
            [self.part.cut(part) for part in parts], [self.part.cut(offset) for offset in offsets]
        )

    def _rows(self, name: str, sizes: list[int], inputs: int | None) -> list[Tensor]:
        """The tensor's outputs, cut into `sizes`."""
        total = sum(sizes)
        size: tuple[int, ...] = (total,) if inputs is None else (total, inputs)
        turned = self.names.transposed and inputs is not None
        tensor = self.checkpoint.tensor(name, size[::-1] if turned else size)
        raw = np.ascontiguousarray(tensor.raw.T) if turned else tensor.raw
        ends = np.cumsum(sizes)
        return [
            Tensor(name, tensor.dtype, raw[end - size : end])
            for end, size in zip(ends, sizes, strict=True)
        ]

    def _vector(self, name: str, size: int) -> A:
        return self.ops.vector(self.checkpoint.tensor(self.prefix + name, (size,)).floats())
