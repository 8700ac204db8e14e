"""Sequence mixers against their formulas written out token by token, and autograd."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from cordee.core.errors import NotEmulated
from cordee.emulator.ops import state_space as state_space
from cordee.emulator.ops.reference import REFERENCES


def run(name: str, *arguments: object, **options: object) -> tuple[Tensor, ...]:
    found = REFERENCES[f"npu::{name}"].function(*arguments, **options)
    return found if isinstance(found, tuple) else (found,)


def delta_rule(
    state: Tensor, q: Tensor, k: Tensor, v: Tensor, beta: Tensor, decay: Tensor
) -> tuple[Tensor, Tensor]:
    """One head: every output and every state, as the paper's product of matrices."""
    outs, states = [], []
    for t in range(len(q)):
        forget = torch.eye(len(k[t])) - beta[t] * torch.outer(k[t], k[t])
        state = state @ (decay[t].diag() @ forget) + beta[t] * torch.outer(v[t], k[t])
        states.append(state)
        outs.append(state @ q[t])
    return torch.stack(outs), torch.stack(states)


def sequences() -> dict[str, Tensor]:
    q, k = F.normalize(torch.randn(7, 2, 4), dim=-1), F.normalize(torch.randn(7, 2, 4), dim=-1)
    return {"query": q, "key": k, "value": torch.randn(7, 4, 3)}


