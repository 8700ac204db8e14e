"""Decoding of many sequences at once: does each have its own result?"""

import torch
from torch import Tensor

from cordee.emulator.ops.attention.inference_operators import incre_flash_attention

BLOCK, WIDTH = 16, 32


def test_a_sequence_is_decoded_to_the_same_bits_in_any_batch_whatever_lies_behind_it() -> None:
    lengths = [1, 16, 17, 33, 48, 40, 0, 48]
    torch.manual_seed(0)
    cache = torch.randn(24, 2, BLOCK, WIDTH)
    table = torch.arange(24, dtype=torch.int32).view(8, 3)
    for row, length in enumerate(lengths):
        for place in range(length, 48):
            cache[table[row, place // BLOCK], :, place % BLOCK] = torch.nan
    query = torch.randn(8, 4, 1, WIDTH)

    def decoded(rows: slice) -> Tensor:
        return incre_flash_attention(
            query[rows], cache, cache, num_heads=4, scale_value=0.3, input_layout="BNSD",
            num_key_value_heads=2, block_table=table[rows], block_size=BLOCK,
            actual_seq_lengths=lengths[rows],
        )  # fmt: skip

    together = decoded(slice(0, 8))

    assert not together.isnan().any()
    assert not together[6].any()
    for row in range(8):
        assert torch.equal(decoded(slice(row, row + 1))[0], together[row])
