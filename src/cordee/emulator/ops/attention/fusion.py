"""Attention for training, of whole batches or of sequences in a row, forward and backward.

The maths behind every npu_fusion_attention; `fusion_operators` has the operators themselves.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from cordee.emulator.ops.attention import layouts
from cordee.emulator.ops.attention.dense import Attended, Terms, attend, attend_grad
from cordee.emulator.ops.attention.dropout import unpacked
from cordee.emulator.ops.attention.masks import Sparse, Visibility
from cordee.emulator.ops.attention.position import PseType, position_bias
from cordee.emulator.ops.demands import require

LAYOUTS = ("BSH", "SBH", "BNSD", "BSND", "TND")
STATISTIC_COPIES = 8  # the chip stores a row's maximum and sum eight times: one 32-byte block


@dataclass(frozen=True, slots=True, kw_only=True)
class Fusion:
    """What the operators are told besides query, key and value."""

    heads: int
    layout: str
    scale: float
    visibility: Visibility
    pse: Tensor | None = None
    pse_type: int = PseType.SCALED_TOGETHER
    query_start: int = 0
    key_start: int = 0
    query_ends: tuple[int, ...] = ()
    key_ends: tuple[int, ...] = ()
    softmax_layout: str = ""
    sink: Tensor | None = None
    keep_prob: float = 1.0
    bits: Tensor | None = None  # the packed dropout mask

    def __post_init__(self) -> None:
        require(self.heads > 0, f"head_num must > 0, but got {self.heads}")
        require(
            0 < self.keep_prob <= 1,
            f"The keep_prob value must be in range of (0, 1], but got {self.keep_prob}",
        )
        require(
            self.layout in LAYOUTS,
            f"The input_layout should be BSH/SBH/BNSD/BSND/TND, but got {self.layout}",
        )
        require(
            self.softmax_layout in ("", "TND") and (not self.softmax_layout or self.packed),
            "softmax_layout=TND only supported when input_layout=TND",
        )
        self._check_mode()

    @property
    def packed(self) -> bool:
        """Whether sequences lie in a row."""
        return self.layout in layouts.PACKED

    def _check_mode(self) -> None:
        mode = self.visibility.mode
        if self.packed:
            require(
                0 <= mode <= Sparse.BAND_LEFT_UP_CAUSAL and mode != Sparse.PREFIX,
                f"The sparse_mode value must be in range of [0,5) or (5,8], but got {mode}",
            )
            require(
                0 < len(self.query_ends) == len(self.key_ends),
                (
                    "the size of actual_seq_qlen and actual_seq_kvlen must be the same and "
                    "cannot be empty."
                ),
            )
        else:
            require(
                0 <= mode <= Sparse.PREFIX_COMPRESSED,
                f"The sparse_mode value must be in range of [0,6], but got {mode}",
            )


class Views(NamedTuple):
    """Query, key and value as [B, N, S, D], the rotary parts joined on."""

    query: Tensor
    key: Tensor
    value: Tensor


class Piece(NamedTuple):
    """Queries that attend to the same keys, and how."""

    queries: slice
    keys: slice
    terms: Terms


def views(fusion: Fusion, query: Tensor, key: Tensor, value: Tensor) -> Views:
    """The operator's tensors as [B, N, S, D]."""
    query = layouts.to_bnsd(query, fusion.layout, fusion.heads)
    key_heads = layouts.heads_of(key, fusion.layout, query.shape[-1])
    require(
        key_heads > 0 and fusion.heads % key_heads == 0,
        f"{fusion.heads} query heads cannot share {key_heads} heads of key and value",
    )
    key = layouts.to_bnsd(key, fusion.layout, key_heads)
    return Views(query, key, layouts.to_bnsd(value, fusion.layout, key_heads))


def weights_count(fusion: Fusion, of: Views) -> int:
    """How many attention weights there are; dropout needs a bit for each."""
    batch, heads = of.query.shape[:2]
    return sum(
        batch * heads * _length(queries) * _length(keys) for queries, keys in _spans(fusion, of)
    )


def forward(fusion: Fusion, of: Views) -> Attended:
    """Attention of all pieces; tokens in none of them give zeros."""
    if not fusion.packed:
        (piece,) = _pieces(fusion, of)
        return attend(*of, piece.terms)
    rows = of.query.shape[:3]
    out = torch.zeros(*rows, of.value.shape[-1])
    maximum, total = torch.zeros(*rows, 1), torch.zeros(*rows, 1)
    for queries, keys, terms in _pieces(fusion, of):
        found = attend(of.query[:, :, queries], of.key[:, :, keys], of.value[:, :, keys], terms)
        out[:, :, queries] = found.out
        maximum[:, :, queries] = found.maximum
        total[:, :, queries] = found.total
    return Attended(out, maximum, total)


