"""Turned boxes: the area two of them share, and their suppression.

A box is [x, y, width, height, angle in degrees], or its corners before it was turned and the angle.
"""

import math

import torch
from torch import Tensor

from cordee.emulator.ops.contract import refuse
from cordee.emulator.ops.reference import Chapter
from cordee.emulator.ops.sources import code_of

chapter = Chapter(source=code_of("aclops/RotatedOverlapsKernelNpu.cpp"))

Point = tuple[float, float]


@chapter.reference("npu::npu_rotated_overlaps")
def rotated_overlaps(input: Tensor, query_boxes: Tensor, trans: bool = False) -> Tensor:
    """The area that every box [batch, n, 5] shares with every query [batch, k, 5]: [batch, n, k]."""
    batches = zip(input.float(), query_boxes.float(), strict=True)
    areas = [_areas(_boxes(a, trans), _boxes(b, trans)) for a, b in batches]
    return torch.tensor(areas).reshape(*input.shape[:2], query_boxes.shape[1]).to(input.dtype)


@chapter.reference("npu::npu_rotated_iou", source=code_of("aclops/RotatedIouKernelNpu.cpp"))
def rotated_iou(
    input: Tensor,
    query_boxes: Tensor,
    trans: bool = False,
    mode: int = 0,
    is_cross: bool = True,
    v_threshold: float = 0.0,
    e_threshold: float = 0.0,
) -> Tensor:
    """The share that every box has in common with every query [batch, n, k]."""
    refuse("npu_rotated_iou", mode=mode != 0, is_cross=not is_cross)
    shared: Tensor = rotated_overlaps(input.float(), query_boxes.float(), trans)
    area_a = _sizes(input.float(), trans).unsqueeze(2)
    area_b = _sizes(query_boxes.float(), trans).unsqueeze(1)
    return (shared / (area_a + area_b - shared)).to(input.dtype)


@chapter.reference("npu::npu_nms_rotated", source=code_of("aclops/NmsRotatedKernelNpu.cpp"))
def nms_rotated(
    input: Tensor,
    scores: Tensor,
    iou_threshold: float,
    scores_threshold: float = 0.0,
    max_output_size: int = -1,
    mode: int = 0,
) -> tuple[Tensor, Tensor]:
    """Numbers of the boxes [n, 5] kept, best first, and how many [1].

    A box goes where it shares more than `iou_threshold` with a better one that stays.
    """
    boxes = _boxes(input.float(), mode == 1)
    if mode == 1:  # here, and only here, the angle runs the other way round
        boxes = [(x, y, w, h, -angle) for x, y, w, h, angle in boxes]
    order = torch.sort(scores.float(), descending=True, stable=True).indices.tolist()
    kept: list[int] = []
    for number in order:
        if float(scores[number]) < scores_threshold:
            continue
        if all(_iou(boxes[number], boxes[other]) <= iou_threshold for other in kept):
            kept.append(number)
    if max_output_size >= 0:
        kept = kept[:max_output_size]
    return torch.tensor(kept, dtype=torch.int32), torch.tensor([len(kept)], dtype=torch.int32)


Box = tuple[float, float, float, float, float]


def _boxes(boxes: Tensor, by_corners: bool) -> list[Box]:
    rows = boxes.double().tolist()
    if not by_corners:
        return [(x, y, w, h, angle) for x, y, w, h, angle in rows]
    return [((a + c) / 2, (b + d) / 2, c - a, d - b, angle) for a, b, c, d, angle in rows]


def _sizes(boxes: Tensor, by_corners: bool) -> Tensor:
    a, b, c, d, _ = boxes.unbind(-1)
    return (c - a) * (d - b) if by_corners else c * d


def _areas(first: list[Box], second: list[Box]) -> list[list[float]]:
    return [[_shared_area(_corners(a), _corners(b)) for b in second] for a in first]


def _iou(a: Box, b: Box) -> float:
    """The share two boxes have in common; one without an area, or turned inside out, has none."""
    area_a, area_b = a[2] * a[3], b[2] * b[3]
    if area_a <= 0 or area_b <= 0:
        return 0.0
    shared = _shared_area(_corners(a), _corners(b))
    return shared / (area_a + area_b - shared)


def _corners(box: Box) -> list[Point]:
    x, y, w, h, angle = box
    cos, sin = math.cos(math.radians(angle)), math.sin(math.radians(angle))
    steps = ((-0.5, -0.5), (0.5, -0.5), (0.5, 0.5), (-0.5, 0.5))
    return [(x + i * w * cos - j * h * sin, y + i * w * sin + j * h * cos) for i, j in steps]


def _shared_area(a: list[Point], b: list[Point]) -> float:
    """Clip polygon `a` by every edge of `b` (Sutherland and Hodgman, CACM 17(1), 1974)."""
    if _signed_area(b) < 0:
        b = b[::-1]
    left = a
    for start, end in zip(b, b[1:] + b[:1], strict=True):
        left = _left_of(left, start, end)
        if not left:
            return 0.0
    return abs(_signed_area(left))


def _left_of(polygon: list[Point], start: Point, end: Point) -> list[Point]:
    def side(p: Point) -> float:
        dx, dy = end[0] - start[0], end[1] - start[1]
        return dx * (p[1] - start[1]) - dy * (p[0] - start[0])

    kept: list[Point] = []
    for p, q in zip(polygon, polygon[1:] + polygon[:1], strict=True):
        at_p, at_q = side(p), side(q)
        if at_p >= 0:
            kept.append(p)
        if (at_p >= 0) != (at_q >= 0):
            t = at_p / (at_p - at_q)
            kept.append((p[0] + t * (q[0] - p[0]), p[1] + t * (q[1] - p[1])))
    return kept


def _signed_area(polygon: list[Point]) -> float:
    turned = polygon[1:] + polygon[:1]
    return sum(p[0] * q[1] - q[0] * p[1] for p, q in zip(polygon, turned, strict=True)) / 2
