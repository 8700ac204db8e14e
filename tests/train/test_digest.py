"""Does one flipped bit anywhere give another digest?"""

import pytest
import torch

from cordee.train.worker.digest import BLOCK, digest


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float64])
def test_any_one_bit_makes_another_digest(dtype: torch.dtype) -> None:
    tensors = [torch.randn(5, 3).to(dtype), torch.randn(4 * BLOCK + 3).to(dtype)]
    before = digest(tensors)
    assert digest([tensor.clone() for tensor in tensors]) == before
    size = tensors[0].element_size()
    for tensor in tensors:
        raw = tensor.view(-1).view(torch.uint8)
        for place in {0, size - 1, len(raw) // 2, len(raw) - 1}:
            for bit in range(8):
                raw[place] ^= 1 << bit
                assert digest(tensors) != before, (tuple(tensor.shape), place, bit)
                raw[place] ^= 1 << bit
    assert digest(tensors) == before


def test_blocks_that_change_places_make_another_digest() -> None:
    tensor = torch.randn(4 * BLOCK)
    swapped = torch.cat([tensor[2 * BLOCK :], tensor[: 2 * BLOCK]])
    assert digest([tensor]) != digest([swapped])


def test_a_tensor_in_the_middle_of_another_has_the_digest_of_its_copy() -> None:
    flat = torch.randn(3 * BLOCK + 1)
    assert digest([flat[1:]]) == digest([flat[1:].clone()])
