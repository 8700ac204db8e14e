"""Boxes as differences from anchors, and back."""

import math

import torch
from torch import Tensor

from cordee.emulator.ops.reference import Chapter
from cordee.emulator.ops.sources import code_of

chapter = Chapter(source=code_of("aclops/BoundingBoxEncodeKernelNpu.cpp"))


@chapter.reference("npu::npu_bounding_box_encode")
def bounding_box_encode(
    anchor_box: Tensor,
    ground_truth_box: Tensor,
    means0: float,
    means1: float,
    means2: float,
    means3: float,
    stds0: float,
    stds1: float,
    stds2: float,
    stds3: float,
) -> Tensor:
    """Offsets and log sizes of boxes [n, 4] against their anchors (arXiv:1311.2524, appendix C).

    Sides count pixels, so a box from 1 to 3 is 3 wide.
    """
    (px, py, pw, ph), (gx, gy, gw, gh) = _centred(anchor_box), _centred(ground_truth_box)
    delta = torch.stack(((gx - px) / pw, (gy - py) / ph, (gw / pw).log(), (gh / ph).log()), -1)
    means = torch.tensor([means0, means1, means2, means3])
    stds = torch.tensor([stds0, stds1, stds2, stds3])
    # The kernel rounds to float16 on the way, whatever it is given.
    return ((delta.half().float() - means).half().float() / stds).half().to(anchor_box.dtype)


@chapter.reference(
    "npu::npu_bounding_box_decode", source=code_of("aclops/BoundingBoxDecodeKernelNpu.cpp")
)
def bounding_box_decode(
    rois: Tensor,
    deltas: Tensor,
    means0: float,
    means1: float,
    means2: float,
    means3: float,
    stds0: float,
    stds1: float,
    stds2: float,
    stds3: float,
    max_shape: list[int],
    wh_ratio_clip: float,
) -> Tensor:
    """Boxes [n, 4] from their anchors and deltas, kept inside an image of `max_shape`."""
    means = torch.tensor([means0, means1, means2, means3])
    stds = torch.tensor([stds0, stds1, stds2, stds3])
    dx, dy, dw, dh = (deltas.float() * stds + means).unbind(-1)
    most = abs(math.log(wh_ratio_clip))
    px, py, pw, ph = _centred(rois)
    x, y = px + pw * dx, py + ph * dy
    w, h = pw * dw.clamp(-most, most).exp(), ph * dh.clamp(-most, most).exp()
    box = torch.stack((x - w / 2 + 0.5, y - h / 2 + 0.5, x + w / 2 - 0.5, y + h / 2 - 0.5), -1)
    height, width = max_shape[0], max_shape[-1]
    limit = torch.tensor([width - 1.0, height - 1.0, width - 1.0, height - 1.0])
    return torch.minimum(box.clamp(min=0), limit).to(rois.dtype)


@chapter.reference(
    "npu::npu_rotated_box_encode", source=code_of("aclops/RotatedBoxEncodeKernelNpu.cpp")
)
def rotated_box_encode(input: Tensor, gt_bboxes: Tensor, weight: Tensor) -> Tensor:
    """Weighted differences of turned boxes [batch, 5, n] from their anchors; of angles, the tangents'."""
    ax, ay, aw, ah, turn = _turned(input)
    gx, gy, gw, gh, gt_turn = _turned(gt_bboxes)
    delta = torch.stack(
        (
            (gx - ax) / aw,
            (gy - ay) / ah,
            (gw / aw).log(),
            (gh / ah).log(),
            torch.deg2rad(gt_turn).tan() - torch.deg2rad(turn).tan(),
        ),
        1,
    )
    return (delta * weight.float().reshape(1, 5, 1)).to(input.dtype)


@chapter.reference(
    "npu::npu_rotated_box_decode", source=code_of("aclops/RotatedBoxDecodeKernelNpu.cpp")
)
def rotated_box_decode(input: Tensor, deltas: Tensor, weight: Tensor) -> Tensor:
    """Turned boxes [batch, 5, n] from their anchors and weighted deltas."""
    ax, ay, aw, ah, turn = _turned(input)
    dx, dy, dw, dh, da = (deltas.float() / weight.float().reshape(1, 5, 1)).unbind(1)
    x, y, w, h = ax + aw * dx, ay + ah * dy, aw * dw.exp(), ah * dh.exp()
    angle = torch.rad2deg(torch.atan(da + torch.deg2rad(turn).tan()))
    box = torch.stack((x - w / 2, y - h / 2, x + w / 2, y + h / 2, angle), 1)
    return box.to(input.dtype)


@chapter.reference(
    "npu::npu_yolo_boxes_encode", source=code_of("aclops/YoloBoxesEncodeKernelNpu.cpp")
)
def yolo_boxes_encode(
    input: Tensor, gt_bboxes: Tensor, stride: Tensor, performance_mode: bool = False
) -> Tensor:
    """Places of boxes [n, 4] inside their anchors' cells, and log sizes (arXiv:1804.02767)."""
    low, high = input.float().split(2, -1)
    gt_low, gt_high = gt_bboxes.float().split(2, -1)
    least = 1e-6
    shift = ((gt_low + gt_high) / 2 - (low + high) / 2) / stride.float().unsqueeze(-1) + 0.5
    size = ((gt_high - gt_low) / (high - low)).clamp(min=least).log()
    return torch.cat((shift.clamp(least, 1 - least), size), -1).to(gt_bboxes.dtype)


def _centred(boxes: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    left, top, right, bottom = boxes.float().unbind(-1)
    return (left + right) / 2, (top + bottom) / 2, right - left + 1, bottom - top + 1


def _turned(boxes: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    left, top, right, bottom, angle = boxes.float().unbind(1)
    return (left + right) / 2, (top + bottom) / 2, right - left, bottom - top, angle
