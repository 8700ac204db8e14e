"""Is the sum over shards the same tree, whoever holds what?"""

import random

import pytest

from cordee.train.policy.shards import Node, assign, cover, even, parent


def leaves(node: Node) -> list[int]:
    if node.leaf:
        return [node.first]
    left, right = node.halves
    return leaves(left) + leaves(right)


def added(node: Node, parts: dict[Node, str]) -> str:
    """The sum as it is written down, with its brackets."""
    if node in parts:
        return parts[node]
    if node.leaf:
        return str(node.first)
    left, right = node.halves
    return f"({added(left, parts)}+{added(right, parts)})"


@pytest.mark.parametrize("shards", [1, 2, 3, 5, 8, 13, 64])
def test_the_tree_has_every_shard_once_and_in_order(shards: int) -> None:
    assert leaves(Node(0, shards)) == list(range(shards))


def test_every_node_knows_what_it_is_a_half_of() -> None:
    def below(node: Node) -> None:
        if not node.leaf:
            for half in node.halves:
                assert parent(half, 13) == node
                below(half)

    below(Node(0, 13))
    assert parent(Node(0, 13), 13) is None


def test_however_shards_are_spread_the_sum_has_the_same_brackets() -> None:
    dice = random.Random(1)
    for _ in range(200):
        shards = dice.randint(1, 20)
        owners = [dice.randrange(4) for _ in range(shards)]
        parts = {
            node: added(node, {})
            for owner in range(4)
            for node in cover([s for s, o in enumerate(owners) if o == owner], shards)
        }
        assert sorted(s for node in parts for s in leaves(node)) == list(range(shards))
        assert added(Node(0, shards), parts) == added(Node(0, shards), {})


def test_neighbours_are_owned_together_and_evenly() -> None:
    assert even(8, [3, 5]) == [3, 3, 3, 3, 5, 5, 5, 5]
    assert even(8, [1, 2, 3]) == [1, 1, 1, 2, 2, 3, 3, 3]
    assert even(2, [1, 2, 3]) == [1, 3]


def test_a_slow_worker_owns_less() -> None:
    assert even(9, [1, 2], {1: 1.0, 2: 2.0}) == [1, 1, 1, 2, 2, 2, 2, 2, 2]


def test_what_is_computed_stays_where_it_is() -> None:
    owners = assign(8, [0, 2], {0: [0, 1, 2], 2: [5]})
    assert [owners[s] for s in (0, 1, 2, 5)] == [0, 0, 0, 2]
    assert owners.count(0) == owners.count(2) == 4


def test_every_shard_has_an_owner_among_the_members() -> None:
    dice = random.Random(2)
    for _ in range(200):
        members = dice.sample(range(10), dice.randint(1, 6))
        shards = dice.randint(1, 24)
        spread = [dice.choice([*members, None]) for _ in range(shards)]
        held = {m: [s for s, o in enumerate(spread) if o == m] for m in members}
        owners = assign(shards, members, held)
        assert set(owners) <= set(members)
        assert all(owners[s] == o for s, o in enumerate(spread) if o is not None)
