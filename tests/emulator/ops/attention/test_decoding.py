"""Decoding of many sequences at once: does each have its own result?"""

import pytest
import torch
from torch import Tensor

from cordee.emulator.ops.attention.inference_operators import incre_flash_attention

BLOCK, BLOCKS = 16, 7


@pytest.mark.parametrize(
    ("heads", "key_heads", "width"), [(4, 2, 32), (4, 4, 24), (6, 1, 64), (3, 3, 8)]
)
def test_a_sequence_is_decoded_to_the_same_bits_in_any_batch_whatever_lies_behind_it(
    heads: int, key_heads: int, width: int
) -> None:
    lengths = [0, *range(1, BLOCK * BLOCKS + 1)]
    torch.manual_seed(0)
    cache = torch.randn(BLOCKS, key_heads, BLOCK, width)
    table = torch.randperm(BLOCKS).int().expand(len(lengths), -1)
    query = torch.randn(len(lengths), heads, 1, width)

    def decoded(rows: slice, behind: float = 0) -> Tensor:
        own = cache.clone()
        last = table[0, lengths[rows.start] // BLOCK :] if rows.stop - rows.start == 1 else []
        for place, block in enumerate(last):
            own[block, :, 0 if place else lengths[rows.start] % BLOCK :] = behind
        return incre_flash_attention(
            query[rows], own, own, num_heads=heads, scale_value=0.3, input_layout="BNSD",
            num_key_value_heads=key_heads, block_table=table[rows], block_size=BLOCK,
            actual_seq_lengths=lengths[rows],
        )  # fmt: skip

    together = decoded(slice(0, len(lengths)))

    assert not together[0].any()
    for row in range(len(lengths)):
        assert torch.equal(decoded(slice(row, row + 1), torch.nan)[0], together[row])
