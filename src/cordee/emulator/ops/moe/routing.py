"""Copying tokens to their experts in expert order, and adding the experts' answers up again.

A *slot* is one (token, choice) pair; slot `token * k + choice` is `expert_idx.flatten()`'s order.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from cordee.emulator.ops.contract import refuse, unwritten
from cordee.emulator.ops.formats import format_named
from cordee.emulator.ops.quantisation.dynamic import quantised_by_row
from cordee.emulator.ops.reference import Chapter
from cordee.emulator.ops.sources import page_of

chapter = Chapter(source=page_of("npu_moe_init_routing_v2"))

UNQUANTISED, STATIC, DYNAMIC = -1, 0, 1
CUMULATIVE, COUNT, KEY_VALUE = 0, 1, 2


@dataclass(frozen=True, slots=True)
class Routed:
    """The slots of a batch sorted by expert; those of experts outside the range come last."""

    slot: Tensor  # [tokens * k]
    expert: Tensor  # [active], ascending
    start: int
    end: int
    k: int

    @property
    def active(self) -> int:
        return self.expert.numel()

    def gather_index(self) -> Tensor:
        """The row of each slot in the expanded tokens, -1 where its expert is out of range."""
        index = torch.full_like(self.slot, -1)
        index[self.slot[: self.active]] = torch.arange(self.active)
        return index

    def counts(self) -> Tensor:
        """How many slots each expert of the range has."""
        return torch.bincount(self.expert - self.start, minlength=self.end - self.start)

    def place_in_capacity(self, capacity: int) -> Tensor:
        """The row of each active slot in [experts * capacity], -1 where the expert is full."""
        counts = self.counts()
        first = (counts.cumsum(0) - counts)[self.expert - self.start]
        nth = torch.arange(self.active) - first
        return torch.where(nth < capacity, self.expert * capacity + nth, -1)


def sorted_by_expert(expert_idx: Tensor, start: int, end: int) -> Routed:
    """The slots of `expert_idx` [tokens, k] in the order of their experts."""
    expert = expert_idx.flatten().long()
    last = torch.iinfo(torch.int64).max
    slot = torch.argsort(torch.where(expert < start, last, expert), stable=True)
    active = int(((expert >= start) & (expert < end)).sum())
    return Routed(slot, expert[slot[:active]], start, end, expert_idx.shape[1])


@chapter.reference("npu::npu_moe_init_routing", source=page_of("npu_moe_init_routing"))
def init_routing(
    x: Tensor, row_idx: Tensor, expert_idx: Tensor, active_num: int
) -> tuple[Tensor, Tensor, Tensor]:
    """Tokens in expert order, each row number's place in that order, and the sorted experts."""
    rows, k = expert_idx.shape
    sorted_expert, order = torch.sort(expert_idx.flatten(), stable=True)
    sorted_row = row_idx.flatten()[order].long()
    place = torch.empty_like(row_idx.flatten())
    place[sorted_row] = torch.arange(rows * k, dtype=place.dtype)
    kept = min(active_num, rows) * k
    return x[sorted_row[:kept] % rows], place, sorted_expert


