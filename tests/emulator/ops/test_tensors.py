"""Operators that move, select or reinterpret elements, against PyTorch, NumPy and loops."""

import numpy
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from cordee.core.errors import NotEmulated
from cordee.emulator.ops import tensors as tensors
from cordee.emulator.ops.reference import REFERENCES


def run(name: str, *arguments: object, **options: object) -> Tensor:
    found = REFERENCES[f"npu::{name}"].function(*arguments, **options)
    assert isinstance(found, Tensor)
    return found


def test_transposes_and_reshapes_give_fresh_contiguous_tensors() -> None:
    x = torch.randn(2, 3, 4)
    turned = run("npu_transpose", x, [2, 0, 1])
    assert torch.equal(turned, x.permute(2, 0, 1))
    assert turned.is_contiguous()
    assert torch.equal(run("npu_transpose.out", x, [2, 0, 1], out=torch.empty(4, 2, 3)), turned)
    shaped = run("npu_reshape", x, [6, 4])
    assert torch.equal(shaped, x.reshape(6, 4))
    assert shaped.data_ptr() != x.data_ptr()


def test_a_slice_is_a_box() -> None:
    x = torch.randn(4, 5)
    assert torch.equal(run("npu_slice", x, [1, 2], [2, 3]), x[1:3, 2:5])


def test_padding_is_given_axis_by_axis_from_the_first() -> None:
    x = torch.randn(2, 3)
    padded = run("npu_pad", x, [1, 0, 0, 2])
    assert padded.shape == (3, 5)
    assert torch.equal(padded[1:, :3], x)
    assert padded.count_nonzero() == 6
    assert run("npu_pad", x, [1, 1]).shape == (4, 3)


def test_broadcast_repeats() -> None:
    x = torch.tensor([[True], [False]])
    assert torch.equal(run("npu_broadcast", x, [2, 3]), x.expand(2, 3))


def test_indexing_is_a_strided_slice_whose_masks_free_its_bounds() -> None:
    x = torch.arange(20).reshape(4, 5)
    assert torch.equal(run("npu_indexing", x, [0, 1], [4, 5], [2, 3]), x[0:4:2, 1:5:3])
    assert torch.equal(run("npu_indexing", x, [1, 1], [3, 3], [1, 1], 2, 1), x[1:, :3])
    assert torch.equal(run("npu_indexing", x, [3, 0], [0, 5], [-1, 1]), x[[3, 2, 1]])
    with pytest.raises(NotEmulated, match="new_axis_mask"):
        run("npu_indexing", x, [0, 0], [1, 1], [1, 1], new_axis_mask=1)


def test_a_stride_copy_reads_the_memory_of_its_argument() -> None:
    x = torch.arange(12.0)
    assert run("npu_stride_copy", x, [2, 3], [1, 4], 1).tolist() == [[1, 5, 9], [2, 6, 10]]


def test_stride_add_adds_blocks_of_sixteen_channels() -> None:
    x, y = torch.randn(1, 48, 2), torch.randn(1, 48, 2)
    found = run("npu_stride_add", x, y, 1, 0, 2)
    assert torch.equal(found, x[:, 16:48] + y[:, :32])
    one = torch.ones(1, 1, 1)
    assert run("npu_stride_add", one, one, 0, 0, 1).flatten().tolist() == [2.0] + [0.0] * 15


@pytest.mark.parametrize("transpose_first", [False, True])
def test_confusion_transpose_and_its_backward_are_each_others_inverse(
    transpose_first: bool,
) -> None:
    x, perm = torch.randn(2, 3, 4, 5), [0, 2, 1, 3]
    shape = [2, 4, 15] if transpose_first else [6, 2, 2, 5]
    found = run("npu_confusion_transpose", x, perm, shape, transpose_first)
    if transpose_first:
        assert torch.equal(found, x.permute(perm).reshape(shape))
        assert torch.equal(
            run("npu_confusion_transpose_backward", found, perm, [2, 3, 4, 5], False), x
        )
    else:
        assert torch.equal(found, x.reshape(shape).permute(perm))
        assert torch.equal(
            run("npu_confusion_transpose_backward", found, perm, [2, 3, 4, 5], True), x
        )


