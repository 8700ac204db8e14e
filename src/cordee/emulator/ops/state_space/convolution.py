"""Causal convolutions along a sequence, channel by channel, with what came before in a cache."""

import itertools

import torch
from torch import Tensor
from torch.nn import functional

from cordee.emulator.ops.contract import refuse
from cordee.emulator.ops.reference import Chapter, vjp

DOCUMENTS = "github.com/Ascend/op-plugin docs/zh/custom_APIs/torch_npu"
chapter = Chapter(source=f"{DOCUMENTS}/torch_npu-npu_masked_causal_conv1d.md")


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


@chapter.reference(
    "npu::npu_fused_causal_conv1d", source=f"{DOCUMENTS}/torch_npu-npu_fused_causal_conv1d.md"
)
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
    if query_start_loc is None:
        starts = list(range(0, len(flat) + 1, x.shape[-2]))
    else:
        starts = query_start_loc.tolist()
    out = torch.ones_like(flat)
    width = weight.shape[0]
    for sequence, (start, end) in enumerate(itertools.pairwise(starts)):
        line = sequence if cache_indices is None else int(cache_indices[sequence])
        if line == pad_slot_id:
            continue
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


@chapter.reference(
    "npu::npu_fused_causal_conv1d_v2", source=f"{DOCUMENTS}/torch_npu-npu_fused_causal_conv1d.md"
)
def fused_causal_conv1d_v2(
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
) -> None:
    """`fused_causal_conv1d` written over `x`, but for the sequences it skips."""
    written: Tensor = fused_causal_conv1d(
        x,
        weight,
        conv_states,
        query_start_loc,
        cache_indices,
        initial_state_mode,
        bias,
        num_accepted_tokens,
        activation,
        pad_slot_id,
        run_mode,
        residual_connection,
        max_query_len,
        num_computed_tokens,
        block_idx_first_scheduled_token,
        block_idx_last_scheduled_token,
        initial_state_idx,
        block_size,
        conv_mode,
    )
    batch = conv_states.shape[0] if cache_indices is None else len(cache_indices)
    lines = torch.arange(batch) if cache_indices is None else cache_indices
    starts = torch.arange(0, x.numel() // x.shape[-1] + 1, x.shape[-2])
    starts = starts if query_start_loc is None else query_start_loc
    counts = starts.diff().long()
    skipped = torch.tensor([line == pad_slot_id for line in lines[: len(counts)].tolist()])
    computed = ~skipped.repeat_interleave(counts)
    flat, fresh = x.reshape(-1, x.shape[-1]), written.reshape(-1, x.shape[-1])
    x.copy_(torch.where(computed.unsqueeze(-1), fresh, flat).reshape(x.shape))


def _convolved(padded: Tensor, weight: Tensor) -> Tensor:
    """[length - width + 1, channels] in float32."""
    windows = padded.float().unfold(0, weight.shape[0], 1)  # [places, channels, width]
    return (windows * weight.float().T).sum(-1)
