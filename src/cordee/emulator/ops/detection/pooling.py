"""What a feature map holds inside regions: ROI align and position-sensitive ROI pooling."""

import itertools
import math

import torch
from torch import Tensor

from cordee.core.errors import NotEmulated
from cordee.emulator.ops.reference import Chapter, vjp
from cordee.emulator.ops.sources import code_of

chapter = Chapter(source=code_of("aclops/RoiAlignKernelNpu.cpp"))


@chapter.reference("npu::npu_roi_align")
def roi_align(
    input: Tensor,
    rois: Tensor,
    spatial_scale: float,
    pooled_height: int,
    pooled_width: int,
    sample_num: int,
    roi_end_mode: int,
) -> Tensor:
    """Means of points sampled in each bin of each region (arXiv:1703.06870, section 3).

    `rois` is [n, 5]: the image, then left, top, right and bottom. In mode 1 the region ends one
    pixel later.
    """
    if roi_end_mode not in (0, 1):
        raise NotEmulated(f"npu_roi_align: roi_end_mode={roi_end_mode} is not emulated")
    pooled = []
    for image, left, top, right, bottom in rois.double().tolist():
        x, width = left * spatial_scale, (right + roi_end_mode) * spatial_scale
        y, height = top * spatial_scale, (bottom + roi_end_mode) * spatial_scale
        rows = _points(y, max(height - y, 1.0), pooled_height, sample_num)
        columns = _points(x, max(width - x, 1.0), pooled_width, sample_num)
        values = _sampled(input[int(image)].float(), rows.flatten(), columns.flatten())
        bins = values.reshape(-1, *rows.shape, *columns.shape)
        pooled.append(bins.mean((2, 4)))
    if not pooled:
        return input.new_zeros(0, input.shape[1], pooled_height, pooled_width)
    return torch.stack(pooled).to(input.dtype)


@chapter.reference("npu::npu_roi_alignbk", source=code_of("aclops/RoiAlignBackwardKernelNpu.cpp"))
def roi_align_backward(
    input: Tensor,
    rois: Tensor,
    xdiff_shape: list[int],
    pooled_width: int,
    pooled_height: int,
    spatial_scale: float,
    sample_num: int,
    roi_end_mode: int | None = None,
) -> Tensor:
    """Gradient of the feature map [xdiff_shape]; `input` is that of the pooled regions."""
    # Without a mode the kernel takes its own default, 1.
    mode = 1 if roi_end_mode is None else roi_end_mode

    def forward(features: Tensor) -> Tensor:
        result: Tensor = roi_align(
            features, rois, spatial_scale, pooled_height, pooled_width, sample_num, mode
        )
        return result

    (grad,) = vjp(forward, (torch.zeros(xdiff_shape),), (input.float(),))
    assert grad is not None
    return grad.to(input.dtype)


@chapter.reference("npu::npu_ps_roi_pooling", source=code_of("aclops/PsRoiPoolingKernelNpu.cpp"))
def ps_roi_pooling(
    input: Tensor, rois: Tensor, spatial_scale: float, group_size: int, output_dim: int
) -> Tensor:
    """Each bin's mean in a map of its own (arXiv:1605.06409, equation 1).

    `rois` is [batch, 5, n]; the result [batch * n, output_dim, group_size, group_size].
    """
    _, channels, height, width = input.shape
    maps = torch.arange(channels).reshape(output_dim, group_size, group_size)
    pooled = []
    for image, left, top, right, bottom in rois.double().transpose(1, 2).flatten(0, 1).tolist():
        rows = _bins(top, bottom, spatial_scale, group_size, height)
        columns = _bins(left, right, spatial_scale, group_size, width)
        bins = []
        for i, row in enumerate(rows):
            for j, column in enumerate(columns):
                if row.start >= row.stop or column.start >= column.stop:
                    # Nothing of the image, yet part of the function that is differentiated.
                    bins.append(input[0, maps[:, i, j], :0, :0].float().sum((1, 2)))
                else:
                    own = input[int(image), maps[:, i, j], row, column].float()
                    bins.append(own.mean((1, 2)))
        pooled.append(torch.stack(bins, -1).reshape(output_dim, group_size, group_size))
    return torch.stack(pooled).to(input.dtype)


@chapter.reference(
    "npu::npu_ps_roi_pooling_backward", source=code_of("aclops/PsRoiPoolingKernelNpu.cpp")
)
def ps_roi_pooling_backward(
    output_grad: Tensor,
    rois: Tensor,
    spatial_scale: float,
    group_size: int,
    output_dim: int,
    input_size: list[int],
) -> Tensor:
    """Gradient of the feature maps [batch, group_size^2 * output_dim, *input_size]."""
    shape = (rois.shape[0], group_size**2 * output_dim, input_size[0], input_size[1])
    (grad,) = vjp(
        lambda maps: ps_roi_pooling(maps, rois, spatial_scale, group_size, output_dim),
        (torch.zeros(shape),),
        (output_grad.float(),),
    )
    assert grad is not None
    return grad.to(output_grad.dtype)


def _points(start: float, length: float, bins: int, samples: int) -> Tensor:
    """Where each bin is sampled [bins, samples]: evenly, away from its ends."""
    count = samples if samples > 0 else math.ceil(length / bins)
    steps = (torch.arange(bins * count, dtype=torch.float64) + 0.5) / count
    return (start + steps * (length / bins)).reshape(bins, count).float()


def _sampled(features: Tensor, y: Tensor, x: Tensor) -> Tensor:
    """`features` [channels, height, width] at all crossings of `y` and `x`, bilinear."""
    low_y, high_y, part_y, in_y = _neighbours(y, features.shape[1])
    low_x, high_x, part_x, in_x = _neighbours(x, features.shape[2])
    upper = features[:, low_y] * (1 - part_y)[:, None] + features[:, high_y] * part_y[:, None]
    value = upper[:, :, low_x] * (1 - part_x) + upper[:, :, high_x] * part_x
    return value * (in_y[:, None] & in_x)


def _neighbours(place: Tensor, size: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Pixels before and after each place, the way between them, and whether it counts at all."""
    inside = (place >= -1) & (place <= size)
    place = place.clamp(0, size - 1)
    low = place.floor().long()
    return low, (low + 1).clamp(max=size - 1), place - low, inside


def _bins(start: float, end: float, scale: float, count: int, size: int) -> list[slice]:
    first = math.floor(start + 0.5) * scale
    length = max((math.floor(end + 0.5) + 1) * scale - first, 0.1)
    edges = [first + i * length / count for i in range(count + 1)]
    return [
        slice(min(max(math.floor(low), 0), size), min(max(math.ceil(high), 0), size))
        for low, high in itertools.pairwise(edges)
    ]
