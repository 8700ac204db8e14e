"""Are four bits as near to a number as they can be, and is nothing lost for good?"""

import torch

from cordee.train.policy.rounds import Said
from cordee.train.worker.outer import part_bytes, part_of, said_in
from cordee.train.worker.quantised import GROUP, packed, size_bytes, unpacked


def test_numbers_are_within_half_a_step_of_their_group() -> None:
    values = torch.randn(1000, generator=torch.Generator().manual_seed(0)) * torch.logspace(
        -9, 3, 1000
    )
    again = unpacked(packed(values), 1000)
    for first in range(0, 1000, GROUP):
        group, found = values[first : first + GROUP], again[first : first + GROUP]
        step = group.abs().max() / 7
        assert (group - found).abs().max() <= 0.54 * step  # a scale has eight bits


def test_they_take_little_more_than_four_bits() -> None:
    values = torch.ones(128_000)
    assert packed(values).numel() == size_bytes(128_000) == 128_000 // 2 + 2 * 1000


def test_zeros_and_nothing_stay_what_they_are() -> None:
    assert unpacked(packed(torch.zeros(5)), 5).tolist() == [0.0] * 5
    assert unpacked(packed(torch.zeros(0)), 0).numel() == 0


def test_what_is_lost_comes_with_the_next_rounds() -> None:
    way = torch.randn(300, generator=torch.Generator().manual_seed(1))
    said = Said(0, 4, 0.0, 0.0, 0.0, 0.0)
    lost, arrived = torch.zeros(300), torch.zeros(300)
    for _ in range(50):
        part, lost = part_of(said, way + lost)
        arrived += unpacked(part[part_bytes(0) :], 300)
    assert (arrived / 50 - way).abs().max() < 0.02


def test_a_part_says_whose_it_is() -> None:
    said = Said(3, 12, 0.5, 1.5, 0.25, 2.0)
    part, _ = part_of(said, torch.ones(10))
    assert said_in(part) == said
    assert part.numel() == part_bytes(10)
