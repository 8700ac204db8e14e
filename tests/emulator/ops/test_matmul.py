"""Floating-point products and feed-forward layers against PyTorch's."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from cordee.core.errors import NotEmulated
from cordee.emulator.ops import matmul as matmul
from cordee.emulator.ops import quantisation as quantisation
from cordee.emulator.ops.reference import REFERENCES


def run(name: str, *arguments: object, **options: object) -> Tensor:
    found: Tensor = REFERENCES[f"npu::{name}"].function(*arguments, **options)
    return found


def test_linear_is_pytorchs_rounded_once() -> None:
    x, weight, bias = torch.randn(5, 64).half(), torch.randn(7, 64).half(), torch.randn(7).half()
    expected = F.linear(x.double(), weight.double(), bias.double()).half()
    torch.testing.assert_close(run("npu_linear", x, weight, bias), expected)


def test_linear_backward_is_the_derivative() -> None:
    x, weight = torch.randn(5, 6, requires_grad=True), torch.randn(7, 6, requires_grad=True)
    grad = torch.randn(5, 7)
    expected = torch.autograd.grad(F.linear(x, weight), (x, weight), grad)
    found = run("npu_linear_backward", grad, x.detach(), weight.detach())
    torch.testing.assert_close(found, expected)


def test_bmm_sums_over_the_batch_axes_it_is_told() -> None:
    a, b = torch.randn(5, 6, 2, 3), torch.randn(5, 6, 3, 4)
    torch.testing.assert_close(run("npu_bmmV2", a, b, []), a @ b)
    summed = run("npu_bmmV2", a, b, [1, 6, 2, 4])
    torch.testing.assert_close(summed, (a @ b).sum(0, keepdim=True))


def test_bmms_backwards_are_the_derivatives() -> None:
    a, b = torch.randn(5, 2, 3, requires_grad=True), torch.randn(1, 3, 4, requires_grad=True)
    grad = torch.randn(5, 2, 4)
    da, db = torch.autograd.grad(a @ b, (a, b), grad)
    torch.testing.assert_close(run("npu_bmm_v2_mat1_backward", grad, a, b, [5, 2, 3]), da)
    torch.testing.assert_close(run("npu_bmm_v2_mat2_backward", grad, a, b, [1, 3, 4]), db)


@pytest.mark.parametrize("shapes", [((3, 4), (4, 5)), ((2, 3, 4), (4, 5)), ((4,), (2, 4, 5))])
def test_matmul_double_backward_is_the_second_derivative(
    shapes: tuple[tuple[int, ...], tuple[int, ...]],
) -> None:
    a = torch.randn(shapes[0], dtype=torch.float32, requires_grad=True)
    b = torch.randn(shapes[1], dtype=torch.float32, requires_grad=True)
    g = torch.randn((a @ b).shape, requires_grad=True)
    da, db = torch.autograd.grad(a @ b, (a, b), g, create_graph=True)
    va, vb = torch.randn_like(a), torch.randn_like(b)
    expected = torch.autograd.grad((da, db), (g, a, b), (va, vb))
    arguments = [t.detach() for t in (va, vb, g, a, b)]
    found = run("matmul_double_backward", *arguments, [True, True, True])
    torch.testing.assert_close(found, expected)
    masked = run("matmul_double_backward", *arguments, [True, False, True])
    assert masked[1] is None


@pytest.mark.parametrize("split", [1, 2])
def test_transpose_batchmatmul_puts_the_rows_first(split: int) -> None:
    x, weight = torch.randn(5, 4, 16).half(), torch.randn(4, 16, 32).half()
    found = run("npu_transpose_batchmatmul", x, weight, perm_x1=[1, 0, 2], batch_split_factor=split)
    y = torch.einsum("mbk,bkn->mbn", x.double(), weight.double())
    if split == 2:
        y = torch.stack((y[:, :2].flatten(1), y[:, 2:].flatten(1)))
    torch.testing.assert_close(found, y.half())
    assert found.is_contiguous()


def test_transpose_batchmatmul_quantises_with_packed_scales() -> None:
    x, weight = torch.randn(4, 5, 16).half(), torch.randn(4, 16, 32).half()
    scale = torch.full((128,), 0.5)
    packed = REFERENCES["npu::npu_trans_quant_param"].function(scale)
    found = run("npu_transpose_batchmatmul", x, weight, scale=packed)
    y = (x.double() @ weight.double()).transpose(0, 1).reshape(5, 1, 128) * 0.5
    assert (found - torch.round(y).clamp(-128, 127)).abs().max() <= 1


def test_a_permutation_the_device_lacks_is_refused_in_its_words() -> None:
    x = torch.randn(4, 4, 4)
    with pytest.raises(RuntimeError, match=r"perm_y should be \[1, 0, 2\]"):
        run("npu_transpose_batchmatmul", x, x, perm_y=[0, 1, 2])


@pytest.mark.parametrize("kind", ["", "add", "mul", "gelu_erf", "gelu_tanh", "relu"])
def test_fused_matmul_ends_with_what_it_is_told(kind: str) -> None:
    x1, x2, x3 = torch.randn(3, 4), torch.randn(4, 5), torch.randn(3, 5)
    y = x1 @ x2
    ends = {
        "": y,
        "add": y + x3,
        "mul": y * x3,
        "gelu_erf": F.gelu(y),
        "gelu_tanh": F.gelu(y, approximate="tanh"),
        "relu": y.clamp(min=0),
    }
    torch.testing.assert_close(
        run("npu_fused_matmul", x1, x2, x3=x3, fused_op_type=kind), ends[kind]
    )


def test_low_rank_updates_are_chosen_by_row() -> None:
    y, x = torch.randn(3, 8), torch.randn(3, 6)
    weight_a, weight_b = torch.randn(2, 1, 4, 6), torch.randn(2, 1, 5, 4)
    found = run(
        "npu_batch_gather_matmul",
        y,
        x,
        weight_b,
        torch.tensor([1, 2, 0], dtype=torch.int32),
        weight_a,
        scale=0.5,
        y_offset=2,
        y_slice_size=5,
    )
    expected = y.clone()
    for row, which in ((0, 1), (2, 0)):
        expected[row, 2:7] += 0.5 * weight_b[which, 0] @ weight_a[which, 0] @ x[row]
    torch.testing.assert_close(found, expected)


@pytest.mark.parametrize("group", [0, 8])
def test_weights_are_restored_before_the_product(group: int) -> None:
    x, weight = torch.randn(3, 16).bfloat16(), torch.randint(-8, 8, (16, 24), dtype=torch.int8)
    rows = 2 if group else 1
    scale, shift = torch.rand(rows, 24).bfloat16(), torch.rand(rows, 24).bfloat16()
    whole = weight.double() + shift.double().repeat_interleave(16 // rows, 0)
    restored = whole * scale.double().repeat_interleave(16 // rows, 0)
    expected = (x.double() @ restored.bfloat16().double()).bfloat16()
    options = {"antiquant_group_size": group}
    found = run("npu_weight_quant_batchmatmul", x, weight, scale, shift, **options)
    torch.testing.assert_close(found, expected)
    packed = REFERENCES["npu::npu_convert_weight_to_int4pack"].function(weight.int())
    found = run("npu_weight_quant_batchmatmul", x, packed, scale, shift, **options)
    torch.testing.assert_close(found, expected)


def test_a_feed_forward_layer_of_experts_takes_each_its_rows() -> None:
    x = torch.randn(6, 8).bfloat16()
    first, second = torch.randn(2, 8, 16).bfloat16(), torch.randn(2, 16, 4).bfloat16()
    bias = torch.randn(2, 16)
    expected = torch.cat(
        [
            F.gelu(part.double() @ first[e].double() + bias[e]) @ second[e].double()
            for e, part in enumerate((x[:2], x[2:]))
        ]
    )
    by_count = run("npu_ffn", x, first, second, "gelu", expert_tokens=[2, 4], bias1=bias)
    by_end = run("npu_ffn", x, first, second, "gelu", expert_tokens_index=[2, 6], bias1=bias)
    torch.testing.assert_close(by_count, expected.bfloat16())
    torch.testing.assert_close(by_end, expected.bfloat16())


def test_a_quantised_feed_forward_layer_requantises_in_the_middle() -> None:
    x = torch.randint(-9, 9, (5, 8), dtype=torch.int8)
    first = torch.randint(-9, 9, (8, 16), dtype=torch.int8)
    second = torch.randint(-9, 9, (16, 4), dtype=torch.int8)
    out1, out2 = torch.rand(16) / 50, torch.rand(4) / 50
    scale, shift = torch.tensor([20.0]), torch.tensor([1.0])
    found = run(
        "npu_ffn",
        x,
        first,
        second,
        "relu",
        scale=scale,
        offset=shift,
        deq_scale1=out1,
        deq_scale2=out2,
    )
    middle = F.relu((x.double() @ first.double()) * out1) * 20 + 1
    middle = torch.round(middle).clamp(-128, 127)
    expected = (middle @ second.double()) * out2
    assert found.dtype == torch.float16
    torch.testing.assert_close(found, expected.half(), atol=0.5, rtol=1e-2)


def test_an_activation_whose_halves_are_not_documented_is_named() -> None:
    x = torch.randn(2, 4)
    with pytest.raises(NotEmulated, match="geglu"):
        run("npu_ffn", x, torch.randn(4, 8), torch.randn(4, 4), "geglu")
