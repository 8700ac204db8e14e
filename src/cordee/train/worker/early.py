"""A sum over all members that begins while the backward pass goes on: one bucket of the gradient after another."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial

from torch import Tensor
from torch._C._distributed_c10d import Work

from cordee.core.errors import UsageError
from cordee.train.worker.gradients import Layout
from cordee.train.worker.groups import Summing

BUCKET_BYTES = 1 << 22
"""A bucket is begun with when it has so many bytes: with small ones much is sent before the pass has ended."""


@dataclass(frozen=True, slots=True)
class Bucket:
    """Numbers that lie side by side in a part of the gradient."""

    part: int
    first: int
    end: int
    parameters: tuple[int, ...] = ()
    """Whose gradients they are, by their number in the layout."""

    def of(self, buffers: Sequence[Tensor]) -> Tensor:
        return buffers[self.part][self.first : self.end]


Put = Callable[[Bucket, Sequence[Tensor]], None]
"""Puts what a worker has of a bucket to its place in buffers."""


def buckets_of(layout: Layout) -> list[Bucket]:
    """All of a gradient, in the order in which a backward pass usually makes it; last the loss and a number beside it."""
    found: list[Bucket] = []
    for place, part in enumerate(layout.parts):
        mine = [
            number
            for number, at in enumerate(layout.places)
            if at.part == place and at.end > at.first
        ]
        end, inside = part.numbers - (place == 0), tuple[int, ...]()
        for number in reversed(mine):
            first, inside = layout.places[number].first, (*inside, number)
            if (end - first) * part.dtype.itemsize >= BUCKET_BYTES or number == mine[0]:
                found.append(Bucket(place, first, end, inside))
                end, inside = first, ()
    found.sort(key=lambda bucket: -min(bucket.parameters))
    loss = layout.parts[0].numbers - 1
    return [*found, Bucket(0, loss, loss + 2)]


class Early:
    """The sum that is under way. All members begin with the same buckets in the same order, whenever they do."""

    def __init__(self, layout: Layout) -> None:
        self._layout = layout
        self._buckets = buckets_of(layout)
        self._bucket_of = {
            n: b for b, bucket in enumerate(self._buckets) for n in bucket.parameters
        }
        self._group: Summing | None = None
        self._into: Sequence[Tensor] = ()
        self._put: Put = lambda bucket, into: None
        self._missing: list[set[int]] = []
        self._once: bool | None = None
        """Whether each gradient is made at once; None: no backward pass has been watched yet. Parts come where a
        parameter is in several pieces that are computed again (torch.utils.checkpoint with use_reentrant=True)."""
        self._works: list[Work] = []
        self._next = 0
        self._error: RuntimeError | None = None
        self.starts: Callable[[int], None] = lambda bucket: None
        """Called with the number of each bucket that is begun with."""

    @property
    def begun(self) -> bool:
        return self._group is not None

    @property
    def sent_bytes(self) -> int:
        """To each other member, on average."""
        size = self._group.size if self._group is not None else 1
        return sum(2 * p.numbers * p.dtype.itemsize // size for p in self._layout.parts)

    def begin(self, group: Summing, into: Sequence[Tensor], put: Put) -> None:
        """From now on buckets are summed as soon as they are there. `into`: buffers, with room for a number more."""
        self._group, self._into, self._put = group, into, put
        self._missing = [set(bucket.parameters) for bucket in self._buckets]
        self._works, self._next, self._error = [], 0, None

    @contextmanager
    def watching(self) -> Iterator[None]:
        """A backward pass is made meanwhile. Raises `UsageError`."""
        if self._group is None or self._once is False or self._next == len(self._buckets):
            yield  # where all is begun with, the pass is that of a shard of another worker, which is compared
            return
        hooks = [
            parameter.register_post_accumulate_grad_hook(partial(self._made, number))
            for number, parameter in enumerate(self._layout.parameters)
        ]
        try:
            yield
        finally:
            for hook in hooks:
                hook.remove()
        if self._once is None:
            self._once = True

    def rest(self, *, wrong: bool = False) -> None:
        """All is there. `wrong`: and of no use, so that all sum up again."""
        last = len(self._buckets) - 1
        while self._group is not None and self._next <= last:
            self._start(wrong=wrong and self._next == last)

    def wait(self) -> bool:
        """Until all is summed; whether it is of use. Raises `RuntimeError`."""
        self.rest()
        assert self._group is not None
        if self._error is not None:
            raise self._error
        for work in self._works:
            self._group.ended(work)
        self._group, self._works = None, []
        return not self._into[0][self._layout.parts[0].numbers]

    def sum(self) -> list[Tensor]:
        """What has come of it."""
        return [into[: p.numbers] for into, p in zip(self._into, self._layout.parts, strict=True)]

    def halt(self, free: Callable[[], None]) -> None:
        """Nothing comes of it. `free`: lets it fail."""
        group, works = self._group, self._works
        self._group, self._works = None, []
        if group is not None and works:
            free()
            for work in works:
                with suppress(RuntimeError):
                    group.ended(work)

    def _made(self, number: int, _: Tensor) -> None:
        """The gradient of a parameter is there."""
        place = self._bucket_of.get(number, -1)
        if place >= 0 and number not in self._missing[place]:
            self._once = False
            if place < self._next:
                raise UsageError(
                    f"the gradient of parameter {number} is made in several parts, which it was not in steps before: "
                    "give torch.utils.checkpoint use_reentrant=False"
                )
        if place >= 0:
            self._missing[place].discard(number)
        while self._once and self._next < len(self._buckets) - 1 and not self._missing[self._next]:
            self._start()

    def _start(self, *, wrong: bool = False) -> None:
        bucket = self._buckets[self._next]
        self.starts(self._next)
        self._next += 1
        out = bucket.of(self._into)
        self._put(bucket, self._into)
        if not bucket.parameters:
            out[-1] = float(wrong)
        if self._group is None or self._error is not None:
            return
        try:
            self._works.append(self._group.sum_later(out))
        except RuntimeError as error:  # not in the middle of a backward pass
            self._error = error
