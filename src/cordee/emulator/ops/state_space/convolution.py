"""Causal convolutions along a sequence, channel by channel, with what came before in a cache."""

import itertools
from collections.abc import Iterator
from inspect import signature
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from cordee.emulator.ops.contract import refuse
from cordee.emulator.ops.reference import Chapter, vjp
from cordee.emulator.ops.sources import page_of

chapter = Chapter(source=page_of("npu_masked_causal_conv1d"))


@chapter.reference("npu::npu_masked_causal_conv1d")
def masked_causal_conv1d(input: Tensor, weight: Tensor, mask: Tensor | None = None) -> Tensor:
    """Convolve `input` [sequence, batch, channels] by `weight` [width, channels].

    Places where `mask` [batch, sequence] is false become zero.
    """
    width, channels = weight.shape
    padded = functional.pad(input.float().permute(1, 2, 0), (width - 1, 0))
    kernel = weight.float().T.unsqueeze(1)
    out = functional.conv1d(padded, kernel, groups=channels).permute(2, 0, 1)
    if mask is not None:
        out = out * mask.T.unsqueeze(-1)
    return out.to(input.dtype)


@chapter.reference("npu::npu_masked_causal_conv1d_backward")
def masked_causal_conv1d_backward(
    grad_output: Tensor, input: Tensor, weight: Tensor, mask: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """Gradients of `input` and `weight`."""
    grad_input, grad_weight = vjp(
        lambda x, w: masked_causal_conv1d(x, w, mask), (input, weight), (grad_output,)
    )
    assert grad_input is not None
    assert grad_weight is not None
    return grad_input, grad_weight


@chapter.reference("npu::npu_fused_causal_conv1d", source=page_of("npu_fused_causal_conv1d"))
def fused_causal_conv1d(
    x: Tensor,
    weight: Tensor,
    conv_states: Tensor,
    query_start_loc: Tensor | None = None,
    cache_indices: Tensor | None = None,
    initial_state_mode: Tensor | None = None,
    bias: Tensor | None = None,
    num_accepted_tokens: Tensor | None = None,
    activation: str | None = "None",
    pad_slot_id: int | None = -1,
    run_mode: int | None = 0,
    residual_connection: int | None = 0,
    max_query_len: int | None = -1,
    num_computed_tokens: Tensor | None = None,
    block_idx_first_scheduled_token: Tensor | None = None,
    block_idx_last_scheduled_token: Tensor | None = None,
    initial_state_idx: Tensor | None = None,
    block_size: int | None = 128,
    conv_mode: str | None = "default",
) -> Tensor:
    """Convolve each sequence of `x` after what its cache holds, and move the cache on.

    `x` is [tokens, channels] with the sequences' starts given, or [batch, length, channels].
    `initial_state_mode`, `bias`, `activation` and `run_mode` mean nothing to this operator.
    """
    refuse(
        "npu_fused_causal_conv1d",
        block_idx_first_scheduled_token=block_idx_first_scheduled_token,
        block_idx_last_scheduled_token=block_idx_last_scheduled_token,
        initial_state_idx=initial_state_idx,
    )
    flat = x.reshape(-1, x.shape[-1])
    out = torch.ones_like(flat)
    width = weight.shape[0]
    rows = _sequences(x, query_start_loc, cache_indices, pad_slot_id)
    for sequence, line, start, end in rows:
        done = None if num_computed_tokens is None else int(num_computed_tokens[sequence])
        if done == 0:
            offset, before = 0, flat.new_zeros(width - 1, flat.shape[1])
        else:
            accepted = None if num_accepted_tokens is None else int(num_accepted_tokens[sequence])
            offset = conv_states.shape[1] - (width - 1) if accepted is None else accepted - 1
            before = conv_states[line, : offset + width - 1]
        padded = torch.cat((before, flat[start:end]))
        kept = min(conv_states.shape[1], len(padded))
        conv_states[line, conv_states.shape[1] - kept :] = padded[len(padded) - kept :]
        y = _convolved(padded[offset:], weight)
        if conv_mode == "pangu" and done is not None:
            y[: min(max(width - 1 - done, 0), end - start)] = 0
        out[start:end] = (y + flat[start:end] if residual_connection else y).to(x.dtype)
    return out.reshape(x.shape)


@chapter.reference("npu::npu_fused_causal_conv1d_v2", source=page_of("npu_fused_causal_conv1d"))
def fused_causal_conv1d_v2(*values: Any, **named: Any) -> None:
    """`fused_causal_conv1d` written over `x`, but for the sequences it skips."""
    given = signature(fused_causal_conv1d).bind(*values, **named)
    given.apply_defaults()
    x = given.arguments["x"]
    out = fused_causal_conv1d(*values, **named).view(-1, x.shape[-1])
    flat = x.reshape(-1, x.shape[-1])
    names = ("query_start_loc", "cache_indices", "pad_slot_id")
    for _, _, start, end in _sequences(x, *(given.arguments[name] for name in names)):
        flat[start:end] = out[start:end]
    x.copy_(flat.view(x.shape))


def _sequences(
    x: Tensor, starts: Tensor | None, lines: Tensor | None, skipped: int | None
) -> Iterator[tuple[int, int, int, int]]:
    """Number, line of the cache, first token and the one after the last of each that is not skipped."""
    length = x.numel() // x.shape[-1]
    places = list(range(0, length + 1, x.shape[-2])) if starts is None else starts.tolist()
    for sequence, (start, end) in enumerate(itertools.pairwise(places)):
        line = sequence if lines is None else int(lines[sequence])
        if line != skipped:
            yield sequence, line, start, end


def _convolved(padded: Tensor, weight: Tensor) -> Tensor:
    """[length - width + 1, channels] in float32."""
    windows = padded.float().unfold(0, weight.shape[0], 1)  # [places, channels, width]
    return (windows * weight.float().T).sum(-1)
