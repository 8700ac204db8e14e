"""One model over several chips, with the same answers bit for bit as on one.

Every linear layer is cut by its outputs, never by its inputs, so that no sum is split between chips;
what the parts made is gathered. That sends about twice what sums of halves would (Megatron-LM,
arXiv:1909.08053, section 3), and buys that a replica on two chips can go on where one on one chip was.
"""

from dataclasses import dataclass

from cordee.core.errors import UsageError
from cordee.serve.engine.checkpoint import Tensor
from cordee.serve.engine.operators.table import A, C, Group, Heads, Operators, W
from cordee.serve.engine.shape import Shape


@dataclass(frozen=True, slots=True)
class Part:
    """Which part of the model this chip has."""

    rank: int
    count: int
    group: Group | None = None

    @property
    def alone(self) -> bool:
        return self.count == 1

    def heads(self, shape: Shape, layer: int) -> Heads:
        """The heads that this chip works on."""
        return Heads(
            shape.heads // self.count,
            shape.kv_heads // self.count,
            shape.head_width,
            shape.windows[layer],
        )

    def cut(self, tensor: Tensor) -> Tensor:
        """This chip's outputs of a tensor [outputs, ...]."""
        if self.alone:
            return tensor
        size = tensor.shape[0] // self.count
        return Tensor(
            tensor.name, tensor.dtype, tensor.raw[self.rank * size : (self.rank + 1) * size]
        )

    def gather(self, operators: Operators[A, W, C], x: A) -> A:
        """What all chips made, side by side."""
        if self.group is None:
            return x
        return operators.gather(x, self.group)

    def check(self, shape: Shape) -> None:
        """Raise `UsageError` where the model cannot be cut into so many parts."""
        sizes = {
            "key-value heads": shape.kv_heads,
            "hidden_size": shape.hidden,
            "intermediate_size": shape.experts.width if shape.experts else shape.mlp_width,
            "vocab_size": shape.vocabulary,
        }
        for name, size in sizes.items():
            if size % (8 * self.count if name == "intermediate_size" else self.count):
                raise UsageError(
                    f"the model cannot be cut into {self.count} parts: {name} is {size}"
                )


ALONE = Part(0, 1)
