"""How much upright boxes overlap: IoU and its generalised, distance and complete forms.

The forms are those of arXiv:1902.09630 (GIoU) and arXiv:1911.08287 (DIoU, CIoU).
"""

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from cordee.emulator.ops.contract import refuse
from cordee.emulator.ops.reference import Chapter, vjp
from cordee.emulator.ops.sources import code_of

chapter = Chapter(source=code_of("aclops/IouKernelNpu.cpp"))

# The operator's attribute eps: both sides of a box are longer by it where its area is taken.
IOU_MARGIN = 0.01
EPSILON = 1e-9

Sides = tuple[Tensor, Tensor, Tensor, Tensor]  # left, top, right, bottom


@chapter.reference("npu::npu_iou", "npu::npu_ptiou")
def iou(bboxes: Tensor, gtboxes: Tensor, mode: int = 0) -> Tensor:
    """Overlap of every one of `gtboxes` [m, 4] with every one of `bboxes` [n, 4], as [m, n].

    Mode 1 relates it to the area of the first alone.
    """
    a = tuple(side.unsqueeze(0) for side in bboxes.half().float().unbind(-1))
    b = tuple(side.unsqueeze(1) for side in gtboxes.half().float().unbind(-1))
    shared = _shared((a[0], a[1], a[2], a[3]), (b[0], b[1], b[2], b[3]))
    area_a = (a[2] - a[0] + IOU_MARGIN) * (a[3] - a[1] + IOU_MARGIN)
    area_b = (b[2] - b[0] + IOU_MARGIN) * (b[3] - b[1] + IOU_MARGIN)
    whole = area_b if mode == 1 else area_a + area_b - shared
    # The kernel works in float16 whatever it is given.
    return (shared / whole).half().to(bboxes.dtype)


@chapter.reference("npu::npu_giou", source=code_of("aclops/GiouKernelNpu.cpp"))
def giou(
    input: Tensor, gtboxes: Tensor, trans: bool = False, is_cross: bool = False, mode: int = 0
) -> Tensor:
    """Generalised IoU of boxes [4, n], pair by pair as [n, 1] or of all with all as [n, m]."""
    refuse("npu_giou", mode=mode != 0)
    return _giou(input, gtboxes, trans, is_cross).T.to(input.dtype)


@chapter.reference("npu::npu_giou_backward", source=code_of("aclops/GiouKernelNpu.cpp"))
def giou_backward(
    grad: Tensor,
    bboxes: Tensor,
    gtboxes: Tensor,
    trans: bool = False,
    is_cross: bool = False,
    mode: int = 0,
) -> tuple[Tensor, Tensor]:
    """Gradients of both sets of boxes, paired."""
    refuse("npu_giou_backward", mode=mode != 0, is_cross=is_cross)
    return _gradients(lambda a, b: _giou(a, b, trans, False), bboxes, gtboxes, grad)


@chapter.reference("npu::npu_diou", source=code_of("aclops/DiouKernelNpu.cpp"))
def diou(
    input: Tensor, gtboxes: Tensor, trans: bool = False, is_cross: bool = False, mode: int = 0
) -> Tensor:
    """Distance IoU of boxes [4, n], pair by pair as [1, n] or of all with all as [m, n]."""
    refuse("npu_diou", mode=mode != 0)
    return _diou(input, gtboxes, trans, is_cross).to(input.dtype)


@chapter.reference("npu::npu_diou_backward", source=code_of("aclops/DiouKernelNpu.cpp"))
def diou_backward(
    grad: Tensor,
    bboxes: Tensor,
    gtboxes: Tensor,
    trans: bool = False,
    is_cross: bool = False,
    mode: int = 0,
) -> tuple[Tensor, Tensor]:
    """Gradients of both sets of boxes, paired."""
    refuse("npu_diou_backward", mode=mode != 0, is_cross=is_cross)
    return _gradients(lambda a, b: _diou(a, b, trans, False), bboxes, gtboxes, grad)


@chapter.reference("npu::_npu_ciou", source=code_of("aclops/CiouKernelNpu.cpp"))
def ciou_and_angle(
    input: Tensor,
    gtboxes: Tensor,
    trans: bool = False,
    is_cross: bool = True,
    mode: int = 0,
    atan_sub_flag: bool = False,
) -> tuple[Tensor, Tensor]:
    """Complete IoU of boxes [4, n], and the difference of the angles of their diagonals."""
    refuse("npu_ciou", mode=mode != 0)
    overlap, angle = _ciou(input, gtboxes, trans, is_cross)
    return overlap.to(input.dtype), angle.detach()