def test_the_chunked_rule_gives_outputs_and_last_states() -> None:
    given, beta, g = sequences(), torch.rand(7, 4), -torch.rand(7, 4)
    start = torch.randn(2, 4, 3, 4)
    out, last = run(
        "npu_chunk_gated_delta_rule",
        **given,
        beta=beta,
        g=g,
        initial_state=start,
        actual_seq_lengths=torch.tensor([3, 4]),
        scale=0.5,
    )
    for sequence, part in enumerate((slice(0, 3), slice(3, 7))):
        for head in range(4):
            q, k = given["query"][part, head // 2], given["key"][part, head // 2]
            decay = g[part, head].exp().unsqueeze(1).expand(-1, 4)
            outs, states = delta_rule(
                start[sequence, head], q, k, given["value"][part, head], beta[part, head], decay
            )
            torch.testing.assert_close(out[part, head], 0.5 * outs)
            torch.testing.assert_close(last[sequence, head], states[-1])


def test_the_recurrent_rule_keeps_the_state_after_every_token() -> None:
    given, beta, g, gk = sequences(), torch.rand(7, 4), -torch.rand(7, 4), -torch.rand(7, 4, 4)
    states, places = torch.randn(9, 4, 3, 4), torch.tensor([8, 1, 2, 3, 0, 5, 6])
    options = {
        "beta": beta,
        "g": g,
        "gk": gk,
        "actual_seq_lengths": torch.tensor([3, 4]),
        "ssm_state_indices": places,
        "num_accepted_tokens": torch.tensor([2, 1]),
    }
    before = states.clone()
    out, written = run(
        "npu_recurrent_gated_delta_rule_functional", *given.values(), states, **options
    )
    assert torch.equal(states, before)
    for part, start in ((slice(0, 3), 1), (slice(3, 7), 3)):
        for head in range(4):
            q, k = given["query"][part, head // 2], given["key"][part, head // 2]
            decay = (g[part, head].unsqueeze(1) + gk[part, head]).exp()
            outs, each = delta_rule(
                before[start, head], q, k, given["value"][part, head], beta[part, head], decay
            )
            torch.testing.assert_close(out[part, head], 0.5 * outs)
            torch.testing.assert_close(written[places[part], head], each)
    (again,) = run("npu_recurrent_gated_delta_rule", *given.values(), states, **options)
    torch.testing.assert_close((again, states), (out, written))


def test_a_recurrent_rule_without_places_for_its_states_is_refused() -> None:
    with pytest.raises(NotEmulated, match="ssm_state_indices"):
        run("npu_recurrent_gated_delta_rule", *sequences().values(), torch.zeros(1, 4, 3, 4))


@pytest.mark.parametrize("masked", [False, True])
def test_a_masked_causal_convolution_looks_back_only(masked: bool) -> None:
    x = torch.randn(6, 2, 3, requires_grad=True)
    weight = torch.randn(3, 3, requires_grad=True)
    mask = torch.rand(2, 6) > 0.3 if masked else None
    (y,) = run("npu_masked_causal_conv1d", x, weight, mask=mask)
    for s in range(6):
        expected = sum(weight[k] * x[s - 2 + k] for k in range(3) if s - 2 + k >= 0)
        if mask is not None:
            expected = expected * mask[:, s].unsqueeze(-1)
        torch.testing.assert_close(y[s], expected)
    grad = torch.randn_like(y)
    expected_grads = torch.autograd.grad(y, (x, weight), grad)
    found = run("npu_masked_causal_conv1d_backward", grad, x.detach(), weight.detach(), mask=mask)
    torch.testing.assert_close(found, expected_grads)


def test_a_cached_convolution_in_parts_is_the_whole_convolution() -> None:
    x, weight = torch.randn(9, 4), torch.randn(3, 4)
    whole = F.conv1d(F.pad(x.T, (2, 0)).unsqueeze(0), weight.T.unsqueeze(1), groups=4)[0].T
    cache, done = torch.zeros(3, 2, 4), 0
    for length in (4, 1, 3, 1):
        part = x[done : done + length]
        (y,) = run(
            "npu_fused_causal_conv1d",
            part,
            weight,
            cache,
            query_start_loc=torch.tensor([0, length]),
            cache_indices=torch.tensor([2]),
            num_computed_tokens=torch.tensor([done]),
            residual_connection=1,
        )
        torch.testing.assert_close(y, whole[done : done + length] + part)
        done += length
    torch.testing.assert_close(cache[2], x[-2:])
    assert not cache[:2].any()


def test_a_cached_convolution_can_write_over_its_input_and_skip_sequences() -> None:
    x, weight, cache = torch.randn(2, 3, 4), torch.randn(3, 4), torch.randn(2, 2, 4)
    before, states = x.clone(), cache.clone()
    run("npu_fused_causal_conv1d_v2", x, weight, cache, cache_indices=torch.tensor([-1, 0]))
    assert torch.equal(x[0], before[0])
    padded = torch.cat((states[0], before[1]))
    expected = torch.stack([(weight * padded[i : i + 3]).sum(0) for i in range(3)])
    torch.testing.assert_close(x[1], expected)


def test_hyper_connections_are_their_formulas() -> None:
    x, phi, alpha, bias = (
        torch.randn(5, 4, 6),
        torch.randn(24, 24),
        torch.randn(3),
        torch.randn(24),
    )
    gamma = torch.rand(4, 6)
    h_in, post, res, inverse, mix, pre = run(
        "npu_mhc_pre", x, phi, alpha, bias, gamma=gamma, out_flag=1
    )
    for token in range(5):
        flat = x[token].flatten()
        normed = flat / (flat.square().mean() + 1e-6).sqrt() * gamma.flatten()
        maps = phi @ normed
        wanted_pre = torch.sigmoid(alpha[0] * maps[:4] + bias[:4]) + 1e-6
        torch.testing.assert_close(pre[token], wanted_pre)
        torch.testing.assert_close(post[token], 2 * torch.sigmoid(alpha[1] * maps[4:8] + bias[4:8]))
        torch.testing.assert_close(res[token].flatten(), alpha[2] * maps[8:] + bias[8:])
        torch.testing.assert_close(h_in[token], wanted_pre @ x[token])
        torch.testing.assert_close(mix[token] * inverse[token], maps)


@pytest.mark.parametrize("mixed", [False, True])
def test_the_streams_after_a_layer_and_their_gradients(mixed: bool) -> None:
    x, out = torch.randn(5, 4, 6, requires_grad=True), torch.randn(5, 6, requires_grad=True)
    res = torch.rand(5, 4, 4, requires_grad=True) if mixed else None
    post = torch.rand(5, 4, requires_grad=True)
    (y,) = run("npu_mhc_post", x, res, out, post)
    kept = x if res is None else torch.einsum("tij,tjd->tid", res, x)
    torch.testing.assert_close(y, kept + torch.einsum("ti,td->tid", post, out))
    grad = torch.randn_like(y)
    wanted = [z for z in (x, res, out, post) if z is not None]
    expected = torch.autograd.grad(y, wanted, grad)
    with torch.no_grad():
        found = run("npu_mhc_post_backward", grad, x, res, out, post)
    torch.testing.assert_close([z for z in found if z is not None], list(expected))


def test_sinkhorns_iteration_makes_rows_and_columns_add_up_to_one() -> None:
    y = run("npu_mhc_sinkhorn", torch.randn(3, 4, 4))[0]
    torch.testing.assert_close(y.sum(-1), torch.ones(3, 4), atol=1e-3, rtol=0)
    torch.testing.assert_close(y.sum(-2), torch.ones(3, 4), atol=1e-4, rtol=0)