class FusionGradients(NamedTuple):
    """Gradients of the views, of `pse` and of `sink`, in float32."""

    query: Tensor
    key: Tensor
    value: Tensor
    pse: Tensor | None
    sink: Tensor | None


def backward(fusion: Fusion, of: Views, grad: Tensor, attended: Attended) -> FusionGradients:
    """Gradients of all pieces, given that of the output [B, N, S, Dv]."""
    grads = [torch.zeros(tensor.shape) for tensor in of]
    grad_pse = None if fusion.pse is None else torch.zeros(fusion.pse.shape)
    grad_sink = None if fusion.sink is None else torch.zeros(fusion.sink.shape)
    for queries, keys, terms in _pieces(fusion, of):
        found = attend_grad(
            of.query[:, :, queries],
            of.key[:, :, keys],
            of.value[:, :, keys],
            grad[:, :, queries],
            Attended(*(part[:, :, queries] for part in attended)),
            terms,
        )
        grads[0][:, :, queries] += found.query
        grads[1][:, :, keys] += found.key
        grads[2][:, :, keys] += found.value
        if grad_pse is not None and found.bias is not None:
            grad_pse += found.bias.view(grad_pse.shape)
        if grad_sink is not None and found.sink is not None:
            grad_sink += found.sink
    return FusionGradients(grads[0], grads[1], grads[2], grad_pse, grad_sink)


def stored(fusion: Fusion, statistic: Tensor) -> Tensor:
    """A row statistic [B, N, S, 1] the way the operator gives it: [B, N, S, 8] or [T, N, 8]."""
    copies = statistic.expand(*statistic.shape[:-1], STATISTIC_COPIES)
    if not fusion.packed:
        return copies.contiguous()
    tokens_first = copies[0].transpose(0, 1).contiguous()
    if fusion.softmax_layout == "TND":
        return tokens_first
    # Documented default: heads come before tokens, within each sequence, under the same shape.
    rows = [copies[0, :, span].flatten() for span in layouts.spans(fusion.query_ends)]
    flat = tokens_first.flatten()
    flat[: sum(row.numel() for row in rows)] = torch.cat(rows)
    return flat.view(tokens_first.shape)


def loaded(fusion: Fusion, statistic: Tensor) -> Tensor:
    """A row statistic [B, N, S, 1], given as `stored` gives it."""
    if not fusion.packed:
        return statistic[..., :1]
    if fusion.softmax_layout == "TND":
        return statistic[..., :1].transpose(0, 1).unsqueeze(0)
    tokens, heads, copies = statistic.shape
    found = torch.zeros(1, heads, tokens, 1)
    flat, start = statistic.flatten(), 0
    for span in layouts.spans(fusion.query_ends):
        stop = start + heads * _length(span) * copies
        found[0, :, span] = flat[start:stop].view(heads, -1, copies)[..., :1]
        start = stop
    return found


def _pieces(fusion: Fusion, of: Views) -> Iterator[Piece]:
    start = 0
    batch, heads = of.query.shape[:2]
    spans = _spans(fusion, of)
    for index, (queries, keys) in enumerate(spans):
        shape = (batch, heads, _length(queries), _length(keys))
        count = shape[0] * shape[1] * shape[2] * shape[3]
        visibility = fusion.visibility
        if fusion.packed:
            visibility = visibility.sequence(index, len(spans))
        kept = None
        if fusion.bits is not None:
            kept = unpacked(fusion.bits, start + count)[start:].view(shape)
        if count > 0:
            yield Piece(queries, keys, _terms(fusion, visibility, index, shape, kept))
        start += count


def _terms(
    fusion: Fusion,
    visibility: Visibility,
    index: int,
    shape: tuple[int, int, int, int],
    kept: Tensor | None,
) -> Terms:
    bias = None
    if fusion.pse is not None:
        pse = fusion.pse
        if fusion.packed and pse.dim() > 1 and pse.shape[0] > 1:
            pse = pse[index : index + 1]
        bias = position_bias(
            pse, fusion.pse_type, shape[2], shape[3], fusion.query_start, fusion.key_start
        )
    return Terms(
        scale=fusion.scale,
        hidden=visibility.rows(shape[2], shape[3]),
        bias=bias,
        bias_is_scaled=fusion.pse_type == PseType.SCALED_TOGETHER,
        sink=fusion.sink,
        kept=kept,
        keep_prob=fusion.keep_prob,
    )


def _spans(fusion: Fusion, of: Views) -> list[tuple[slice, slice]]:
    if not fusion.packed:
        return [(slice(0, of.query.shape[2]), slice(0, of.key.shape[2]))]
    queries, keys = layouts.spans(fusion.query_ends), layouts.spans(fusion.key_ends)
    return list(zip(queries, keys, strict=True))


def _length(span: slice) -> int:
    return int(span.stop - span.start)