def test_writes_in_place_return_what_they_wrote_to() -> None:
    x, y = torch.zeros(3, 4), torch.randn(4, 3)
    assert run("npu_view_copy", x.T, y, False).data_ptr() == x.data_ptr()
    assert torch.equal(x, y.T)
    assert run("one_", x) is x
    assert bool((x == 1).all())


def test_casts_take_a_dtype_or_its_number() -> None:
    x = torch.randn(3)
    assert torch.equal(run("npu_dtype_cast", x, 5), x.half())
    assert run("npu_dtype_cast", x, 11).dtype == torch.bool
    assert run("npu_dtype_cast", x, 6).data_ptr() != x.data_ptr()
    assert torch.equal(run("_npu_dtype_cast", x, torch.float64), x.double())
    assert torch.equal(run("npu_dtype_cast_backward", x.half(), torch.float32), x.half().float())
    assert torch.equal(run("npu_dtype_cast_backward", x.half(), torch.float32, 5), x.half().float())
    target = torch.zeros(3, dtype=torch.float16)
    assert run("npu_dtype_cast_", target, x) is target
    assert torch.equal(target, x.half())
    with pytest.raises(NotEmulated, match="float4"):
        run("npu_dtype_cast", x, 296)


@pytest.mark.parametrize("keepdim", [False, True])
@pytest.mark.parametrize("which", ["max", "min"])
def test_extremes_and_their_backward(keepdim: bool, which: str) -> None:
    x = torch.randn(3, 5, 2, requires_grad=True)
    values, indices = REFERENCES[f"npu::npu_{which}.dim"].function(x, 1, keepdim)
    reference = getattr(torch, which)(x, 1, keepdim)
    assert torch.equal(values, reference.values)
    assert torch.equal(indices, reference.indices.int())
    grad = torch.randn_like(values)
    (expected,) = torch.autograd.grad(reference.values, x, grad)
    assert torch.equal(run(f"npu_{which}_backward", grad, 1, indices, [3, 5, 2], keepdim), expected)


def test_sorting_gives_values_only() -> None:
    x = torch.randn(3, 4)
    assert torch.equal(run("npu_sort_v2", x, 0, True), x.sort(0, True).values)


def test_one_hot_has_a_value_for_on_and_off() -> None:
    x = torch.tensor([[0, 2], [1, 1]], dtype=torch.int32)
    assert torch.equal(run("npu_one_hot", x, depth=3), F.one_hot(x.long(), 3).float())
    assert run("npu_one_hot", x, -1, 3, 5, -1)[0, 1].tolist() == [-1.0, -1.0, 5.0]


def test_ranges_of_the_last_axis_are_filled_row_by_row() -> None:
    x = torch.zeros(2, 3, 6)
    start, end = torch.tensor([[0, 2]]), torch.tensor([[2, 5]])
    found = run("npu_masked_fill_range", x, start, end, torch.tensor([7.0]), -1)
    expected = torch.zeros(2, 3, 6)
    expected[0, :, 0:2] = expected[1, :, 2:5] = 7
    assert torch.equal(found, expected)
    whole = run("npu_masked_fill_range", x, start, end, torch.tensor([7.0]), 1)
    assert whole[:, 0:2].all()
    assert not x.any()


@pytest.mark.parametrize("shape", [(5,), (2, 3)])
def test_gathered_rows_send_their_gradients_back(shape: tuple[int, ...]) -> None:
    table = torch.randn(4, 3, requires_grad=True)
    index = torch.randint(0, 4, shape)
    rows = run("npu_gather_sparse_index", table, index)
    reference = F.embedding(index, table)
    assert torch.equal(rows, reference)
    grad = torch.randn_like(rows)
    (expected,) = torch.autograd.grad(reference, table, grad)
    found = run("npu_gather_sparse_index_backward", grad, [4, 3], index)
    torch.testing.assert_close(found, expected)
    base = torch.randn(4, 3)
    added = run("_npu_index_add", base, index, grad, alpha=2)
    torch.testing.assert_close(added, base + 2 * expected)
    assert run("_npu_index_add_", base, index, grad, alpha=2) is base


def test_gather_backward_adds_up_repeated_indices() -> None:
    x = torch.randn(3, 4, requires_grad=True)
    index = torch.randint(0, 4, (3, 6))
    gathered = x.gather(1, index)
    grad = torch.randn_like(gathered)
    (expected,) = torch.autograd.grad(gathered, x, grad)
    torch.testing.assert_close(run("npu_gather_backward", grad, [3, 4], 1, index, False), expected)