@chapter.reference("npu::npu_moe_init_routing_v2")
def init_routing_v2(
    x: Tensor,
    expert_idx: Tensor,
    scale: Tensor | None = None,
    offset: Tensor | None = None,
    active_num: int = -1,
    expert_capacity: int = -1,
    expert_num: int = -1,
    drop_pad_mode: int = 0,
    expert_tokens_num_type: int = 0,
    expert_tokens_num_flag: bool = False,
    quant_mode: int = -1,
    active_expert_range: tuple[int, ...] = (),
    row_idx_type: int = 0,
    x_dtype: int | None = None,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Tokens in expert order, the index between the two orders, expert counts, row scales."""
    refuse(
        "npu_moe_init_routing_v2",
        x_dtype=x_dtype,
        quant_mode=quant_mode not in (UNQUANTISED, STATIC, DYNAMIC),
    )
    start, end = active_expert_range or (0, expert_num)
    routed = sorted_by_expert(expert_idx, start, end)
    if drop_pad_mode == 1:
        place = routed.place_in_capacity(expert_capacity)
        rows, index = expert_num * expert_capacity, _padded_index(routed, place)
    else:
        place = torch.arange(routed.active)
        total = routed.slot.numel()
        rows = min(active_num, total) if active_num > 0 else total
        index = routed.slot if row_idx_type == 1 else routed.gather_index()
    expanded, scales = _expand(x, routed, place, rows, (scale, offset), quant_mode)
    if drop_pad_mode == 1:
        expanded = expanded.reshape(expert_num, expert_capacity, -1)
    if expert_tokens_num_flag:
        counts = _counts(routed, expert_tokens_num_type, expert_num)
    elif expert_tokens_num_type == KEY_VALUE:
        counts = unwritten((expert_num, 2), torch.int64)
    else:
        counts = unwritten((end - start,), torch.int64)
    if scales is None:
        scales = unwritten((rows,), torch.float32)
    return expanded, index.to(expert_idx.dtype), counts, scales


@chapter.reference("npu::npu_moe_init_routing_quant")
def init_routing_quant(
    x: Tensor,
    expert_idx: Tensor,
    scale: Tensor | None = None,
    offset: Tensor | None = None,
    active_num: int = 1024,
    expert_capacity: int = 0,
    expert_num: int = 256,
    drop_pad_mode: int = 0,
    expert_tokens_num_mode: int = 0,
    expert_tokens_before_capacity_flag: bool = False,
    quant_mode: int = 1,
) -> tuple[Tensor, Tensor, Tensor | None, Tensor | None, Tensor | None]:
    """Quantised tokens in expert order, slot places, counts, counts before dropping, scales."""
    routed = sorted_by_expert(expert_idx, 0, expert_num)
    counts = before_capacity = None
    if drop_pad_mode == 1:
        place = routed.place_in_capacity(expert_capacity)
        rows, index = expert_num * expert_capacity, _padded_index(routed, place)
        if expert_tokens_before_capacity_flag:
            before_capacity = routed.counts().int()
    else:
        place = torch.arange(routed.active)
        total = routed.slot.numel()
        rows, index = min(active_num, total) if active_num > 0 else total, routed.gather_index()
        if expert_tokens_num_mode > 0:
            counts = routed.counts()
            counts = (counts.cumsum(0) if expert_tokens_num_mode == 1 else counts).int()
    expanded, scales = _expand(x, routed, place, rows, (scale, offset), quant_mode)
    if drop_pad_mode == 1:
        expanded = expanded.reshape(expert_num, expert_capacity, -1)
    return expanded, index.to(expert_idx.dtype), counts, before_capacity, scales


@chapter.reference("npu::npu_moe_finalize_routing", source=page_of("npu_moe_finalize_routing"))
def finalize_routing(
    expanded_permuted_rows: Tensor,
    skip1: Tensor | None,
    skip2: Tensor | None,
    bias: Tensor | None,
    scales: Tensor | None,
    expanded_src_to_dst_row: Tensor,
    export_for_source_row: Tensor | None,
    drop_pad_mode: int | None = 0,
    k: int | None = 1,
) -> Tensor:
    """The weighted sum of the k experts' answers for each token [tokens, hidden]."""
    row = expanded_permuted_rows.flatten(0, -2).float()
    total = expanded_src_to_dst_row.numel()
    tokens = scales.shape[0] if scales is not None else total // (k or 1)
    choices = total // tokens if tokens else 1
    if drop_pad_mode in (2, 3):
        place = expanded_src_to_dst_row.reshape(tokens, choices).long()
    else:
        place = expanded_src_to_dst_row.reshape(choices, tokens).T.long()
    answer = row[place.clamp(min=0)] * (place >= 0).unsqueeze(-1)  # [tokens, choices, hidden]
    if bias is not None:
        assert export_for_source_row is not None
        answer = answer + bias.float()[export_for_source_row.reshape(tokens, choices).long()]
    if scales is not None:
        answer = answer * scales.float().unsqueeze(-1)
    out = answer.sum(1)
    for skip in (skip1, skip2):
        out = out if skip is None else out + skip.float()
    return out.to(expanded_permuted_rows.dtype)


def _padded_index(routed: Routed, place: Tensor) -> Tensor:
    index = torch.full_like(routed.slot, -1)
    index[routed.slot[: routed.active]] = place
    return index


def _counts(routed: Routed, kind: int, expert_num: int) -> Tensor:
    counts = routed.counts()
    if kind == COUNT:
        return counts
    if kind == CUMULATIVE:
        return counts.cumsum(0)
    busy = counts.nonzero().flatten()
    pairs = unwritten((expert_num, 2), torch.int64)
    pairs[: len(busy)] = torch.stack((busy + routed.start, counts[busy]), -1)
    return pairs


def _expand(
    x: Tensor,
    routed: Routed,
    place: Tensor,
    rows: int,
    parameters: tuple[Tensor | None, Tensor | None],
    mode: int,
) -> tuple[Tensor, Tensor | None]:
    """`x` copied to row `place` of each active slot, quantised, and the scale of every row."""
    scale, offset = parameters
    kept = (place >= 0) & (place < rows)
    to, expert = place[kept], routed.expert[kept] - routed.start
    token = routed.slot[: routed.active][kept] // routed.k
    value, row_scale = x[token], None
    if mode == UNQUANTISED and scale is not None:
        row_scale = scale[token]
    elif mode == STATIC:
        assert scale is not None
        shift = 0.0 if offset is None else offset.float()[:1]
        value = (value.float() * scale.float()[:1] + shift).round().clamp(-128, 127).to(torch.int8)
    elif mode == DYNAMIC:
        smooth = scale if scale is None or scale.shape[0] == 1 else scale[expert]
        # A batch of no tokens brings a scale of no rows, in any shape.
        value, row_scale = _quantised_rows(value.float(), smooth if len(value) else None)
    expanded = unwritten((rows, x.shape[1]), value.dtype)
    expanded[to] = value
    if row_scale is None:
        return expanded, None
    scales = unwritten((rows, *row_scale.shape[1:]), row_scale.dtype)
    scales[to] = row_scale
    return expanded, scales


def _quantised_rows(value: Tensor, smooth: Tensor | None) -> tuple[Tensor, Tensor]:
    """Each row in int8 with its own scale, so that its largest value is 127."""
    value = value if smooth is None else value * smooth.float()
    return quantised_by_row(value, format_named("int8"))
