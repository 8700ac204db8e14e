"""What npu_fusion_attention and its backward are told, in all their versions."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import wraps
from typing import Any, TypeVar

import torch
from torch import Tensor

from cordee.emulator.ops.attention.fusion import Fusion, Views, views
from cordee.emulator.ops.attention.masks import EVERY_TOKEN, Visibility
from cordee.emulator.ops.attention.position import PseType
from cordee.emulator.ops.contract import refuse
from cordee.emulator.ops.demands import require
from cordee.emulator.ops.reference import Chapter
from cordee.emulator.ops.schema import named

DOCUMENTS = "gitcode.com/Ascend/op-plugin docs/zh/custom_APIs/torch_npu"
chapter = Chapter(source=f"{DOCUMENTS}/torch_npu-npu_fusion_attention.md")

R = TypeVar("R")

# What some versions call otherwise.
MEANT = {"pre_tockens": "pre_tokens", "next_tockens": "next_tokens", "scale_value": "scale"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Arguments:
    """Each argument that some version has, and its default there."""

    query: Tensor
    key: Tensor
    value: Tensor
    head_num: int
    input_layout: str
    pse: Tensor | None = None
    padding_mask: Tensor | None = None
    atten_mask: Tensor | None = None
    query_rope: Tensor | None = None
    key_rope: Tensor | None = None
    scale: float = 1.0
    keep_prob: float = 1.0
    pre_tokens: int = EVERY_TOKEN
    next_tokens: int = EVERY_TOKEN
    inner_precise: int = 0
    prefix: list[int] | None = None
    actual_seq_qlen: list[int] | Tensor | None = None
    actual_seq_kvlen: list[int] | Tensor | None = None
    sparse_mode: int = 0
    gen_mask_parallel: bool = True
    sync: bool = False
    pse_type: int = PseType.SCALED_TOGETHER
    q_start_idx: list[int] | None = None
    kv_start_idx: list[int] | None = None
    softmax_layout: str = ""
    sink: Tensor | None = None
    dropout_mask: Tensor | None = None
    seed: int | Tensor | None = 0
    offset: int | Tensor | None = 0
    # Of the backward alone.
    dy: Tensor | None = None
    softmax_max: Tensor | None = None
    softmax_sum: Tensor | None = None
    softmax_in: Tensor | None = None
    attention_in: Tensor | None = None
    numels: int = 0

    def fusion(self) -> Fusion:
        """What they say about the attention, checked."""
        return Fusion(
            heads=self.head_num,
            layout=self.input_layout.upper(),
            scale=self.scale,
            visibility=Visibility(
                self.atten_mask,
                self.sparse_mode,
                self.pre_tokens,
                self.next_tokens,
                tuple(self.prefix or ()),
            ),
            pse=self.pse,
            pse_type=self.pse_type,
            query_start=_first(self.q_start_idx),
            key_start=_first(self.kv_start_idx),
            query_ends=_ends(self.actual_seq_qlen),
            key_ends=_ends(self.actual_seq_kvlen),
            softmax_layout=self.softmax_layout,
            sink=self.sink,
            keep_prob=self.keep_prob,
        )

    @property
    def generator(self) -> tuple[int, int]:
        """Seed and offset of the generator that dropout draws from."""
        return _number(self.seed), _number(self.offset)

    def views(self, fusion: Fusion) -> Views:
        """Query, key and value as [B, N, S, D], the rotary parts joined on."""
        query = _joined(fusion, self.query, self.query_rope)
        return views(fusion, query, _joined(fusion, self.key, self.key_rope), self.value)


def read(operator: str, values: tuple[Any, ...], keywords: dict[str, Any]) -> Arguments:
    """What a call of `operator` says."""
    given = named(operator, values, keywords)
    told = Arguments(**{MEANT.get(name, name): value for name, value in given.items()})
    refuse(operator, padding_mask=told.padding_mask)
    return told


def version(
    operator: str, *, source: str = "", seeded: bool | None = None
) -> Callable[[Callable[[Arguments], R]], Callable[..., R]]:
    """Declare a function of `Arguments` the reference of `operator`."""

    def declare(function: Callable[[Arguments], R]) -> Callable[..., R]:
        @chapter.reference(operator, source=source, seeded=seeded)
        @wraps(function)
        def called(*values: Any, **keywords: Any) -> R:
            return function(read(operator, values, keywords))

        return called

    return declare


def _ends(lengths: list[int] | Tensor | None) -> tuple[int, ...]:
    """Where each sequence ends."""
    return tuple(lengths.tolist() if isinstance(lengths, Tensor) else lengths or ())


def _first(starts: list[int] | None) -> int:
    """The position that ALiBi counts from."""
    return starts[0] if starts else 0


def _number(given: int | Tensor | None) -> int:
    return 0 if given is None else int(given)


def _joined(fusion: Fusion, tensor: Tensor, rope: Tensor | None) -> Tensor:
    """`tensor` with its rotary part joined to each head, which adds their dot products up."""
    if rope is None:
        return tensor
    require(fusion.packed, "the size of actual_seq_qlen and actual_seq_kvlen cannot be empty.")
    return torch.cat([tensor, rope], dim=-1)
