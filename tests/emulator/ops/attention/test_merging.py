"""Attention to parts of the keys put together, against attention to all of them."""

import pytest
import torch
from torch import Tensor

from cordee.emulator.ops.attention.fusion_operators import fusion_attention
from cordee.emulator.ops.attention.merging import attention_update, ring_attention_update

ENDS = [2, 5]


def normal(*shape: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(sum(shape)))


def test_two_steps_of_a_ring_give_attention_to_all_keys() -> None:
    query, key, value = normal(5, 2, 12), normal(8, 2, 12), normal(8, 2, 12)
    steps = [
        fusion_attention(query, key[s], value[s], 3, "SBH")[:3] for s in (slice(3), slice(3, 8))
    ]

    out, maximum, total = ring_attention_update(*steps[0], *steps[1])

    whole = fusion_attention(query, key, value, 3, "SBH")
    torch.testing.assert_close(out, whole[0])
    torch.testing.assert_close(maximum, whole[1])
    torch.testing.assert_close(total, whole[2])


@pytest.mark.parametrize("softmax_layout", ["", "TND"])
def test_sequences_in_a_row_are_updated_too(softmax_layout: str) -> None:
    query, key, value = normal(5, 3, 4), normal(5, 3, 4), normal(5, 3, 4)
    options = {"actual_seq_qlen": ENDS, "actual_seq_kvlen": ENDS, "softmax_layout": softmax_layout}
    first = fusion_attention(query, key, value, 3, "TND", **options)[:3]
    second = fusion_attention(query, -key, value + 1, 3, "TND", **options)[:3]

    out, *_ = ring_attention_update(*first, *second, torch.tensor(ENDS), "TND", softmax_layout)

    for span in (slice(0, 2), slice(2, 5)):
        keys = torch.cat([key[span], -key[span]]).transpose(0, 1)
        values = torch.cat([value[span], value[span] + 1]).transpose(0, 1)
        weights = (query[span].transpose(0, 1) @ keys.mT).softmax(-1)
        torch.testing.assert_close(out[span], (weights @ values).transpose(0, 1))


@pytest.mark.parametrize("update_type", [0, 1])
def test_parts_are_weighted_by_their_sums(update_type: int) -> None:
    scores, values = normal(6, 9), normal(9, 4)
    parts = [(scores[:, s].logsumexp(-1), scores[:, s].softmax(-1) @ values[s]) for s in
             (slice(0, 2), slice(2, 5), slice(5, 9))]  # fmt: skip

    out, lse = attention_update([p[0] for p in parts], [p[1] for p in parts], update_type)

    torch.testing.assert_close(out, scores.softmax(-1) @ values)
    if update_type == 1:
        torch.testing.assert_close(lse, scores.logsumexp(-1))
    else:
        assert lse is None


def test_a_softmax_of_the_wrong_width_is_refused() -> None:
    out, statistic = normal(5, 2, 12), normal(2, 3, 5, 4)

    with pytest.raises(RuntimeError, match="last dimension to be 8"):
        ring_attention_update(out, statistic, statistic, out, statistic, statistic)
