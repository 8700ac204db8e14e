"""Every operator of PyTorch's own database gives on the chip what it gives on the CPU."""

import pytest
import torch
from operator_database import (
    EXCEPTIONS,
    arguments,
    cases,
    compare,
    forward,
    full_name,
    gradient,
    in_place,
    into,
    samples,
    to_chip,
)
from torch.testing._internal.opinfo.core import OpInfo
from torch.utils._pytree import tree_map

pytestmark = [
    pytest.mark.usefixtures("chip"),
    # Samples reach into every corner; what PyTorch has to say of corners is not under test.
    pytest.mark.filterwarnings("ignore"),
]

FLOAT = (torch.float32,)
OTHER_DTYPES = (
    torch.int64,
    torch.bfloat16,
    torch.float16,
    torch.int32,
    torch.uint8,
    torch.bool,
    torch.complex64,
)


@pytest.mark.parametrize(("op", "dtype"), cases(FLOAT, lambda _: True))
def test_an_operator_gives_what_the_cpu_gives(op: OpInfo, dtype: torch.dtype) -> None:
    compare(op, "forward", dtype, forward)


@pytest.mark.parametrize(("op", "dtype"), cases(FLOAT, lambda op: op.supports_autograd))
def test_a_gradient_is_what_the_cpu_gives(op: OpInfo, dtype: torch.dtype) -> None:
    compare(op, "gradient", dtype, gradient)


@pytest.mark.slow
@pytest.mark.parametrize(("op", "dtype"), cases(FLOAT, lambda op: op.supports_out))
def test_an_operator_writes_into_what_it_is_given(op: OpInfo, dtype: torch.dtype) -> None:
    compare(op, "out", dtype, into)


@pytest.mark.slow
@pytest.mark.parametrize(("op", "dtype"), cases(FLOAT, lambda op: op.inplace_variant is not None))
def test_an_operator_changes_its_argument_in_place(op: OpInfo, dtype: torch.dtype) -> None:
    compare(op, "in_place", dtype, in_place)


@pytest.mark.slow
@pytest.mark.parametrize(("op", "dtype"), cases(OTHER_DTYPES, lambda _: True))
def test_an_operator_gives_in_other_dtypes_what_the_cpu_gives(
    op: OpInfo, dtype: torch.dtype
) -> None:
    compare(op, "forward", dtype, forward)


@pytest.mark.slow
@pytest.mark.parametrize(("op", "dtype"), cases((torch.float32, torch.int64), lambda _: True))
def test_an_operator_gives_for_every_sample_what_the_cpu_gives(
    op: OpInfo, dtype: torch.dtype
) -> None:
    compare(op, "every", dtype, forward)


RANDOM = [
    case
    for case in cases(FLOAT, lambda _: True)
    if any(r.kind == "random" and full_name(case.values[0]) in r.operators for r in EXCEPTIONS)
]


@pytest.mark.parametrize(("op", "dtype"), RANDOM)
def test_random_numbers_follow_from_the_seed(op: OpInfo, dtype: torch.dtype) -> None:
    for sample in samples(op, dtype):
        results = []
        for _ in range(2):
            args, kwargs = to_chip(arguments(op, sample))
            torch.npu.manual_seed(3)
            results.append(tree_map(lambda x: x.cpu(), op.op(*args, **kwargs)))
        torch.testing.assert_close(*results, rtol=0, atol=0, equal_nan=True)
