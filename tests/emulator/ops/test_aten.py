"""References of PyTorch's accelerator-only operators, against what PyTorch composes on the CPU."""

import pytest
import torch
from torch import Tensor, nn

from cordee.core.errors import NotEmulated
from cordee.emulator.ops.aten import (
    cells,
    classes,
    division,
    foreach,
    grouped,
    histograms,
    inverse,
    products,
    repetition,
    synchronised,
)

close = torch.testing.assert_close


def test_a_product_of_halves_is_rounded_once_to_the_wider_dtype() -> None:
    a, b = torch.randn(3, 64).half(), torch.randn(64, 5).half()
    result = products.product(a, b, torch.float32)
    assert result.dtype == torch.float32
    close(result, a.float() @ b.float())


def test_a_beta_of_zero_ignores_what_it_scales() -> None:
    a, b = torch.randn(3, 4).half(), torch.randn(4, 5).half()
    nothing = torch.full((3, 5), torch.nan).half()
    result = products.sum_and_product(nothing, a, b, torch.float32, beta=0, alpha=2)
    close(result, 2 * (a.float() @ b.float()))


@pytest.mark.parametrize(
    ("left", "right"), [((2, 3), (3, 4)), ((5, 2, 3), (3,)), ((3,), (5, 3, 2))]
)
def test_gradients_of_a_product_have_the_shapes_of_its_factors(
    left: tuple[int, ...], right: tuple[int, ...]
) -> None:
    a, b = torch.randn(left), torch.randn(right)
    grads = products.matmul_backward(torch.ones_like(a @ b), a, b, [True, True])
    assert [g.shape for g in grads if g is not None] == [a.shape, b.shape]


def test_the_gradient_of_a_vector_times_a_matrix_keeps_its_row() -> None:
    a, b = torch.randn(3), torch.randn(3, 4)
    of_vector, _ = products.matmul_backward(torch.ones(4), a, b, [True, True])
    assert of_vector is not None
    torch.testing.assert_close(of_vector, b.sum(1)[None])


def test_the_mask_says_which_gradients_are_wanted() -> None:
    a, b = torch.randn(2, 3), torch.randn(3, 4)
    left, right = products.matmul_backward(torch.ones(2, 4), a, b, [False, True])
    assert left is None
    assert right is not None


def lstm_gates(cell: nn.LSTMCell, x: Tensor, h: Tensor) -> tuple[Tensor, Tensor]:
    return x @ cell.weight_ih.t(), h @ cell.weight_hh.t()


def test_an_lstm_cell_and_its_gradient_are_those_of_pytorch() -> None:
    cell, x, h = nn.LSTMCell(3, 4), torch.randn(2, 3), torch.randn(2, 4)
    c = torch.randn(2, 4, requires_grad=True)
    expected = cell(x, (h, c))
    gates = lstm_gates(cell, x, h)
    hy, cy, workspace = cells.lstm_cell(*gates, c.detach(), cell.bias_ih, cell.bias_hh)
    close((hy, cy), expected)

    grads = (torch.randn(2, 4), torch.randn(2, 4))
    wanted = torch.autograd.grad(expected, (c, cell.bias_ih), grads)
    _, grad_cx, grad_bias = cells.lstm_cell_backward(*grads, c.detach(), cy, workspace, True)
    close((grad_cx, grad_bias), wanted)


