"""Dropout: what masks keep and how often, and the gradients that follow them."""

import pytest
import torch
from torch import Tensor

from cordee.emulator.ops import dropout as dropout
from cordee.emulator.ops.reference import REFERENCES


def run(name: str, *arguments: object, **options: object) -> tuple[Tensor, ...]:
    found = REFERENCES[f"npu::{name}"].function(*arguments, **options)
    return found if isinstance(found, tuple) else (found,)


def bits(mask: Tensor, count: int) -> list[bool]:
    return [bool(byte >> n & 1) for byte in mask.tolist() for n in range(8)][:count]


@pytest.fixture(autouse=True)
def seeded() -> None:
    torch.manual_seed(0)


def test_a_mask_has_room_for_a_multiple_of_128_bits() -> None:
    (mask,) = run("_npu_dropout_gen_mask.Tensor", torch.zeros(1), [17, 19], 0.0, 1, 0)
    assert mask.tolist() == [255] * 41 + [0] * 7


def test_a_mask_depends_on_its_seed_and_offset_alone() -> None:
    def drawn(seed: int, offset: int) -> list[int]:
        masks = run("_npu_dropout_gen_mask.Tensor", torch.zeros(1), [40, 25], 0.4, seed, offset)
        return masks[0].tolist()

    assert drawn(2, 100) == drawn(2, 100)
    assert len({tuple(drawn(seed, offset)) for seed in range(3) for offset in (0, 12)}) == 6


def test_a_mask_drops_with_its_probability() -> None:
    for name, first in (
        ("_npu_dropout_gen_mask.Tensor", (torch.zeros(1),)),
        ("npu_dropout_gen_mask", ()),
    ):
        seed = (5, 0) if first else ()
        (mask,) = run(name, *first, [10000], 0.3, *seed)
        assert abs(sum(bits(mask, 10000)) / 10000 - 0.7) < 0.03


def test_dropout_keeps_what_its_mask_keeps() -> None:
    x = torch.randn(30, 7).half()
    y, mask = run("_npu_dropout", x, 0.25)
    kept = torch.tensor(bits(mask, 210)).reshape(30, 7)
    torch.testing.assert_close(y, torch.where(kept, x.float() / 0.75, 0.0).half())
    torch.testing.assert_close(run("npu_dropout_do_mask", x, mask, 0.25)[0], y)
    torch.testing.assert_close(run("npu_dropout_backward", x, mask, 0.25)[0], y)
    gradient = REFERENCES["npu::_npu_dropout"].gradient
    assert gradient is not None
    torch.testing.assert_close(gradient((x, 0.25), (y, mask), (x, None))[0], y)


def test_byte_masks_have_a_byte_for_each_element() -> None:
    x = torch.rand(50, 40) + 0.5
    y, mask = run("_dropout_with_byte_mask", x, 0.5)
    assert mask.shape == x.shape
    torch.testing.assert_close(y, torch.where(mask.bool(), 2 * x, 0.0))
    assert abs(mask.float().mean() - 0.5) < 0.05
    torch.testing.assert_close(run("_dropout_with_byte_mask_backward", x, mask, 0.5)[0], y)
    assert torch.equal(run("dropout_with_byte_mask", x, 0.5, False)[0], x)
    assert run("dropout_with_byte_mask", x, 0.5, True)[0].count_nonzero() < 1400


def test_softmax_of_a_sum_with_dropout_and_its_backward() -> None:
    x, x1 = torch.randn(4, 9, requires_grad=True), torch.randn(4, 9)
    mask, softmax, y = run("npu_dropout_with_add_softmax", x, x1, 0.125, 0.3, -1)
    reference = torch.softmax(x1 + 0.125 * x, -1)
    torch.testing.assert_close(softmax, reference)
    kept = mask[:36].reshape(4, 9).float() / 0.7
    torch.testing.assert_close(y, reference * kept)
    grad = torch.randn(4, 9)
    (expected,) = torch.autograd.grad(reference * kept, x, grad)
    with torch.no_grad():
        found, passed = run(
            "npu_dropout_with_add_softmax_backward", grad, mask, softmax, 0.125, 0.3, -1
        )
    torch.testing.assert_close(found, expected)
    assert torch.equal(passed, grad)
