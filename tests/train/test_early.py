"""Is a sum the right one that is begun before all of the gradient is computed?"""

import threading
from collections.abc import Callable, Sequence

import pytest
import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from cordee.train.worker.early import buckets_of
from cordee.train.worker.gloo import Gloo
from cordee.train.worker.gradients import Layout
from cordee.train.worker.groups import Group
from cordee.train.worker.reduction import Exact, Fast, Reduction
from cordee.train.worker.store import Store

SHARDS = 4
OWNERS = (0, 0, 1, 1)
MEMBERS = (0, 1)


class Layers(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.ModuleList(nn.Linear(1024, 1024) for _ in range(3))

    def forward(self, x: Tensor) -> Tensor:
        for layer in self.layers:
            x = torch.tanh(layer(x))
        return x


class Member:
    """A worker with a model, as far as sums need one."""

    def __init__(
        self, kind: type[Fast] | type[Exact], model: Callable[[], nn.Module] = Layers
    ) -> None:
        torch.manual_seed(0)
        self.model = model()
        self.layout = Layout(list(self.model.parameters()), 64)
        self.reduction: Reduction = kind(self.layout, SHARDS)
        self.begun: list[int] = []
        self.reduction.into(lambda: None, self.begun.append)

    def compute(self, group: Group, shard: int, *, last: bool, times: float = 1.0) -> int:
        """A shard, up to where it is counted; gives how many buckets others have begun to get by then."""
        buffers, fresh = self.reduction.begin(shard, apart=True)
        self.layout.begin(buffers, fresh=fresh, waits=True)
        if last:
            self.reduction.ahead(group, OWNERS, MEMBERS)
        x = torch.full((1, 1024), (shard + 1) / 1024)
        loss = times * self.model(x).square().sum()
        with self.reduction.watching():
            loss.backward()
        if not self.reduction.loose:
            self.layout.collect()
        self.layout.add_loss(buffers, loss)
        return len(self.begun)

    def sum(self, group: Group) -> list[Tensor]:
        return self.reduction.reduce(group, OWNERS, MEMBERS)


Do = Callable[[Member, Group], Sequence[Tensor]]
Parts = Callable[[Member, Group, tuple[int, int]], Sequence[Tensor]]


def both(
    kind: type[Fast] | type[Exact],
    first: Do,
    second: Do,
    model: Callable[[], nn.Module] = Layers,
) -> list[Sequence[Tensor]]:
    """What two members do at the same time gives."""
    store = Store("127.0.0.1")
    members = [Member(kind, model), Member(kind, model)]
    found: dict[int, Sequence[Tensor]] = {}

    def run(rank: int, do: Do) -> None:
        groups = Gloo()
        group = groups.form(1, rank, [f"127.0.0.1:{store.port}"] * 2)
        found[rank] = [part.clone() for part in do(members[rank], group)]

    threads = [threading.Thread(target=run, args=at) for at in enumerate((first, second))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)
    return [found[0], found[1]]


def plainly(member: Member, group: Group, shards: tuple[int, int]) -> Sequence[Tensor]:
    for shard in shards:
        member.compute(group, shard, last=shard == shards[1])
        member.reduction.end(shard)
    return member.sum(group)


def late(member: Member, group: Group, shards: tuple[int, int]) -> Sequence[Tensor]:
    """Nothing is begun before all is computed."""
    for shard in shards:
        member.compute(group, shard, last=False)
        member.reduction.end(shard)
    return member.sum(group)


@pytest.fixture(scope="module", params=[Fast, Exact])
def kind(request: pytest.FixtureRequest) -> type[Fast] | type[Exact]:
    found: type[Fast] | type[Exact] = request.param
    return found


@pytest.fixture(scope="module")
def expected(kind: type[Fast] | type[Exact]) -> Sequence[Tensor]:
    one, other = both(kind, lambda m, g: late(m, g, (0, 1)), lambda m, g: late(m, g, (2, 3)))
    assert torch.equal(one[0], other[0])
    assert float(one[0].abs().sum()) > 0
    return one


def test_it_does_not_matter_who_begins_early(
    kind: type[Fast] | type[Exact], expected: Sequence[Tensor]
) -> None:
    found = both(kind, lambda m, g: plainly(m, g, (0, 1)), lambda m, g: late(m, g, (2, 3)))
    assert all(torch.equal(one[0], expected[0]) for one in found)


def test_most_of_it_is_under_way_when_the_backward_pass_ends(
    kind: type[Fast] | type[Exact],
) -> None:
    begun: list[int] = []

    def seen(member: Member, group: Group) -> Sequence[Tensor]:
        member.compute(group, 0, last=False)
        member.reduction.end(0)
        begun.append(member.compute(group, 1, last=True))
        member.reduction.end(1)
        summed = member.sum(group)
        member.reduction.reset()
        member.layout.drop()
        member.begun.clear()
        return summed

    def twice(member: Member, group: Group) -> Sequence[Tensor]:
        seen(member, group)
        return seen(member, group)

    def others(member: Member, group: Group) -> Sequence[Tensor]:
        plainly(member, group, (2, 3))
        member.reduction.reset()
        return plainly(member, group, (2, 3))

    both(kind, twice, others)
    # How the program makes gradients is looked at first; the loss is not there yet when the pass ends.
    assert begun == [0, len(buckets_of(Member(kind).layout)) - 1]


def test_a_shard_of_another_worker_that_is_computed_afterwards_has_no_part_in_it(
    kind: type[Fast] | type[Exact], expected: Sequence[Tensor]
) -> None:
    def compares(member: Member, group: Group) -> Sequence[Tensor]:
        for shard in (0, 1):
            member.compute(group, shard, last=shard == 1)
            member.reduction.end(shard)
        member.layout.begin(member.layout.buffers(), fresh=True, waits=True)
        with member.reduction.watching():
            member.model(torch.ones(1, 1024)).square().sum().backward()
        member.layout.collect()
        return member.sum(group)

    found = both(kind, compares, lambda m, g: plainly(m, g, (2, 3)))
    assert all(torch.equal(one[0], expected[0]) for one in found)


class Again(nn.Module):
    """A layer that is used twice, each time in a piece that is computed again: its gradient is made in two parts."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(1024, 1024)

    def forward(self, x: Tensor) -> Tensor:
        for _ in range(2):
            x = checkpoint(self.layer, x.requires_grad_(), use_reentrant=True)
        return x


def test_a_gradient_that_is_made_in_two_parts_is_summed_when_all_of_it_is_there(
    kind: type[Fast] | type[Exact],
) -> None:
    def with_parts(
        how: Parts, member: Member, group: Group, shards: tuple[int, int]
    ) -> Sequence[Tensor]:
        for step in range(2):
            if step:
                member.reduction.reset()
                member.layout.drop()
            found = how(member, group, shards)
        return found

    model = Again
    one = both(
        kind,
        lambda m, g: with_parts(plainly, m, g, (0, 1)),
        lambda m, g: with_parts(plainly, m, g, (2, 3)),
        model,
    )
    other = both(
        kind,
        lambda m, g: with_parts(late, m, g, (0, 1)),
        lambda m, g: with_parts(late, m, g, (2, 3)),
        model,
    )
    assert all(torch.equal(a[0], b[0]) for a, b in zip(one, other, strict=True))


def test_all_sum_again_where_one_finds_its_part_wrong() -> None:
    def errs(member: Member, group: Group) -> Sequence[Tensor]:
        member.compute(group, 0, last=False)
        member.reduction.end(0)
        member.compute(group, 1, last=True, times=float("nan"))
        member.reduction.lost()
        return plainly(member, group, (0, 1))

    right, _ = both(Fast, lambda m, g: late(m, g, (0, 1)), lambda m, g: late(m, g, (2, 3)))
    found = both(Fast, errs, lambda m, g: plainly(m, g, (2, 3)))
    assert all(torch.equal(one[0], right[0]) for one in found)


def test_buckets_have_each_number_once() -> None:
    model = nn.Sequential(nn.Embedding(5000, 256), nn.Linear(256, 64), nn.Linear(64, 3).bfloat16())
    layout = Layout(list(model.parameters()), 64)
    buckets = buckets_of(layout)
    for place, part in enumerate(layout.parts):
        mine = sorted((b.first, b.end) for b in buckets if b.part == place)
        assert [end for _, end in mine[:-1]] == [first for first, _ in mine[1:]]
        assert (mine[0][0], mine[-1][1]) == (0, part.numbers + (place == 0))
    last = len(layout.parameters) - 1
    assert last in buckets[0].parameters  # a backward pass makes it first