def test_batch_norm_in_steps_over_two_processes_is_batch_norm_over_all() -> None:
    layer = nn.BatchNorm2d(3)
    x = torch.randn(6, 3, 2, 2, requires_grad=True)
    expected = layer(x)
    halves = [x.detach()[:2], x.detach()[2:]]
    counts = torch.tensor([float(h.numel() // 3) for h in halves])
    stats = [synchronised.batch_norm_stats(h, layer.eps) for h in halves]
    mean_all, invstd_all = (torch.stack(s) for s in zip(*stats, strict=True))
    running_mean, running_var = torch.zeros(3), torch.ones(3)
    mean, invstd = synchronised.batch_norm_gather_stats_with_counts(
        halves[0], mean_all, invstd_all, running_mean, running_var, 0.1, layer.eps, counts
    )
    results = [
        synchronised.batch_norm_elemt(h, layer.weight, layer.bias, mean, invstd, layer.eps)
        for h in halves
    ]
    close(torch.cat(results), expected)
    close((running_mean, running_var), (layer.running_mean, layer.running_var))

    grad = torch.randn_like(expected)
    wanted = torch.autograd.grad(expected, (x, layer.weight, layer.bias), grad)
    sums = [
        synchronised.batch_norm_backward_reduce(g, h, mean, invstd, layer.weight, True, True, True)
        for g, h in zip((grad[:2], grad[2:]), halves, strict=True)
    ]
    dy, dy_xmu, weight, bias = (sum(part) for part in zip(*sums, strict=True))
    inputs = [
        synchronised.batch_norm_backward_elemt(g, h, mean, invstd, layer.weight, dy, dy_xmu, counts)
        for g, h in zip((grad[:2], grad[2:]), halves, strict=True)
    ]
    close((torch.cat(inputs), weight, bias), wanted)


def test_sums_that_nobody_asks_for_are_not_given() -> None:
    x, channels = torch.randn(4, 3), torch.ones(3)
    sums = synchronised.batch_norm_backward_reduce(
        x, x, channels, channels, None, False, True, False
    )
    assert [s is None for s in sums] == [True, True, False, True]


def test_each_group_of_rows_meets_its_own_matrix() -> None:
    rows = torch.randn(4, 16).to(torch.float8_e4m3fn)
    weights = torch.randn(2, 16, 32).to(torch.float8_e4m3fn)
    row_scale, column_scale = torch.rand(4), torch.rand(2, 32)
    ends = torch.tensor([1, 4], dtype=torch.int32)
    result = grouped.scaled_grouped_mm(rows, weights, row_scale, column_scale, ends)
    scaled = rows.float() * row_scale[:, None]
    expected = [
        scaled[:1] @ (weights[0].float() * column_scale[0]),
        scaled[1:] @ (weights[1].float() * column_scale[1]),
    ]
    close(result, torch.cat(expected).to(torch.bfloat16))


def test_scales_of_blocks_are_not_emulated() -> None:
    one = torch.ones(1)
    rows, weights = torch.ones(2, 16), torch.ones(1, 16, 16)
    ends = torch.tensor([2], dtype=torch.int32)
    with pytest.raises(NotEmulated, match="scales of blocks"):
        grouped.scaled_grouped_mm(rows, weights, one.to(torch.float8_e8m0fnu), one, ends)


@pytest.mark.parametrize("factors", [3.0, [3.0, -2.0], torch.tensor([3.0, -2.0]).half()])
def test_quotients_in_float16_are_rounded_at_each_step(
    factors: float | list[float] | Tensor,
) -> None:
    x, a, b = ([torch.randn(50).half(), torch.randn(9).half()] for _ in range(3))
    found = foreach.quotients(x, a, b, factors)
    each = [factors] * 2 if isinstance(factors, float) else factors
    for y, *inputs, factor in zip(found, x, a, b, each, strict=True):
        start, over, under = (t.numpy() for t in inputs)
        scale = factor if isinstance(factor, float) else factor.numpy()
        close(y, torch.from_numpy(start + over / under * scale), rtol=0, atol=0)


def test_differences_in_float16_round_the_product_first() -> None:
    x, y = torch.randn(50).half(), torch.randn(50).half()
    (found,) = foreach.differences([x], [y], alpha=5)
    close(found, torch.from_numpy(x.numpy() - y.numpy() * 5.0), rtol=0, atol=0)


def test_products_in_bfloat16_are_rounded_once() -> None:
    x, a, b = ([torch.randn(50).bfloat16()] for _ in range(3))
    (found,) = foreach.products(x, a, b, 3)
    close(found, (x[0].float() + 3 * a[0].float() * b[0].float()).bfloat16())


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
@pytest.mark.parametrize("dim", [0, 1, -1, None])
def test_the_gradient_of_a_repetition_is_summed_in_float32(
    dim: int | None, dtype: torch.dtype
) -> None:
    x = torch.randn(5, 4, dtype=dtype)
    size = x.numel() if dim is None else x.shape[dim]
    for repeats in (torch.tensor(90), torch.randint(0, 90, (size,))):
        double = x.double().requires_grad_()
        y = torch.repeat_interleave(double, repeats, dim)
        grad = torch.rand(y.shape).to(dtype)
        y.backward(grad.double())

        assert torch.equal(repetition.repeat_interleave(x, repeats, dim), y.detach().to(dtype))
        found, *rest = repetition.repeat_interleave_gradient((x, repeats, dim, None), (y,), (grad,))
        assert found is not None
        assert double.grad is not None
        assert rest == [None, None, None]
        assert found.dtype == dtype
        close(found, double.grad.to(dtype), rtol=torch.finfo(dtype).eps, atol=1e-4)


@pytest.mark.parametrize("dtype", [torch.int32, torch.int64])
@pytest.mark.parametrize("count", [-1, 6])
def test_classes_are_written_out_in_their_own_dtype(count: int, dtype: torch.dtype) -> None:
    labels = torch.tensor([[0, 3], [4, 1]])
    found = classes.one_hot(labels.to(dtype), count)
    assert found.dtype == dtype
    assert torch.equal(found.long(), nn.functional.one_hot(labels, count))


def test_how_many_classes_nothing_has_must_be_said() -> None:
    with pytest.raises(RuntimeError, match="can not infer total number of classes"):
        classes.one_hot(torch.empty(0, dtype=torch.int64))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.complex64])
def test_a_matrix_times_its_inverse_is_one(dtype: torch.dtype) -> None:
    x = (torch.randn(2, 4, 4) + 4 * torch.eye(4)).to(dtype)
    wide = x.float() if dtype == torch.float16 else x
    found = inverse.inverse(x)
    assert found.dtype == dtype
    close(
        wide @ found.to(wide.dtype), torch.eye(4).to(wide.dtype).expand(2, 4, 4), atol=5e-3, rtol=0
    )


def test_the_gradient_of_an_inverse_is_that_of_autograd() -> None:
    x = (torch.randn(4, 4) + 4 * torch.eye(4)).requires_grad_()
    y = torch.linalg.inv(x)
    grad = torch.randn(4, 4)
    (wanted,) = torch.autograd.grad(y, x, grad)
    close(inverse.inverse_gradient((x,), (y,), (grad,)), (wanted,))


@pytest.mark.parametrize("dtype", [torch.int32, torch.int8, torch.uint8])
def test_integers_are_divided_in_place(dtype: torch.dtype) -> None:
    for divisor in (2, torch.tensor(2)):
        values = torch.tensor([7, 4, 1], dtype=dtype)
        assert division.divide_in_place(values, divisor).tolist() == [3, 2, 0]
    assert division.divide_in_place(torch.tensor([7.0]), 2).tolist() == [3.5]


def test_integers_are_counted_in_parts_as_floats_are() -> None:
    chosen = torch.tensor([0, 3, 3, 1, 7, 3], dtype=torch.int32)
    counts = histograms.histc(chosen, bins=8, min=0, max=7)
    assert counts.dtype == torch.int32
    assert counts.tolist() == [1, 1, 0, 3, 0, 0, 0, 1]
    close(histograms.histc(chosen.float(), 8, 0, 7), counts.float())
