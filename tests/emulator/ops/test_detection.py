"""Boxes and regions against brute force on pixels, loops over formulas, and autograd."""

import math

import pytest
import torch
from torch import Tensor

from cordee.core.errors import NotEmulated
from cordee.emulator.ops import detection as detection
from cordee.emulator.ops.reference import REFERENCES


def run(name: str, *arguments: object, **options: object) -> tuple[Tensor, ...]:
    found = REFERENCES[f"npu::{name}"].function(*arguments, **options)
    return found if isinstance(found, tuple) else (found,)


def corners(count: int) -> Tensor:
    """Boxes [count, 4] with whole corners."""
    low = torch.randint(0, 20, (count, 2))
    return torch.cat((low, low + torch.randint(1, 20, (count, 2))), 1).float()


def cells(box: Tensor) -> set[tuple[int, int]]:
    left, top, right, bottom = box.int().tolist()
    return {(x, y) for x in range(left, right) for y in range(top, bottom)}


@pytest.mark.parametrize("mode", [0, 1])
def test_overlaps_are_shares_of_cells_but_for_a_margin(mode: int) -> None:
    boxes, truths = corners(5), corners(4)
    (found,) = run("npu_iou", boxes, truths, mode)
    for i, truth in enumerate(truths):
        for j, box in enumerate(boxes):
            whole = cells(truth) if mode == 1 else cells(truth) | cells(box)
            share = len(cells(truth) & cells(box)) / len(whole)
            assert math.isclose(found[i, j], share, abs_tol=0.03)
    assert torch.equal(run("npu_ptiou", boxes, truths, mode)[0], found)


def test_the_margin_of_overlaps_is_a_hundredth_on_every_side() -> None:
    box = torch.tensor([[1.0, 2.0, 3.0, 4.0]]).half()
    (found,) = run("npu_iou", box, box, 1)
    assert math.isclose(found, 4 / 2.01**2, rel_tol=1e-3)
    assert found.dtype == torch.float16


