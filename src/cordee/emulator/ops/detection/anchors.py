"""Which anchors of a grid answer for which boxes."""

import torch
from torch import Tensor

from cordee.emulator.ops.reference import Chapter
from cordee.emulator.ops.sources import code_of

chapter = Chapter(source=code_of("aclops/AnchorResponseFlagsKernelNpu.cpp"))


@chapter.reference("npu::npu_anchor_response_flags")
def anchor_response_flags(
    input: Tensor, featmap_size: list[int], stride: list[int], num_base_anchors: int
) -> Tensor:
    """1 for the anchors of every grid cell in which a box [n, 4] has its centre."""
    height, width = featmap_size
    left, top, right, bottom = input.float().unbind(-1)
    column = ((left + right) / 2 / stride[0]).floor().long()
    row = ((top + bottom) / 2 / stride[1]).floor().long()
    flags = torch.zeros(height * width, dtype=torch.uint8)
    flags[row * width + column] = 1
    return flags.repeat_interleave(num_base_anchors)


@chapter.reference(
    "npu::npu_grid_assign_positive", source=code_of("aclops/GridAssignPositiveKernelNpu.cpp")
)
def grid_assign_positive(
    input: Tensor,
    overlaps: Tensor,
    box_responsible_flags: Tensor,
    max_overlaps: Tensor,
    argmax_overlaps: Tensor,
    gt_max_overlaps: Tensor,
    gt_argmax_overlaps: Tensor,
    num_gts: int,
    pos_iou_thr: float,
    min_pos_iou: float,
    gt_max_assign_all: bool,
) -> Tensor:
    """Each anchor's box, counted from 1, where it has one; `input` [n] for the rest.

    An anchor gets the box it overlaps most, if by more than `pos_iou_thr`; then every box gets
    the anchors that overlap it most, or the first of them.
    """
    assigned = input.clone()
    answers = box_responsible_flags != 0
    good = (max_overlaps > pos_iou_thr) & answers
    assigned[good] = (argmax_overlaps[good] + 1).to(assigned.dtype)
    for number in range(overlaps.shape[0]):
        if not gt_max_overlaps[number] > min_pos_iou:
            continue
        if gt_max_assign_all:
            assigned[(overlaps[number] == gt_max_overlaps[number]) & answers] = number + 1
        elif answers[gt_argmax_overlaps[number].long()]:
            assigned[gt_argmax_overlaps[number].long()] = number + 1
    return assigned


@chapter.reference(
    "npu::npu_sub_sample", source=code_of("aclops/SubSampleKernelNpu.cpp"), seeded=True
)
def sub_sample(input: Tensor, per_images: int, positive_fraction: float) -> Tensor:
    """Labels of anchors with all but `per_images` drawn ones set to -1.

    Labels from 1 on are positive, of which at most that fraction is drawn; 0 is negative.
    """
    drawn = torch.full_like(input, -1)
    wanted = int(per_images * positive_fraction)
    for places in ((input > 0).nonzero().flatten(), (input == 0).nonzero().flatten()):
        chosen = places[torch.randperm(len(places))[:wanted]]
        drawn[chosen] = input[chosen]
        wanted = per_images - len(chosen)
    return drawn
