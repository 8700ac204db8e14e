"""Backwards of Fourier transforms. The transforms are linear, so any point serves to differentiate."""

from collections.abc import Callable

import torch
from torch import Tensor

from cordee.emulator.ops.reference import Chapter
from cordee.emulator.ops.sources import code_of

chapter = Chapter(source=code_of("opapi/FFTr2cKernelNpuOpApi.cpp"))


@chapter.reference("npu::fft_r2c_backward")
def fft_r2c_backward(
    grad: Tensor, dim: list[int], normalization: int, onesided: bool, last_dim_size: int
) -> Tensor:
    """Gradient of the real signal, `last_dim_size` long along the last of `dim`."""
    shape = list(grad.shape)
    shape[dim[-1]] = last_dim_size
    signal = torch.zeros(shape, dtype=grad.real.dtype)
    return _transposed(lambda x: torch._fft_r2c(x, dim, normalization, onesided), signal, grad)


@chapter.reference("npu::fft_c2r_backward", source=code_of("opapi/FFTc2rKernelNpuOpApi.cpp"))
def fft_c2r_backward(grad: Tensor, dim: list[int], normalization: int) -> Tensor:
    """Gradient of the half spectrum."""
    size = grad.shape[dim[-1]]
    shape = list(grad.shape)
    shape[dim[-1]] = size // 2 + 1
    spectrum = torch.zeros(shape, dtype=torch.complex(grad[:0], grad[:0]).dtype)
    return _transposed(lambda x: torch._fft_c2r(x, dim, normalization, size), spectrum, grad)


@chapter.reference("npu::stft_backward", source=code_of("opapi/StftKernelNpuOpApi.cpp"))
def stft_backward(
    grad_output: Tensor,
    input: Tensor,
    n_fft: int,
    hop_length: int | None = None,
    win_length: int | None = None,
    window: Tensor | None = None,
    normalized: bool = False,
    onesided: bool | None = None,
    return_complex: bool | None = None,
) -> Tensor:
    """Gradient of the signal `input`."""

    def stft(x: Tensor) -> Tensor:
        result: Tensor = torch.ops.aten.stft(
            x, n_fft, hop_length, win_length, window, normalized, onesided, return_complex
        )
        return result

    return _transposed(stft, input, grad_output)


def _transposed(transform: Callable[[Tensor], Tensor], at: Tensor, grad: Tensor) -> Tensor:
    with torch.enable_grad():
        leaf = at.detach().clone().requires_grad_()
        (found,) = torch.autograd.grad(transform(leaf), leaf, grad)
    return found
