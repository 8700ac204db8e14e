"""Manifold-constrained hyper-connections (arXiv:2512.24880): n residual streams and their mixing."""

import torch
from torch import Tensor

from cordee.emulator.ops.contract import refuse
from cordee.emulator.ops.reference import Chapter, vjp
from cordee.emulator.ops.sources import page_of

chapter = Chapter(source=page_of("npu_mhc_pre"))


@chapter.reference("npu::npu_mhc_pre")
def mhc_pre(
    x: Tensor,
    phi: Tensor,
    alpha: Tensor,
    bias: Tensor,
    gamma: Tensor | None = None,
    norm_eps: float = 1e-6,
    hc_eps: float = 1e-6,
    out_flag: int = 0,
    inner_precise: int = 0,
) -> tuple[Tensor, Tensor, Tensor | None, Tensor | None, Tensor | None, Tensor | None]:
    """The layer's input, the maps after it, and what the backward needs if `out_flag` is 1.

    `x` is [..., n, hidden]; `phi` maps n * hidden to the n weights of the input, the n of the
    output and the n * n of the streams.
    """
    refuse("npu_mhc_pre", alpha=alpha.numel() != 3)
    n = x.shape[-2]
    flat = x.float().flatten(-2)
    inverse = (flat.square().mean(-1) + norm_eps).rsqrt()
    scaled = flat if gamma is None else flat * gamma.float().flatten()
    mix = scaled @ phi.float().T
    factors = alpha.float().repeat_interleave(torch.tensor([n, n, n * n]))
    pre, post, res = (mix * inverse.unsqueeze(-1) * factors + bias.float()).split([n, n, n * n], -1)
    pre, post = torch.sigmoid(pre) + hc_eps, 2 * torch.sigmoid(post)
    h_in = (x.float() * pre.unsqueeze(-1)).sum(-2).to(x.dtype)
    kept = (inverse.detach(), mix.detach(), pre.detach()) if out_flag == 1 else (None, None, None)
    return h_in, post, res.reshape(*res.shape[:-1], n, n), *kept


@chapter.reference("npu::npu_mhc_post", source=page_of("npu_mhc_post"))
def mhc_post(x: Tensor, h_res: Tensor | None, h_out: Tensor, h_post: Tensor) -> Tensor:
    """The streams [..., n, hidden] mixed by `h_res`, plus the layer's output shared by `h_post`."""
    mixed = x.float() if h_res is None else h_res.float() @ x.float()
    return (mixed + h_post.float().unsqueeze(-1) * h_out.float().unsqueeze(-2)).to(x.dtype)


@chapter.reference("npu::npu_mhc_post_backward", source=page_of("npu_mhc_post"))
def mhc_post_backward(
    grad_y: Tensor, x: Tensor, h_res: Tensor | None, h_out: Tensor, h_post: Tensor
) -> tuple[Tensor | None, ...]:
    """Gradients of the streams, of `h_res`, of the layer's output and of `h_post`."""
    if h_res is None:
        of_x, of_out, of_post = vjp(
            lambda a, c, d: mhc_post(a, None, c, d), (x, h_out, h_post), (grad_y,)
        )
        return of_x, None, of_out, of_post
    return vjp(mhc_post, (x, h_res, h_out, h_post), (grad_y,))


@chapter.reference("npu::npu_mhc_sinkhorn", source=page_of("npu_mhc_sinkhorn"))
def mhc_sinkhorn(
    x: Tensor, eps: float = 1e-6, num_iters: int = 20, out_flag: int = 0
) -> tuple[Tensor, Tensor | None, Tensor | None]:
    """`x` [..., n, n] made doubly stochastic by dividing by its row and column sums in turn."""
    refuse("npu_mhc_sinkhorn", out_flag=out_flag != 0)
    y = torch.softmax(x.float(), -1) + eps
    y = y / (y.sum(-2, keepdim=True) + eps)
    for _ in range(num_iters - 1):
        y = y / (y.sum(-1, keepdim=True) + eps)
        y = y / (y.sum(-2, keepdim=True) + eps)
    return y, None, None
