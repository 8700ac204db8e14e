"""Statistics of batches: of their valid lengths, and of channels shared between processes."""

import torch
from torch import Tensor

from cordee.emulator.ops.demands import require
from cordee.emulator.ops.reference import Chapter
from cordee.emulator.ops.sources import code_of, page_of

chapter = Chapter(source=page_of("batch_norm_reduce"))


@chapter.reference("npu::batch_norm_reduce")
def batch_norm_reduce(input: Tensor, eps: float) -> tuple[Tensor, Tensor]:
    """The sum and the sum of squares of each channel, in float32; `eps` has no effect."""
    require(input.dim() > 1, "The dim input tensor [self] must more than 1.")
    x, rest = input.float(), (0, *range(2, input.dim()))
    return x.sum(rest), x.square().sum(rest)


@chapter.reference(
    "npu::batch_norm_gather_stats_update",
    source=code_of("opapi/BatchNormGatherStatsUpdateKernelNpuOpApi.cpp"),
)
def batch_norm_gather_stats_update(
    input: Tensor,
    mean: Tensor,
    invstd: Tensor,
    running_mean: Tensor | None,
    running_var: Tensor | None,
    momentum: float,
    eps: float,
    counts: Tensor,
) -> tuple[Tensor, Tensor]:
    """Mean and 1/std of each channel over all processes; also updates the running statistics.

    `mean` and `invstd` are what `batch_norm_reduce` gave, (processes, channels): sums and sums
    of squares, whatever their names say.
    """
    require(input.dim() > 1, "The dim input tensor [self] must more than 1.")
    count = counts.to(torch.int32).sum()
    average = mean.float().sum(0) / count
    variance = invstd.float().sum(0) / count - average.square()
    for running, now in ((running_mean, average), (running_var, variance)):
        if running is not None:
            running.copy_(momentum * now + (1 - momentum) * running.float())
    return average.to(mean.dtype), torch.rsqrt(variance + eps).to(mean.dtype)


@chapter.reference("npu::npu_normalize_batch", source=code_of("aclops/NormalizeBatchKernelNpu.cpp"))
def npu_normalize_batch(input: Tensor, seq_len: Tensor, normalize_type: int = 0) -> Tensor:
    """`input` is (n, c, t); statistics come from each sample's first `seq_len` steps.

    They are per feature (type 0) or over all features of a sample (type 1).
    """
    require(
        seq_len.dim() == 1,
        (f"Non-empty 1D seq_len tensor expected but got a tensor with sizes {list(seq_len.shape)}"),
    )
    require(
        seq_len.shape[0] == input.shape[0],
        (
            "seq_len's length should be equal self' num, but got seq_len length "
            f"{seq_len.shape[0]}self num {input.shape[0]}"
        ),
    )
    require(
        normalize_type in (0, 1),
        f"normalize_type expected to be in range [0, 1], but got {normalize_type}",
    )
    axes = (-1,) if normalize_type == 0 else (-2, -1)
    rows = []
    for sample, length in zip(input.float(), seq_len.tolist(), strict=True):
        valid = sample[:, :length]
        std = valid.std(axes, keepdim=True) + 1e-5
        rows.append((sample - valid.mean(axes, keepdim=True)) / std)
    return torch.stack(rows).to(input.dtype)
