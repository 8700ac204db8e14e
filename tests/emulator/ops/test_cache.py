"""Writes into caches against loops over tokens."""

import pytest
import torch
from torch import Tensor

from cordee.core.errors import NotEmulated
from cordee.emulator.ops import cache as cache
from cordee.emulator.ops.reference import REFERENCES


def run(name: str, *arguments: object, **options: object) -> object:
    return REFERENCES[f"npu::{name}"].function(*arguments, **options)


def paged(*, blocked: bool) -> tuple[Tensor, Tensor]:
    """Caches of 4 blocks of 8 tokens with 2 heads of 16."""
    shape = (4, 2, 8, 16) if blocked else (4, 8, 2, 16)
    return torch.randn(shape), torch.randn(shape)


def at(pages: Tensor, slot: int, *, blocked: bool) -> Tensor:
    page = pages[slot // 8]
    return (page[:, slot % 8] if blocked else page[slot % 8]).reshape(2, 16)


@pytest.mark.parametrize("mode", ["PA_NZ", "Norm", None])
def test_keys_and_values_go_to_their_slots(mode: str | None) -> None:
    blocked = mode == "PA_NZ"
    key, value = torch.randn(3, 2, 16), torch.randn(3, 2, 16)
    keys, values = paged(blocked=blocked)
    before = keys.clone()
    slots = torch.tensor([9, -1, 31], dtype=torch.int32)
    assert run("npu_scatter_pa_kv_cache", key, value, keys, values, slots, cache_mode=mode) is None
    for token, slot in ((0, 9), (2, 31)):
        torch.testing.assert_close(at(keys, slot, blocked=blocked), key[token])
        torch.testing.assert_close(at(values, slot, blocked=blocked), value[token])
    for slot in set(range(32)) - {9, 31}:
        assert torch.equal(at(keys, slot, blocked=blocked), at(before, slot, blocked=blocked))


def test_the_functional_write_leaves_its_arguments_alone() -> None:
    key, value = torch.randn(1, 2, 16), torch.randn(1, 2, 16)
    keys, values = paged(blocked=False)
    before = keys.clone()
    written = run(
        "npu_scatter_pa_kv_cache_functional",
        key,
        value,
        keys,
        values,
        torch.tensor([5]),
        cache_mode="Norm",
    )
    torch.testing.assert_close(written[0][0, 5], key[0])
    assert torch.equal(keys, before)


def test_compressed_caches_are_refused_by_name() -> None:
    keys, values = paged(blocked=False)
    with pytest.raises(NotEmulated, match="compress_lens"):
        run(
            "npu_scatter_pa_kv_cache",
            keys[0],
            keys[0],
            keys,
            values,
            torch.tensor([5]),
            compress_lens=torch.tensor([1]),
        )


def test_one_cache_can_be_written_alone() -> None:
    key, (keys, _) = torch.randn(2, 2, 16), paged(blocked=False)
    written = run("npu_scatter_pa_cache.value", key, torch.tensor([0, 30]), key_cache=keys)
    assert written is keys
    torch.testing.assert_close(keys[3, 6], key[1])


@pytest.mark.parametrize("blocked", [False, True])
@pytest.mark.parametrize("added_up", [False, True])
def test_sequences_are_read_back_block_by_block(blocked: bool, added_up: bool) -> None:
    keys, values = paged(blocked=blocked)
    tables = torch.tensor([[2, 0], [3, -1]], dtype=torch.int32)
    lengths = torch.tensor([0, 10, 13]) if added_up else torch.tensor([10, 3])
    key, value = torch.full((13, 2, 16), 7.0), torch.full((13, 2, 16), 7.0)
    read = run(
        "npu_gather_pa_kv_cache_functional",
        keys,
        values,
        tables,
        lengths.int(),
        key,
        value,
        is_seq_lens_cumsum=added_up,
    )
    slots = [2 * 8 + i for i in range(8)] + [0, 1] + [24, 25, 26]
    for found, pages in zip(read, (keys, values), strict=True):
        expected = torch.stack([at(pages, slot, blocked=blocked) for slot in slots])
        torch.testing.assert_close(found, expected)
    assert bool((key == 7.0).all())
    run("npu_gather_pa_kv_cache", keys, values, tables, lengths.int(), key, value, None, added_up)
    torch.testing.assert_close(key, read[0])


def test_tokens_of_blocks_that_are_not_there_read_as_zero() -> None:
    keys, values = paged(blocked=False)
    key, value = torch.ones(2, 2, 16), torch.ones(2, 2, 16)
    tables = torch.tensor([[0, -1]])
    offset = torch.tensor([8])
    run("npu_gather_pa_kv_cache", keys, values, tables, torch.tensor([2]), key, value, offset)
    assert not key.any()


@pytest.mark.parametrize("name", ["scatter_update", "scatter_update_"])
def test_scatter_update_writes_each_sequence_from_its_place_on(name: str) -> None:
    data, updates = torch.zeros(3, 2, 8, 4), torch.randn(3, 2, 2, 4)
    expected = data.clone()
    for row, start in enumerate([0, 5, 3]):
        expected[row, :, start : start + 2] = updates[row]
    found = run(name, data, torch.tensor([0, 5, 3]), updates, -2)
    torch.testing.assert_close(found, expected)
    assert (found is data) == name.endswith("_")
    assert bool(data.any()) == name.endswith("_")


def test_scatter_update_can_name_the_sequence() -> None:
    data, updates = torch.zeros(4, 8, 2), torch.randn(1, 1, 2)
    found = run("scatter_update", data, torch.tensor([[2, 6]]), updates, 1)
    torch.testing.assert_close(found[2, 6], updates[0, 0])
    assert found.count_nonzero() == 2


def test_quant_scatter_quantises_what_it_writes() -> None:
    data = torch.zeros(2, 8, 32, dtype=torch.int8)
    updates, scale = torch.randn(2, 1, 32).bfloat16(), torch.rand(1, 1, 32).bfloat16() + 0.1
    zero = torch.randint(-3, 3, (32,), dtype=torch.int32)
    found = run("npu_quant_scatter", data, torch.tensor([1, 7]), updates, scale, zero)
    expected = (updates.float() / scale.float() + zero).round().clamp(-128, 127).to(torch.int8)
    assert torch.equal(found[0, 1], expected[0, 0])
    assert torch.equal(found[1, 7], expected[1, 0])
    assert not data.any()
    assert run("npu_quant_scatter_", data, torch.tensor([1, 7]), updates, scale, zero) is data
    assert torch.equal(data, found)


@pytest.mark.parametrize("name", ["npu_scatter_nd_update", "npu_scatter_nd_update_"])
def test_scatter_nd_update_writes_rows_by_coordinates(name: str) -> None:
    data, updates = torch.zeros(3, 4, 2), torch.randn(2, 2)
    found = run(name, data, torch.tensor([[0, 1], [2, 3]]), updates)
    torch.testing.assert_close(torch.stack((found[0, 1], found[2, 3])), updates)
    assert found.count_nonzero() == 4
    assert (found is data) == name.endswith("_")


def test_scatter_list_skips_what_the_mask_leaves_out() -> None:
    data = [torch.zeros(2, 4, 3) for _ in range(3)]
    updates, mask = torch.randn(3, 2, 1, 3), torch.tensor([1, 0, 1], dtype=torch.uint8)
    found = run("npu_scatter_list", data, torch.tensor([0, 1, 2]), updates, mask)
    for number, place in ((0, 0), (2, 2)):
        torch.testing.assert_close(found[number][:, place], updates[number][:, 0])
    assert not found[1].any()
    assert not any(tensor.any() for tensor in data)
    run("npu_scatter_list_", data, torch.tensor([0, 1, 2]), updates, mask)
    torch.testing.assert_close(data, found)


def test_scatter_writes_one_place_of_an_axis() -> None:
    data, index = torch.randn(3, 4), torch.tensor([1, 0, 3], dtype=torch.int32)
    updates = torch.randn(3)
    found = run("npu_scatter", data, index, updates, 1)
    for row in range(3):
        expected = data[row].clone()
        expected[index[row]] = updates[row]
        torch.testing.assert_close(found[row], expected)


def test_a_step_moves_sequences_on_and_clears_the_padding() -> None:
    tokens, positions = torch.tensor([9, 9, 9]), torch.tensor([4, 4, 4])
    lengths, slots = torch.tensor([5, 8, 1]), torch.tensor([0, 0, 0])
    tables = torch.tensor([[7, 2, 3], [1, 6, 5], [0, 0, 0]])
    run(
        "npu_advance_step_flashattn",
        tokens,
        torch.tensor([[11], [12]]),
        positions,
        lengths,
        slots,
        tables,
        3,
        2,
        4,
    )
    assert tokens.tolist() == [11, 12, 0]
    assert positions.tolist() == [5, 8, 0]
    assert lengths.tolist() == [6, 9, 1]
    # The chip finds the block in the first row of the table, and adds the row's offset to it.
    assert slots.tolist() == [2 * 4 + 1, (3 + 3) * 4 + 0, -1]
