"""Layer, group and batch norms, and quantised RMS norms, against PyTorch and plain loops."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from cordee.emulator.ops import normalisation as normalisation
from cordee.emulator.ops.formats import format_named
from cordee.emulator.ops.reference import REFERENCES

INT8, QUINT4X2, E5M2 = 1, 16, 23


def run(name: str, *arguments: object, **options: object) -> tuple[Tensor, ...]:
    found = REFERENCES[f"npu::{name}"].function(*arguments, **options)
    return found if isinstance(found, tuple) else (found,)


def test_add_layer_norm_normalises_the_sum() -> None:
    x1, x2, gamma, beta = torch.randn(2, 3, 8), torch.randn(2, 3, 8), torch.rand(8), torch.rand(8)
    y, mean, rstd, x = run("npu_add_layer_norm", x1, x2, gamma, beta, 1e-5, True)
    torch.testing.assert_close(y, F.layer_norm(x1 + x2, (8,), gamma, beta))
    torch.testing.assert_close(x, x1 + x2)
    torch.testing.assert_close(mean, (x1 + x2).mean(-1, keepdim=True))
    variance = (x1 + x2).var(-1, keepdim=True, unbiased=False)
    torch.testing.assert_close(rstd, (variance + 1e-5).rsqrt())


def test_addends_of_two_dtypes_give_float32() -> None:
    x1, x2, gamma = torch.randn(2, 8).half(), torch.randn(2, 8), torch.ones(8)
    y, _, _, x = run("npu_add_layer_norm", x1, x2, gamma, gamma, 1e-5, True)
    assert (y.dtype, x.dtype) == (torch.float32, torch.float32)


def test_add_layer_norm_backward_is_the_derivative() -> None:
    x1, x2 = torch.randn(4, 8), torch.randn(4, 8)
    gamma, beta = torch.rand(8), torch.rand(8)
    leaves = [t.clone().requires_grad_() for t in (x1, x2, gamma, beta)]
    dy, dsum = torch.randn(4, 8), torch.randn(4, 8)
    total = leaves[0] + leaves[1]
    y = F.layer_norm(total, (8,), leaves[2], leaves[3])
    expected = torch.autograd.grad((y, total), leaves, (dy, dsum))
    _, mean, rstd, _ = run("npu_add_layer_norm", x1, x2, gamma, beta)
    found = run("npu_add_layer_norm_backward", dy, x1, x2, rstd, mean, gamma, dsum)
    torch.testing.assert_close(found, expected)


def test_deep_norm_weighs_its_first_addend() -> None:
    x, gx, beta, gamma = (torch.randn(4, 2, 8) for _ in range(4))
    beta, gamma = beta[0], gamma[0]
    mean, rstd, y = run("npu_deep_norm", x, gx, beta, gamma, 0.5, 1e-6)
    torch.testing.assert_close(y, F.layer_norm(0.5 * x + gx, (2, 8), gamma, beta, 1e-6))
    assert mean.shape == rstd.shape == (4, 1, 1)


def test_deep_norm_backward_is_the_derivative() -> None:
    x, gx, dy = (torch.randn(4, 8) for _ in range(3))
    beta, gamma = torch.rand(8), torch.rand(8)
    leaves = [t.clone().requires_grad_() for t in (x, gx, beta, gamma)]
    y = F.layer_norm(0.5 * leaves[0] + leaves[1], (8,), leaves[3], leaves[2], 1e-6)
    expected = torch.autograd.grad(y, leaves, dy)
    mean, rstd, _ = run("npu_deep_norm", x, gx, beta, gamma, 0.5, 1e-6)
    found = run("npu_deep_norm_backward", dy, x, gx, gamma, mean, rstd, 0.5)
    torch.testing.assert_close(found, expected)


def test_layer_norm_eval_takes_weights_of_any_shape() -> None:
    x, weight, bias = torch.randn(5, 2, 3), torch.rand(6), torch.rand(6)
    (found,) = run("npu_layer_norm_eval", x, [2, 3], weight, bias)
    expected = F.layer_norm(x, (2, 3), weight.view(2, 3), bias.view(2, 3))
    torch.testing.assert_close(found, expected)


def test_layernorm_grad_is_pytorchs() -> None:
    x, dy, weight, bias = torch.randn(4, 6), torch.randn(4, 6), torch.rand(6), torch.rand(6)
    _, mean, rstd = torch.native_layer_norm(x, [6], weight, bias, 1e-5)
    arguments = (dy, x, [6], mean, rstd, weight, bias)
    expected = torch.ops.aten.native_layer_norm_backward(*arguments, [True, True, True])
    torch.testing.assert_close(run("npu_layernorm_grad", *arguments), expected)


def test_group_norm_silu_is_group_norm_and_then_silu() -> None:
    x, weight, bias = torch.randn(2, 6, 4, 3), torch.rand(6), torch.rand(6)
    y, mean, rstd = run("npu_group_norm_silu", x, weight, bias, 3, 1e-4)
    torch.testing.assert_close(y, F.silu(F.group_norm(x, 3, weight, bias, 1e-4)))
    expected = torch.native_group_norm(x, weight, bias, 2, 6, 12, 3, 1e-4)[1:]
    torch.testing.assert_close((mean, rstd), expected)


def test_group_norm_silu_can_do_without_weights() -> None:
    x = torch.randn(2, 6, 4)
    torch.testing.assert_close(
        run("npu_group_norm_silu", x, None, None, 2)[0], F.silu(F.group_norm(x, 2))
    )


def test_channels_must_fill_the_groups() -> None:
    with pytest.raises(RuntimeError, match="6 channels cannot be divided into 4 groups"):
        run("npu_group_norm_silu", torch.randn(2, 6, 4), None, None, 4)


def test_group_norm_swish_grad_is_the_derivative() -> None:
    leaves = [torch.randn(2, 6, 5), torch.rand(6), torch.rand(6)]
    leaves = [leaf.requires_grad_() for leaf in leaves]
    dy = torch.randn(2, 6, 5)
    z = F.group_norm(leaves[0], 3, leaves[1], leaves[2])
    y = z * torch.sigmoid(1.5 * z)
    expected = torch.autograd.grad(y, leaves, dy)
    x, weight, bias = (leaf.detach() for leaf in leaves)
    found_y, mean, rstd = run("npu_group_norm_swish", x, 3, weight, bias, 1e-5, 1.5)
    torch.testing.assert_close(found_y, y.detach())
    options = ([True, True, True], 1.5)
    found = run("npu_group_norm_swish_grad", dy, x, 3, weight, bias, mean, rstd, *options)
    torch.testing.assert_close(found, expected)


def test_batch_statistics_of_all_processes_meet() -> None:
    parts = [torch.randn(n, 3, 5, 5) * 2 + 1 for n in (4, 2)]
    sums = [run("batch_norm_reduce", part, 1e-5) for part in parts]
    running_mean, running_var = torch.ones(3), torch.full((3,), 2.0)
    mean, invstd = run(
        "batch_norm_gather_stats_update",
        parts[0],
        torch.stack([s[0] for s in sums]),
        torch.stack([s[1] for s in sums]),
        running_mean,
        running_var,
        0.1,
        1e-5,
        torch.tensor([100.0, 50.0]),
    )
    whole = torch.cat(parts).transpose(0, 1).flatten(1)
    variance = whole.var(1, unbiased=False)
    tolerance = {"atol": 1e-4, "rtol": 1e-4}
    torch.testing.assert_close(mean, whole.mean(1), **tolerance)
    torch.testing.assert_close(invstd, (variance + 1e-5).rsqrt(), **tolerance)
    torch.testing.assert_close(running_mean, 0.9 + 0.1 * whole.mean(1), **tolerance)
    torch.testing.assert_close(running_var, 1.8 + 0.1 * variance, **tolerance)


@pytest.mark.parametrize("kind", [0, 1])
def test_normalize_batch_ignores_padding(kind: int) -> None:
    x = torch.randn(2, 3, 6)
    lengths = torch.tensor([4, 6], dtype=torch.int32)
    (found,) = run("npu_normalize_batch", x, lengths, kind)
    for sample, length in enumerate(lengths.tolist()):
        part = x[sample, :, :length]
        mean, std = (
            (part.mean(1, True), part.std(1, keepdim=True))
            if kind == 0
            else (part.mean(), part.std())
        )
        torch.testing.assert_close(found[sample], (x[sample] - mean) / (std + 1e-5))


@pytest.mark.parametrize("divided", [True, False])
def test_add_rms_norm_quant_rounds_the_scaled_norm(divided: bool) -> None:
    x1, x2 = torch.randn(4, 8).bfloat16(), torch.randn(4, 8).bfloat16()
    gamma, beta = torch.rand(8).bfloat16(), torch.rand(8).bfloat16()
    scale, zero = torch.rand(8).bfloat16() + 0.1, torch.randn(8).bfloat16()
    y1, _, x = run("npu_add_rms_norm_quant", x1, x2, gamma, scale, zero, beta, div_mode=divided)
    total = x1.double() + x2.double()
    y = F.rms_norm(total, (8,), gamma.double(), 1e-6) + beta.double()
    y = y / scale.double() if divided else y * scale.double()
    expected = torch.round(y + zero.double()).clamp(-128, 127)
    assert (y1.double() - expected).abs().max() <= 1
    assert (y1.double() != expected).sum() <= 1
    torch.testing.assert_close(x, total.bfloat16())


def test_dynamic_quantisations_of_a_norm_come_as_masked() -> None:
    x1, x2, gamma = (
        torch.randn(3, 2, 16).half(),
        torch.randn(3, 2, 16).half(),
        torch.rand(16).half(),
    )
    smooth = torch.rand(16).half()
    y1, y2, x, scale1, scale2 = run(
        "npu_add_rms_norm_dynamic_quant",
        x1,
        x2,
        gamma,
        smooth_scale2=smooth,
        output_mask=[False, True],
    )
    assert y1.shape == scale1.shape == ()
    normed = F.rms_norm((x1 + x2).float(), (16,), gamma.float(), 1e-6) * smooth.float()
    torch.testing.assert_close(scale2, normed.abs().amax(-1) / 127)
    restored = y2.float() * scale2.unsqueeze(-1)
    torch.testing.assert_close(restored, normed, atol=scale2.max().item() * 0.51, rtol=0)
    torch.testing.assert_close(x, x1 + x2)


def test_a_norm_can_be_written_as_packed_int4() -> None:
    x, gamma = torch.randn(3, 16).half(), torch.ones(16).half()
    scale = torch.tensor([0.5]).half()
    y, rstd = run("npu_rms_norm_quant_v2", x, gamma, scale, dst_dtype=QUINT4X2)
    normed = F.rms_norm(x.double(), (16,), eps=1e-6)
    expected = torch.round(normed / 0.5).clamp(-8, 7)
    found = format_named("int4").read(y)
    assert (y.shape, y.dtype, rstd.numel()) == ((3, 2), torch.int32, 0)
    assert (found - expected).abs().max() <= 1


def test_rms_norm_quant_divides_by_its_scale() -> None:
    x, gamma, beta = torch.randn(3, 16).half(), torch.rand(1, 16).half(), torch.rand(1, 16).half()
    scale, offset = torch.tensor([0.25]).half(), torch.tensor([3], dtype=torch.int8)
    (found,) = run("npu_rms_norm_quant", x, gamma, beta, scale, offset)
    normed = F.rms_norm(x.double(), (16,), gamma[0].double(), 1e-6) + beta[0].double()
    assert (found.double() - torch.round(normed / 0.25 + 3)).abs().max() <= 1


def test_the_quantised_backward_quantises_the_backward() -> None:
    x, dy, gamma = torch.randn(3, 8), torch.randn(3, 8), torch.rand(8)
    rstd = run("npu_rms_norm", x, gamma)[1]
    dx, dgamma = run("npu_rms_norm_backward", dy, x, gamma, rstd)
    scale = torch.tensor([0.05])
    found = run("_npu_rms_norm_backward_quant", dy, x, rstd, gamma, scale)
    assert torch.equal(found[0], torch.round(dx / 0.05).clamp(-128, 127).to(torch.int8))
    torch.testing.assert_close(found[1], dgamma)


def test_a_norm_of_zeros_in_blocks_has_zero_scales() -> None:
    x = torch.zeros(1, 2, 2).bfloat16()
    y, total, scales, rstd = run(
        "npu_add_rms_norm_dynamic_mx_quant", x, x, torch.zeros(2), dst_type=E5M2
    )
    assert (y.dtype, tuple(scales.shape), rstd.numel()) == (torch.float8_e5m2, (1, 2, 1, 2), 0)
    assert not scales.any()
    assert not total.any()
