"""Is the sum the same where only some members add up, and do the others send each other nothing?"""

import threading
from collections.abc import Callable, Sequence
from copy import deepcopy

import pytest
import torch
from torch import Tensor, nn

from cordee.train.worker.gloo import Gloo
from cordee.train.worker.gradients import Layout
from cordee.train.worker.groups import Group, Joined
from cordee.train.worker.reduction import Exact, Fast, Reduction
from cordee.train.worker.store import Store

SHARDS, MEMBERS = 8, (0, 1, 2, 3)
OWNERS = (0, 0, 1, 1, 1, 2, 3, 3)
Made = Callable[[Layout, int], Reduction]


class Seen:
    """A group, and how many numbers this member gives to each."""

    def __init__(self, group: Group) -> None:
        self._group, self.rank, self.size = group, group.rank, group.size
        self.given = [0] * group.size

    def all_to_all(
        self, data: Tensor, out: Tensor, received: Sequence[int], sent: Sequence[int]
    ) -> Sequence[Tensor]:
        self.given = [a + b for a, b in zip(self.given, sent, strict=True)]
        return self._group.all_to_all(data, out, received, sent)

    def all_gather(self, data: Tensor, out: Tensor, ranks: Sequence[int] = ()) -> None:
        if not ranks or self.rank in ranks:
            self.given = [count + data.numel() for count in self.given]
        self._group.all_gather(data, out, ranks)

    def all_reduce(self, data: Tensor) -> None:
        self._group.all_reduce(data)

    def broadcast(self, data: Tensor, source: int) -> None:
        self._group.broadcast(data, source)


def summed(
    kind: Made, adders: Sequence[int], over: Callable[[Group], Group] = lambda group: group
) -> dict[int, Tensor]:
    """What each member has in the end. `over`: what their groups are made into."""
    store, found = Store("127.0.0.1"), dict[int, Tensor]()
    torch.manual_seed(0)
    first = nn.Linear(31, 7)

    def run(rank: int) -> None:
        model = deepcopy(first)
        layout = Layout(list(model.parameters()), 64)
        reduction = kind(layout, SHARDS)
        reduction.added_by(adders)
        group = over(Gloo().form(1, rank, [f"127.0.0.1:{store.port}"] * len(MEMBERS)))
        mine = [shard for shard, owner in enumerate(OWNERS) if owner == rank]
        for shard in mine:
            buffers, fresh = reduction.begin(shard, apart=True)
            layout.begin(buffers, fresh=fresh, waits=True)
            if shard == mine[-1]:
                reduction.ahead(group, OWNERS, MEMBERS)
            loss = model(torch.full((1, 31), 1 / (shard + 3))).square().sum()
            with reduction.watching():
                loss.backward()
            if not reduction.loose:
                layout.collect()
            layout.add_loss(buffers, loss)
            reduction.end(shard)
        found[rank] = reduction.reduce(group, OWNERS, MEMBERS)[0][: layout.parts[0].numbers].clone()

    threads = [threading.Thread(target=run, args=(rank,)) for rank in MEMBERS]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)
    return found


@pytest.mark.parametrize("adders", [(2, 3), (3,), (0, 1, 2)])
def test_exact_sums_have_the_same_bits_whoever_adds_up(adders: tuple[int, ...]) -> None:
    expected, found = summed(Exact, ()), summed(Exact, adders)
    assert float(expected[0].abs().sum()) > 0
    assert all(torch.equal(found[rank], expected[0]) for rank in MEMBERS)


def test_fast_sums_are_alike_on_all_members() -> None:
    expected, found = summed(Fast, ()), summed(Fast, (2, 3))
    torch.testing.assert_close(found[0], expected[0])
    assert all(torch.equal(found[rank], found[0]) for rank in MEMBERS)


def test_groups_that_have_an_all_to_all_of_their_own_give_the_same() -> None:
    def plain(group: Group) -> Group:
        assert isinstance(group, Joined)
        return Joined(group.group)

    expected, found = summed(Exact, ()), summed(Exact, (2, 3), plain)
    assert all(torch.equal(found[rank], expected[0]) for rank in MEMBERS)


def test_those_that_do_not_add_up_send_each_other_nothing() -> None:
    seen: dict[int, Seen] = {}
    summed(Exact, (2, 3), lambda group: seen.setdefault(group.rank, Seen(group)))
    assert (seen[0].given[1], seen[1].given[0]) == (0, 0)
    assert all(seen[0].given[rank] > 0 for rank in (2, 3))
    assert all(seen[2].given[rank] > 0 for rank in (0, 1, 3))
