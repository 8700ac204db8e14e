"""RMS norms against PyTorch's own and against autograd."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from cordee.emulator.ops import normalisation as normalisation
from cordee.emulator.ops.reference import REFERENCES


def run(name: str, *arguments: object, **options: object) -> tuple[Tensor, ...]:
    found = REFERENCES[f"npu::{name}"].function(*arguments, **options)
    return found if isinstance(found, tuple) else (found,)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_rms_norm_is_pytorchs_rounded_once(dtype: torch.dtype) -> None:
    x, gamma = torch.randn(3, 5, 16).to(dtype), torch.rand(16).to(dtype)
    y, rstd = run("npu_rms_norm", x, gamma, 1e-5)
    expected = F.rms_norm(x.double(), (16,), gamma.double(), 1e-5)
    torch.testing.assert_close(y, expected.to(dtype))
    mean_square = x.double().square().mean(-1, keepdim=True)
    torch.testing.assert_close(rstd, (mean_square + 1e-5).rsqrt().float())


def test_rms_norm_normalises_as_many_axes_as_gamma_has() -> None:
    x, gamma = torch.randn(4, 3, 8), torch.rand(3, 8)
    y, rstd = run("npu_rms_norm", x, gamma)
    torch.testing.assert_close(y, F.rms_norm(x, (3, 8), gamma, 1e-6))
    assert rstd.shape == (4, 1, 1)


def test_a_gamma_with_more_axes_than_the_input_is_refused() -> None:
    with pytest.raises(RuntimeError, match="gamma shape should not be bigger"):
        run("npu_rms_norm", torch.randn(8), torch.randn(2, 8))


@pytest.mark.parametrize("shape", [(16,), (3, 16)])
def test_rms_norm_backward_is_the_derivative(shape: tuple[int, ...]) -> None:
    x = torch.randn(2, 4, 3, 16, requires_grad=True)
    gamma = torch.rand(shape, requires_grad=True)
    dy = torch.randn_like(x)
    expected = torch.autograd.grad(F.rms_norm(x, shape, gamma, 1e-6), (x, gamma), dy)
    with torch.no_grad():
        rstd = run("npu_rms_norm", x, gamma)[1]
        found = run("npu_rms_norm_backward", dy, x, gamma, rstd)
    torch.testing.assert_close(found, expected)


def test_rms_norm_can_be_differentiated() -> None:
    x = torch.randn(3, 8, dtype=torch.float32, requires_grad=True)
    gamma = torch.rand(8, requires_grad=True)
    dy = torch.randn(3, 8)
    found = torch.autograd.grad(run("npu_rms_norm", x, gamma)[0], (x, gamma), dy)
    expected = torch.autograd.grad(F.rms_norm(x, (8,), gamma, 1e-6), (x, gamma), dy)
    torch.testing.assert_close(found, expected)


def test_gemmas_norm_scales_by_one_more_than_gamma() -> None:
    x, gamma = torch.randn(3, 8), torch.rand(8)
    y, _ = run("npu_gemma_rms_norm", x, gamma)
    torch.testing.assert_close(y, F.rms_norm(x, (8,), 1 + gamma, 1e-6))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_add_rms_norm_gives_the_norm_and_the_sum(dtype: torch.dtype) -> None:
    x1, x2 = torch.randn(3, 16).to(dtype), torch.randn(3, 16).to(dtype)
    gamma = torch.rand(16).to(dtype)
    y, rstd, x = run("npu_add_rms_norm", x1, x2, gamma)
    torch.testing.assert_close(x, x1 + x2)
    torch.testing.assert_close(
        y, F.rms_norm(x.double(), (16,), gamma.double(), 1e-6).to(dtype), atol=2e-2, rtol=2e-2
    )
    assert rstd.dtype == torch.float32


def test_the_in_place_form_leaves_norm_and_sum_in_its_inputs() -> None:
    x1, x2, gamma = torch.randn(3, 16), torch.randn(3, 16), torch.rand(16)
    y, rstd, x = run("npu_add_rms_norm", x1, x2, gamma)
    functional = run("npu_add_rms_norm_v2_functional", x1, x2, gamma)
    torch.testing.assert_close(functional, (rstd, y, x))
    (found,) = run("npu_add_rms_norm_v2", x1, x2, gamma)
    torch.testing.assert_close((found, x1, x2), (rstd, y, x))


def test_the_casting_form_gives_both_precisions() -> None:
    x1, x2, gamma = (torch.randn(3, 16).half() for _ in range(3))
    gamma = gamma[0]
    y1, y2, _, x = run("npu_add_rms_norm_cast", x1, x2, gamma)
    assert (y1.dtype, y2.dtype, x.dtype) == (torch.float32, torch.float16, torch.float16)
    torch.testing.assert_close(y1.half(), y2)


def test_no_result_shares_memory_with_an_input() -> None:
    x1, x2, gamma = torch.randn(3, 16), torch.zeros(3, 16), torch.ones(16)
    inputs = {t.data_ptr() for t in (x1, x2, gamma)}
    for name in ("npu_add_rms_norm", "npu_add_rms_norm_cast"):
        outputs = [t.data_ptr() for t in run(name, x1, x2, gamma)]
        assert not inputs & set(outputs)
        assert len(set(outputs)) == len(outputs)
