"""The gated delta rule of linear attention (arXiv:2412.06464, equation 10), token by token.

S_t = a_t S_{t-1} + b_t (v_t - a_t S_{t-1} k_t) k_t^T and o_t = scale * S_t q_t for every head.
The chunked form gives the same numbers in another order.
"""

import torch
from torch import Tensor

from cordee.core.errors import NotEmulated
from cordee.emulator.ops.reference import Chapter
from cordee.emulator.ops.sources import page_of

chapter = Chapter(source=page_of("npu_recurrent_gated_delta_rule"))


@chapter.reference("npu::npu_recurrent_gated_delta_rule")
def recurrent(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    state: Tensor,
    beta: Tensor | None = None,
    scale: float | None = None,
    actual_seq_lengths: Tensor | None = None,
    ssm_state_indices: Tensor | None = None,
    num_accepted_tokens: Tensor | None = None,
    g: Tensor | None = None,
    gk: Tensor | None = None,
) -> Tensor:
    """Outputs [tokens, value heads, value size]; `state` gets the state after every token.

    Token t keeps its state in `state[ssm_state_indices[t]]`; a sequence starts from that of the
    last token it accepted before.
    """
    if actual_seq_lengths is None or ssm_state_indices is None:
        raise NotEmulated(
            "npu_recurrent_gated_delta_rule: no actual_seq_lengths or no ssm_state_indices"
        )
    scale = key.shape[-1] ** -0.5 if scale is None else scale
    q, k, v, strength, decay = _per_head(query, key, value, beta, g, gk)
    out = torch.empty_like(v)
    first = 0
    for sequence, length in enumerate(actual_seq_lengths.tolist()):
        accepted = 1 if num_accepted_tokens is None else int(num_accepted_tokens[sequence])
        start = state[int(ssm_state_indices[first + accepted - 1])].float()
        for token in range(first, first + length):
            start = _step(start, k[token], v[token], strength[token], decay[token])
            out[token] = scale * torch.einsum("hvk,hk->hv", start, q[token])
            state[int(ssm_state_indices[token])] = start.to(state.dtype)
        first += length
    return out.to(value.dtype)


chapter.pure("npu::npu_recurrent_gated_delta_rule_functional", recurrent, "state")


@chapter.reference("npu::npu_chunk_gated_delta_rule", source=page_of("npu_chunk_gated_delta_rule"))
def chunk(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    beta: Tensor | None = None,
    initial_state: Tensor | None = None,
    actual_seq_lengths: Tensor | None = None,
    scale: float | None = None,
    g: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """Outputs [tokens, value heads, value size] and the last state of each sequence."""
    q, k, v, strength, decay = _per_head(query, key, value, beta, g, None)
    lengths = [len(q)] if actual_seq_lengths is None else actual_seq_lengths.tolist()
    shape = (len(lengths), v.shape[1], v.shape[2], k.shape[2])
    states = torch.zeros(shape) if initial_state is None else initial_state.float().clone()
    out = torch.empty_like(v)
    token = 0
    for sequence, length in enumerate(lengths):
        state = states[sequence]
        for _ in range(length):
            state = _step(state, k[token], v[token], strength[token], decay[token])
            out[token] = torch.einsum("hvk,hk->hv", state, q[token])
            token += 1
        states[sequence] = state
    dtype = query.dtype if initial_state is None else initial_state.dtype
    return (out * (1.0 if scale is None else scale)).to(value.dtype), states.to(dtype)


def _per_head(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    beta: Tensor | None,
    g: Tensor | None,
    gk: Tensor | None,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """All of them [tokens, value heads, ...] in float32; the decay as a factor for each key."""
    tokens, heads, _ = value.shape
    groups = heads // key.shape[1]
    q, k = (x.float().repeat_interleave(groups, 1) for x in (query, key))
    strength = torch.ones(tokens, heads) if beta is None else beta.float()
    decay = torch.ones(tokens, heads, key.shape[2])
    decay = decay if g is None else decay * g.float().exp().unsqueeze(-1)
    decay = decay if gk is None else decay * gk.float().exp()
    return q, k, value.float(), strength, decay


def _step(state: Tensor, k: Tensor, v: Tensor, strength: Tensor, decay: Tensor) -> Tensor:
    """The state [heads, value size, key size] after one more token."""
    state = state * decay.unsqueeze(1)
    known = torch.einsum("hvk,hk->hv", state, k)
    return state + (strength.unsqueeze(-1) * (v - known)).unsqueeze(-1) * k.unsqueeze(1)