@pytest.mark.parametrize("dim", [0, 1, None])
def test_repeat_interleave_backwards_are_the_derivatives(dim: int | None) -> None:
    x = torch.randn(3, 4, requires_grad=True)
    count = x.numel() if dim is None else x.shape[dim]
    for repeats in (2, torch.randint(1, 4, (count,))):
        repeated = torch.repeat_interleave(x, repeats, dim)
        grad = torch.randn_like(repeated)
        (expected,) = torch.autograd.grad(repeated, x, grad)
        kind = "int" if isinstance(repeats, int) else "tensor"
        found = run(f"repeat_interleave_backward_{kind}", grad, x.detach(), repeats, dim)
        torch.testing.assert_close(found, expected)


@pytest.mark.parametrize(("count", "size"), [(17, 1), (16, 2), (33, 5)])
def test_signs_are_packed_with_the_first_in_the_lowest_bit(count: int, size: int) -> None:
    x = torch.randn(count)
    x[3] = 0.0
    packed = run("npu_sign_bits_pack", x, size)
    expected = numpy.packbits((x >= 0).numpy(), bitorder="little").reshape(size, -1)
    assert packed.tolist() == expected.tolist()
    signs = run("npu_sign_bits_unpack", packed.flatten(), size, torch.float16)
    assert signs.shape == (size, packed.numel() * 8 // size)
    assert torch.equal(signs.flatten()[:count], torch.where(x >= 0, 1.0, -1.0).half())


def test_no_overflow_flag_is_ever_set() -> None:
    room = run("npu_alloc_float_status", torch.zeros(1))
    assert room.tolist() == [0.0] * 8
    assert run("npu_get_float_status", room).dtype == torch.int32
    assert run("npu_clear_float_status", room).shape == (8,)


@pytest.mark.parametrize("onesided", [False, True])
@pytest.mark.parametrize("dim", [[1], [0, 1]])
def test_backward_of_the_real_transform_is_the_derivative(onesided: bool, dim: list[int]) -> None:
    x = torch.randn(3, 7, requires_grad=True)
    y = torch._fft_r2c(x, dim, 1, onesided)
    grad = torch.randn_like(y)
    (expected,) = torch.autograd.grad(y, x, grad)
    torch.testing.assert_close(run("fft_r2c_backward", grad, dim, 1, onesided, 7), expected)


def test_backward_of_the_inverse_real_transform_is_the_derivative() -> None:
    x = torch.randn(3, 5, dtype=torch.complex64, requires_grad=True)
    y = torch._fft_c2r(x, [1], 2, 8)
    grad = torch.randn_like(y)
    (expected,) = torch.autograd.grad(y, x, grad)
    torch.testing.assert_close(run("fft_c2r_backward", grad, [1], 2), expected)


@pytest.mark.parametrize("dtype", [torch.float32, torch.complex64])
def test_backward_of_the_short_time_transform_is_the_derivative(dtype: torch.dtype) -> None:
    x = torch.randn(24, dtype=dtype, requires_grad=True)
    window = torch.rand(8)
    y = torch.ops.aten.stft(x, 8, 4, 8, window, False, False, True)
    grad = torch.randn_like(y)
    (expected,) = torch.autograd.grad(y, x, grad)
    found = run("stft_backward", grad, x.detach(), 8, 4, 8, window, False, False, True)
    torch.testing.assert_close(found, expected)


@pytest.mark.parametrize("p", [1, 2, 3])
def test_renorm_backward_is_the_derivative(p: int) -> None:
    x = torch.randn(4, 5, requires_grad=True)
    y = torch.renorm(x, p, 0, 2.0)
    grad = torch.randn_like(y)
    (expected,) = torch.autograd.grad(y, x, grad)
    torch.testing.assert_close(run("npu_renorm_backward", grad, x.detach(), p, 0, 2.0), expected)


def test_one_infinity_in_any_gradient_is_found() -> None:
    check = REFERENCES["npu::_amp_foreach_non_finite_check"].function
    assert not check([torch.ones(3), torch.zeros(2).half()])
    assert check([torch.ones(3), torch.tensor([0.0, torch.inf]).half()])