@chapter.reference("npu::npu_ciou", source=code_of("aclops/CiouKernelNpu.cpp"))
def ciou(
    input: Tensor,
    gtboxes: Tensor,
    trans: bool = False,
    is_cross: bool = True,
    mode: int = 0,
    atan_sub_flag: bool = False,
) -> Tensor:
    """Complete IoU of boxes [4, n], pair by pair as [1, n] or of all with all as [m, n]."""
    refuse("npu_ciou", mode=mode != 0)
    return _ciou(input, gtboxes, trans, is_cross)[0].to(input.dtype)


@chapter.reference("npu::npu_ciou_backward", source=code_of("aclops/CiouKernelNpu.cpp"))
def ciou_backward(
    grad: Tensor,
    bboxes: Tensor,
    gtboxes: Tensor,
    atan_sub: Tensor | None,
    trans: bool = False,
    is_cross: bool = True,
    mode: int = 0,
) -> tuple[Tensor, Tensor]:
    """Gradients of both sets of boxes, paired."""
    refuse("npu_ciou_backward", mode=mode != 0, is_cross=is_cross)
    return _gradients(lambda a, b: _ciou(a, b, trans, False)[0], bboxes, gtboxes, grad)


def _sides(boxes: Tensor, centred: bool, axis: int | None) -> Sides:
    """The sides of boxes [4, n]: given themselves, or as centre, width and height."""
    first, second, third, fourth = boxes.float()
    if centred:
        x, y, w, h = first, second, third, fourth
        first, second, third, fourth = x - w / 2, y - h / 2, x + w / 2, y + h / 2
    if axis is None:
        return first, second, third, fourth
    sides = (first, second, third, fourth)
    left, top, right, bottom = (side.unsqueeze(axis) for side in sides)
    return left, top, right, bottom


def _both(a: Tensor, b: Tensor, centred: bool, cross: bool) -> tuple[Sides, Sides]:
    """Sides that broadcast to [1, n], or to [m, n] for all with all."""
    return _sides(a, centred, 0), _sides(b, centred, 1 if cross else 0)


def _shared(a: Sides, b: Sides) -> Tensor:
    width = torch.minimum(a[2], b[2]) - torch.maximum(a[0], b[0])
    height = torch.minimum(a[3], b[3]) - torch.maximum(a[1], b[1])
    return width.clamp(min=0) * height.clamp(min=0)


def _around(a: Sides, b: Sides) -> tuple[Tensor, Tensor]:
    """Width and height of the smallest box around both."""
    width = torch.maximum(a[2], b[2]) - torch.minimum(a[0], b[0])
    return width, torch.maximum(a[3], b[3]) - torch.minimum(a[1], b[1])


def _giou(first: Tensor, second: Tensor, centred: bool, cross: bool) -> Tensor:
    a, b = _both(first, second, centred, cross)
    shared = _shared(a, b)
    areas = (a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1])
    union = areas - shared + 1e-16
    width, height = _around(a, b)
    hull = width.abs() * height.abs()
    return shared / union - (hull - union) / hull


def _iou_and_distance(a: Sides, b: Sides) -> tuple[Tensor, Tensor]:
    """IoU, and the squared distance of the centres over that of the outer corners."""
    shared = _shared(a, b)
    area_a = (a[2] - a[0]) * (a[3] - a[1] + EPSILON)
    area_b = (b[2] - b[0]) * (b[3] - b[1] + EPSILON)
    width, height = _around(a, b)
    apart = (b[0] + b[2] - a[0] - a[2]) ** 2 + (b[1] + b[3] - a[1] - a[3]) ** 2
    distance = apart / 4 / (width**2 + height**2 + EPSILON)
    return shared / (area_a + area_b - shared + EPSILON), distance


def _diou(first: Tensor, second: Tensor, centred: bool, cross: bool) -> Tensor:
    overlap, distance = _iou_and_distance(*_both(first, second, centred, cross))
    return overlap - distance


def _ciou(first: Tensor, second: Tensor, centred: bool, cross: bool) -> tuple[Tensor, Tensor]:
    a, b = _both(first, second, centred, cross)
    overlap, distance = _iou_and_distance(a, b)
    angle = torch.atan((b[2] - b[0]) / (b[3] - b[1] + EPSILON)) - torch.atan(
        (a[2] - a[0]) / (a[3] - a[1] + EPSILON)
    )
    aspect = 4 / math.pi**2 * angle**2
    # Its weight is taken as given in the backward (arXiv:1911.08287, section 3.4).
    weight = (aspect / ((1 + EPSILON) - overlap + aspect)).detach()
    return overlap - distance - aspect * weight, angle


def _gradients(
    function: Callable[[Tensor, Tensor], Any], a: Tensor, b: Tensor, grad: Tensor
) -> tuple[Tensor, Tensor]:
    of_a, of_b = vjp(function, (a.float(), b.float()), (grad.float().reshape(1, -1),))
    assert of_a is not None
    assert of_b is not None
    return of_a.to(a.dtype), of_b.to(b.dtype)
