"""Dtypes that the chip refuses are refused, with a reason one can look up; others are not."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from cordee.emulator.ops.refusals import TABLES, Row, rows_of
from cordee.emulator.ops.ways import registered

pytestmark = pytest.mark.usefixtures("chip")

WIDE = (torch.float64, torch.complex128)


def ones(*shape: int, dtype: torch.dtype) -> Tensor:
    return torch.ones(shape, dtype=dtype).npu()


@pytest.mark.parametrize("dtype", [*WIDE, torch.complex64, torch.int32, torch.int64, torch.uint8])
def test_a_matrix_product_takes_floats_of_32_bits_at_most(dtype: torch.dtype) -> None:
    x = ones(2, 2, dtype=dtype)
    with pytest.raises(RuntimeError, match=r"aten::mm: argument 'self' is .* does not support"):
        torch.mm(x, x)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
def test_a_matrix_product_of_a_supported_dtype_is_computed(dtype: torch.dtype) -> None:
    x = ones(2, 2, dtype=dtype)
    assert torch.equal((x @ x).cpu(), torch.full((2, 2), 2, dtype=dtype))


def test_a_convolution_in_double_is_refused() -> None:
    layer = nn.Conv2d(1, 1, 3).double().npu()
    with pytest.raises(RuntimeError, match="argument 'input' is Double"):
        layer(ones(1, 1, 4, 4, dtype=torch.float64))


def test_a_refusal_names_what_is_supported_and_who_says_so() -> None:
    x = ones(2, 2, dtype=torch.float64)
    with pytest.raises(
        RuntimeError, match=r"It takes bfloat16, float16 and float32 \(.*aclnnMm\.md"
    ):
        torch.mm(x, x)


def test_an_operator_that_converts_for_the_chip_takes_doubles() -> None:
    x = ones(3, dtype=torch.float64)
    assert (x + x).dtype == torch.float64


def test_a_number_in_a_tensors_place_is_no_double_to_the_chip() -> None:
    x = ones(3, dtype=torch.float32)
    assert torch.equal(nn.functional.threshold(x, 2.0, 5.0).cpu(), torch.full((3,), 5.0))
    assert torch.equal(torch.maximum(x, torch.tensor(2.0)).cpu(), torch.full((3,), 2.0))


@pytest.mark.parametrize("call", [torch.sort, torch.msort, torch.argsort])
def test_doubles_are_not_sorted(call: Callable[[Tensor], object]) -> None:
    with pytest.raises(RuntimeError, match=r"Double, which the chip does not support.*Sort"):
        call(ones(3, dtype=torch.float64))


@pytest.mark.parametrize("table", TABLES)
def test_a_row_is_about_operators_and_dtypes_that_exist(table: str) -> None:
    overloads = {name.removeprefix("aten::") for name in registered("PrivateUse1")}
    bases = {name.partition(".")[0] for name in overloads}
    for row in rows_of(table):
        assert isinstance(row, Row)
        assert set(row.operators) <= overloads | bases
        assert all(isinstance(getattr(torch, dtype), torch.dtype) for dtype in row.dtypes)
        assert not set(row.dtypes) & set(row.supported)