def overlap(a: list[float], b: list[float]) -> tuple[float, float]:
    """IoU and the two boxes' union, from left, top, right, bottom."""
    width = max(0.0, min(a[2], b[2]) - max(a[0], b[0]))
    height = max(0.0, min(a[3], b[3]) - max(a[1], b[1]))
    union = (a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - width * height
    return width * height / union, union


def hull(a: list[float], b: list[float]) -> tuple[float, float]:
    return max(a[2], b[2]) - min(a[0], b[0]), max(a[3], b[3]) - min(a[1], b[1])


def generalised(a: list[float], b: list[float]) -> float:
    share, union = overlap(a, b)
    area = math.prod(hull(a, b))
    return share - (area - union) / area


def by_distance(a: list[float], b: list[float]) -> float:
    dx, dy = (b[0] + b[2] - a[0] - a[2]) / 2, (b[1] + b[3] - a[1] - a[3]) / 2
    return overlap(a, b)[0] - math.hypot(dx, dy) ** 2 / math.hypot(*hull(a, b)) ** 2


def complete(a: list[float], b: list[float]) -> float:
    def angle(box: list[float]) -> float:
        return math.atan((box[2] - box[0]) / (box[3] - box[1]))

    aspect = 4 / math.pi**2 * (angle(b) - angle(a)) ** 2
    return by_distance(a, b) - aspect**2 / (1 - overlap(a, b)[0] + aspect)


FORMS = {"giou": generalised, "diou": by_distance, "ciou": complete}


@pytest.mark.parametrize("name", list(FORMS))
@pytest.mark.parametrize("centred", [False, True])
def test_forms_of_iou_are_their_formulas(name: str, centred: bool) -> None:
    a, b = corners(6), corners(6)
    given = [boxes.clone() for boxes in (a, b)]
    if centred:
        given = [torch.cat(((z[:, :2] + z[:, 2:]) / 2, z[:, 2:] - z[:, :2]), 1) for z in (a, b)]
    (pairs,) = run(f"npu_{name}", given[0].T, given[1].T, centred, False)
    (every,) = run(f"npu_{name}", given[0].T, given[1].T[:, :4], centred, True)
    expected = torch.tensor([[FORMS[name](x, y) for x in a.tolist()] for y in b.tolist()])
    torch.testing.assert_close(pairs.flatten(), expected.diag(), atol=1e-5, rtol=1e-4)
    wanted = expected[:4].T if name == "giou" else expected[:4]
    torch.testing.assert_close(every, wanted, atol=1e-5, rtol=1e-4)
    assert pairs.shape == ((6, 1) if name == "giou" else (1, 6))


@pytest.mark.parametrize("name", list(FORMS))
def test_backwards_of_the_forms_of_iou_are_their_derivatives(name: str) -> None:
    a, b = corners(6).T.clone().requires_grad_(), corners(6).T.clone().requires_grad_()
    (pairs,) = run(f"npu_{name}", a, b, False, False)
    grad = torch.randn_like(pairs)
    expected = torch.autograd.grad(pairs, (a, b), grad)
    extra = (None,) if name == "ciou" else ()
    found = run(f"npu_{name}_backward", grad, a.detach(), b.detach(), *extra, False, False, 0)
    torch.testing.assert_close(found, expected)


def test_a_step_along_the_gradient_of_an_iou_raises_it() -> None:
    a, b = torch.tensor([[0.0], [0.0], [4.0], [3.0]]), torch.tensor([[2.0], [2.0], [9.0], [7.0]])
    for name in FORMS:
        extra = (None,) if name == "ciou" else ()
        of_a, _ = run(f"npu_{name}_backward", torch.ones(1, 1), a, b, *extra, False, False, 0)
        before = run(f"npu_{name}", a, b, False, False)[0]
        assert run(f"npu_{name}", a + 0.01 * of_a, b, False, False)[0] > before


def test_angles_of_diagonals_come_with_the_complete_iou() -> None:
    a, b = torch.tensor([[0.0], [0.0], [1.0], [1.0]]), torch.tensor([[0.0], [0.0], [1.0], [2.0]])
    angle = run("_npu_ciou", a, b, False, False)[1]
    assert math.isclose(angle, math.atan(0.5) - math.atan(1.0), rel_tol=1e-5)


def share_of_grid(a: list[float], b: list[float]) -> float:
    """The area two turned boxes share, counted in points of a fine grid."""
    x, y = torch.meshgrid(torch.arange(-8, 8, 0.02), torch.arange(-8, 8, 0.02), indexing="ij")

    def inside(box: list[float]) -> Tensor:
        angle = math.radians(box[4])
        dx, dy = x - box[0], y - box[1]
        along = dx * math.cos(angle) + dy * math.sin(angle)
        across = dy * math.cos(angle) - dx * math.sin(angle)
        return (along.abs() <= box[2] / 2) & (across.abs() <= box[3] / 2)

    return float((inside(a) & inside(b)).sum()) * 0.02**2


def test_turned_boxes_share_what_a_grid_of_points_counts() -> None:
    torch.manual_seed(0)
    boxes = torch.cat(
        (torch.randn(3, 2), torch.rand(3, 2) * 4 + 1, torch.rand(3, 1) * 360 - 180), 1
    )
    others = torch.cat(
        (torch.randn(2, 2), torch.rand(2, 2) * 4 + 1, torch.rand(2, 1) * 360 - 180), 1
    )
    (areas,) = run("npu_rotated_overlaps", boxes.unsqueeze(0), others.unsqueeze(0))
    (shares,) = run("npu_rotated_iou", boxes.unsqueeze(0), others.unsqueeze(0))
    for i, a in enumerate(boxes.tolist()):
        for j, b in enumerate(others.tolist()):
            expected = share_of_grid(a, b)
            assert math.isclose(areas[0, i, j], expected, abs_tol=0.1)
            union = a[2] * a[3] + b[2] * b[3] - expected
            assert math.isclose(shares[0, i, j], expected / union, abs_tol=0.02)


def test_suppression_of_turned_boxes_keeps_the_best_of_each_heap() -> None:
    boxes = torch.tensor(
        [[0, 0, 4, 2, 30.0], [0.1, 0, 4, 2, 35.0], [20, 20, 3, 3, 0], [0, 0, 4, 2, -60.0]]
    )
    kept, count = run("npu_nms_rotated", boxes, torch.tensor([0.5, 0.9, 0.1, 0.7]), 0.5)
    assert kept.tolist() == [1, 3, 2]
    assert count.tolist() == [3]


def test_a_turned_box_of_negative_area_overlaps_none() -> None:
    boxes = torch.tensor([[0, 0, 4, 2, 30.0], [0, 0, -4, 2, 30.0], [0, 0, -4, -2, 30.0]])
    kept, _ = run("npu_nms_rotated", boxes, torch.tensor([0.9, 0.8, 0.7]), 0.2)
    assert kept.tolist() == [0, 1]


def test_suppression_keeps_what_overlaps_no_better_box() -> None:
    boxes, scores = corners(30), torch.rand(30)
    selected, count = run("npu_nms_v4", boxes, scores, 20, torch.tensor(0.3), torch.tensor(0.2))
    kept: list[int] = []
    for number in torch.argsort(scores, descending=True).tolist():
        clear = all(
            len(cells(boxes[number]) & cells(boxes[k]))
            / len(cells(boxes[number]) | cells(boxes[k]))
            <= 0.3
            for k in kept
        )
        if scores[number] > 0.2 and clear:
            kept.append(number)
    assert selected.shape == (20,)
    assert selected[: int(count)].tolist() == kept[:20]
    order = torch.argsort(scores, descending=True)
    rows = torch.cat((boxes, scores.unsqueeze(1)), 1)[order]
    same, index, stays = run("npu_nms_with_mask", rows, 0.3)
    assert torch.equal(same, rows)
    assert index.tolist() == list(range(30))
    assert order[stays.bool()].tolist()[: len(kept)] == kept


def test_suppression_by_classes_fills_up_with_zeros() -> None:
    boxes = torch.tensor([[[[0, 0, 2, 2.0]], [[0, 0, 2, 2.1]], [[5, 5, 6, 6.0]]]])
    scores = torch.tensor([[[0.9, 0.1], [0.8, 0.7], [0.6, 0.0]]])
    found, values, classes, counts = run("npu_batch_nms", boxes, scores, 0.3, 0.5, 4, 4)
    torch.testing.assert_close(values, torch.tensor([[0.9, 0.7, 0.6, 0.0]]))
    assert classes.tolist() == [[0.0, 1.0, 0.0, 0.0]]
    torch.testing.assert_close(found[0, 1], boxes[0, 1, 0])
    assert counts.tolist() == [3]


def test_decoding_undoes_encoding() -> None:
    anchors, truths = corners(6), corners(6)
    scales = (0.0, 0.1, 0.0, -0.1, 0.1, 0.1, 0.2, 0.2)
    (deltas,) = run("npu_bounding_box_encode", anchors, truths, *scales)
    (boxes,) = run("npu_bounding_box_decode", anchors, deltas, *scales, (60, 60), 16 / 1000)
    # A side counts pixels, and the way there goes through float16.
    torch.testing.assert_close(boxes, truths, atol=0.05, rtol=0)
    (cut,) = run("npu_bounding_box_decode", anchors, deltas, *scales, (10, 12), 16 / 1000)
    assert float(cut[:, 0::2].max()) <= 11
    assert float(cut[:, 1::2].max()) <= 9


def test_decoding_undoes_encoding_of_turned_boxes() -> None:
    anchors = torch.cat((corners(6), torch.rand(6, 1) * 160 - 80), 1).T.unsqueeze(0)
    truths = torch.cat((corners(6), torch.rand(6, 1) * 160 - 80), 1).T.unsqueeze(0)
    weight = torch.tensor([1.0, 2.0, 3.0, 4.0, 0.5])
    (deltas,) = run("npu_rotated_box_encode", anchors, truths, weight)
    (boxes,) = run("npu_rotated_box_decode", anchors, deltas, weight)
    torch.testing.assert_close(boxes, truths, atol=1e-3, rtol=1e-3)


def test_yolos_code_is_the_place_in_the_cell_and_the_log_size() -> None:
    anchor = torch.tensor([[0.0, 0.0, 8.0, 8.0]])
    box = torch.tensor([[1.0, 2.0, 9.0, 18.0]])
    (code,) = run("npu_yolo_boxes_encode", anchor, box, torch.tensor([16]))
    expected = [1 / 16 + 0.5, 6 / 16 + 0.5, 0.0, math.log(2)]
    torch.testing.assert_close(code, torch.tensor([expected]), atol=1e-6, rtol=1e-5)


def test_anchors_of_the_cells_with_a_centre_answer() -> None:
    boxes = torch.tensor([[0.0, 0.0, 4.0, 4.0], [8.0, 4.0, 12.0, 6.0]])
    (flags,) = run("npu_anchor_response_flags", boxes, (3, 4), (4, 4), 2)
    assert flags.nonzero().flatten().tolist() == [0, 1, 2 * (4 + 2), 2 * (4 + 2) + 1]


def test_boxes_go_to_the_anchors_that_overlap_them_most() -> None:
    assigned = torch.tensor([-1.0, 0.0, -1.0, 0.0])
    overlaps = torch.tensor([[0.1, 0.8, 0.4, 0.3], [0.2, 0.1, 0.4, 0.9]])
    answers = torch.tensor([1, 1, 1, 0], dtype=torch.uint8)
    given = (*overlaps.max(0), *overlaps.max(1))
    best = [assigned, overlaps, answers, given[0], given[1].int(), given[2], given[3].int()]
    (found,) = run("npu_grid_assign_positive", *best, 2, 0.5, 0.0, True)
    assert found.tolist() == [-1.0, 1.0, -1.0, 0.0]
    best[2] = torch.ones(4, dtype=torch.uint8)
    (found,) = run("npu_grid_assign_positive", *best, 2, 0.5, 0.0, False)
    assert found.tolist() == [-1.0, 1.0, -1.0, 2.0]


def test_roi_align_of_a_plane_is_its_value_at_the_middle_of_each_bin() -> None:
    y, x = torch.meshgrid(torch.arange(12.0), torch.arange(12.0), indexing="ij")
    features = (3 * y + 2 * x).reshape(1, 1, 12, 12)
    for mode in (0, 1):
        rois = torch.tensor([[0, 4.0, 6.0, 16.0, 20.0]])
        (pooled,) = run("npu_roi_align", features, rois, 0.5, 2, 3, 2, mode)
        height, width = (20 + mode) / 2 - 3, (16 + mode) / 2 - 2
        for i in range(2):
            for j in range(3):
                middle = 3 + (i + 0.5) * height / 2, 2 + (j + 0.5) * width / 3
                assert math.isclose(pooled[0, 0, i, j], 3 * middle[0] + 2 * middle[1], rel_tol=1e-5)
    with pytest.raises(NotEmulated, match="roi_end_mode=3"):
        run("npu_roi_align", features, rois, 0.5, 2, 3, 2, 3)


def test_roi_align_backward_is_the_derivative() -> None:
    features = torch.randn(2, 3, 8, 8, requires_grad=True)
    rois = torch.tensor([[0, 1.0, 2.0, 12.0, 9.0], [1, -3.0, 0.0, 6.0, 20.0]])
    (pooled,) = run("npu_roi_align", features, rois, 0.5, 2, 3, 2, 1)
    grad = torch.randn_like(pooled)
    (expected,) = torch.autograd.grad(pooled, features, grad)
    (found,) = run("npu_roi_alignbk", grad, rois, [2, 3, 8, 8], 3, 2, 0.5, 2)
    torch.testing.assert_close(found, expected)


def test_each_bin_of_a_sensitive_region_has_a_map_of_its_own() -> None:
    maps = torch.arange(8.0).reshape(1, 8, 1, 1).expand(1, 8, 10, 10).clone()
    rois = torch.tensor([[[0.0], [2.0], [2.0], [9.0], [9.0]]])
    (pooled,) = run("npu_ps_roi_pooling", maps, rois, 1.0, 2, 2)
    assert pooled.tolist() == [[[[0.0, 1.0], [2.0, 3.0]], [[4.0, 5.0], [6.0, 7.0]]]]
    outside = torch.tensor([[[5.0], [20.0], [20.0], [30.0], [30.0]]])
    assert not run("npu_ps_roi_pooling", maps, outside, 1.0, 2, 2)[0].any()


def test_regions_outside_of_every_image_are_zero_and_so_is_their_gradient() -> None:
    maps = torch.randn(2, 4, 3, 3, requires_grad=True)
    outside = torch.tensor([[[6.0], [7.0], [8.0], [9.0], [10.0]]] * 2)
    (pooled,) = run("npu_ps_roi_pooling", maps, outside, 0.5, 2, 1)
    pooled.sum().backward()
    assert not pooled.any()
    assert maps.grad is not None
    assert not maps.grad.any()


def test_sensitive_pooling_backward_is_the_derivative() -> None:
    maps = torch.randn(2, 8, 10, 10, requires_grad=True)
    rois = torch.tensor([[[0.0], [2.0], [2.0], [9.0], [9.0]], [[1.0], [0.0], [1.0], [5.0], [8.0]]])
    (pooled,) = run("npu_ps_roi_pooling", maps, rois, 1.0, 2, 2)
    grad = torch.randn_like(pooled)
    (expected,) = torch.autograd.grad(pooled, maps, grad)
    (found,) = run("npu_ps_roi_pooling_backward", grad, rois, 1.0, 2, 2, [10, 10])
    torch.testing.assert_close(found, expected)


def test_a_sample_of_anchors_has_its_share_of_positives() -> None:
    labels = torch.tensor([1, 0, 2, 0, -1, 0, 3, 0, 0, 1])
    (drawn,) = run("npu_sub_sample", labels, 5, 0.4)
    assert ((drawn > 0).sum(), (drawn == 0).sum()) == (2, 3)
    assert bool(((drawn == labels) | (drawn == -1)).all())
