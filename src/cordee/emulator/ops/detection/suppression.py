"""Non-maximum suppression of upright boxes: the best of those that overlap stays."""

import torch
from torch import Tensor

from cordee.emulator.ops.contract import refuse, unwritten
from cordee.emulator.ops.reference import Chapter
from cordee.emulator.ops.sources import code_of

chapter = Chapter(source=code_of("aclops/NmsV4KernelNpu.cpp"))


@chapter.reference("npu::npu_nms_v4")
def nms_v4(
    input: Tensor,
    scores: Tensor,
    max_output_size: float,
    iou_threshold: Tensor,
    scores_threshold: Tensor,
    pad_to_max_output_size: bool = False,
) -> tuple[Tensor, Tensor]:
    """Numbers of the boxes [n, 4] kept, best first, in room for `max_output_size`; how many."""
    size = int(max_output_size)
    order = torch.sort(scores.float(), descending=True, stable=True).indices
    order = order[scores.float()[order] > float(scores_threshold)]
    kept = _kept(input.float(), order, float(iou_threshold))[:size]
    selected = unwritten((size,), torch.int32)
    selected[: len(kept)] = torch.tensor(kept, dtype=torch.int32)
    return selected, torch.tensor(len(kept), dtype=torch.int32)


@chapter.reference("npu::npu_nms_with_mask", source=code_of("aclops/NmsWithMaskKernelNpu.cpp"))
def nms_with_mask(input: Tensor, iou_threshold: float) -> tuple[Tensor, Tensor, Tensor]:
    """Boxes with scores [n, 5], best first as they come, their numbers, and which of them stay."""
    count = input.shape[0]
    stays = torch.zeros(count, dtype=torch.uint8)
    stays[_kept(input[:, :4].float(), torch.arange(count), float(iou_threshold))] = 1
    return input.clone(), torch.arange(count, dtype=torch.int32), stays


@chapter.reference("npu::npu_batch_nms", source=code_of("aclops/BatchNMSKernelNpu.cpp"))
def batch_nms(
    input: Tensor,
    scores: Tensor,
    score_threshold: float,
    iou_threshold: float,
    max_size_per_class: int,
    max_total_size: int,
    change_coordinate_frame: bool = False,
    transpose_box: bool = False,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Boxes, scores and classes kept for each image of the batch, best first, and how many.

    `input` is [batch, n, 1 or classes, 4], `scores` [batch, n, classes].
    """
    refuse(
        "npu_batch_nms",
        change_coordinate_frame=change_coordinate_frame,
        transpose_box=transpose_box,
    )
    batch, _, sets, _ = input.shape
    boxes = torch.zeros(batch, max_total_size, 4, dtype=input.dtype)
    values = torch.zeros(batch, max_total_size, dtype=input.dtype)
    classes = torch.zeros(batch, max_total_size, dtype=input.dtype)
    counts = torch.zeros(batch, dtype=torch.int32)
    for image in range(batch):
        found: list[tuple[float, int, int]] = []
        for number in range(scores.shape[2]):
            score = scores[image, :, number].float()
            order = torch.sort(score, descending=True, stable=True).indices
            order = order[score[order] > score_threshold]
            own = input[image, :, number if sets > 1 else 0].float()
            kept = _kept(own, order, iou_threshold)[:max_size_per_class]
            found += [(float(score[box]), number, box) for box in kept]
        found.sort(key=lambda one: -one[0])
        for place, (value, number, box) in enumerate(found[:max_total_size]):
            boxes[image, place] = input[image, box, number if sets > 1 else 0]
            values[image, place], classes[image, place] = value, number
        counts[image] = min(len(found), max_total_size)
    return boxes, values, classes, counts


def _kept(boxes: Tensor, order: Tensor, threshold: float) -> list[int]:
    """Those of `order` that overlap none kept before them by more than `threshold`."""
    low = torch.minimum(boxes[:, :2], boxes[:, 2:])
    high = torch.maximum(boxes[:, :2], boxes[:, 2:])
    area = (high - low).prod(-1)
    kept: list[int] = []
    for number in order.tolist():
        shared = (
            (torch.minimum(high[number], high[kept]) - torch.maximum(low[number], low[kept]))
            .clamp(min=0)
            .prod(-1)
        )
        if bool((shared <= threshold * (area[number] + area[kept] - shared)).all()):
            kept.append(number)
    return kept
