"""In which order each chip of a pipeline does its passes, schedule by schedule.

Chips are counted from 0, and chunks by the place of their layers in the model. Where a schedule folds the
pipeline, chip n has chunks n and 2 x chips - 1 - n.
"""

from collections import deque
from collections.abc import Callable, Iterator

from cordee.plan.pipeline.simulation import FORWARD, INPUTS, WEIGHTS, One, Turn


def orders(schedule: str, chips: int, batches: int, chunks: int = 1) -> list[list[Turn]]:
    """Those of all chips. DualPipe is mirrored: half of its chips have the passes that the others have."""
    if schedule == "dualpipe":
        return orders("dualpipev", chips // 2, batches // 2)
    if chunks > 1:
        splits = schedule != "1f1b"
        return [list(_in_turns(chip, (chips, batches, chunks), splits)) for chip in range(chips)]
    return [list(ORDERS[schedule](chip, chips, batches)) for chip in range(chips)]


def _forward(chunk: int, batch: int) -> Turn:
    return (One(FORWARD, chunk, batch),)


def _inputs(chunk: int, batch: int) -> Turn:
    return (One(INPUTS, chunk, batch),)


def _weights(chunk: int, batch: int) -> Turn:
    return (One(WEIGHTS, chunk, batch),)


def _backward(chunk: int, batch: int) -> Turn:
    return *_inputs(chunk, batch), *_weights(chunk, batch)


def _in_turns(chip: int, sizes: tuple[int, int, int], splits: bool) -> Iterator[Turn]:
    """Interleaved 1F1B: arxiv.org/abs/2104.04473, section 2.2. Chip n has chunks n, chips + n and so on.

    `sizes` are chips, micro-batches and chunks. Split, gradients of weights are put off as in ZB-H1.
    """
    chips, batches, chunks = sizes

    def place(turn: int, *, back: bool) -> tuple[int, int]:
        rounds, rest = divmod(turn, chips * chunks)
        piece, batch = divmod(rest, chips)
        piece = chunks - 1 - piece if back else piece
        return piece * chips + chip, rounds * chips + batch

    turns = batches * chunks
    ahead = min(2 * (chips - chip - 1) + (chunks - 1) * chips, turns)
    for turn in range(turns + ahead):
        if turn < turns:
            yield _forward(*place(turn, back=False))
        if turn >= ahead and not splits:
            yield _backward(*place(turn - ahead, back=True))
        elif turn >= ahead:
            yield _inputs(*place(turn - ahead, back=True))
            if turn - ahead >= chip:
                yield _weights(*place(turn - ahead - chip, back=True))
    if splits:
        yield from (_weights(*place(n, back=True)) for n in range(turns - chip, turns))


def _one_by_one(chip: int, chips: int, batches: int) -> Iterator[Turn]:
    """1F1B."""
    ahead = min(chips - chip - 1, batches)
    yield from (_forward(chip, n) for n in range(ahead))
    for n in range(batches):
        if n + ahead < batches:
            yield _forward(chip, n + ahead)
        yield _backward(chip, n)


def _put_off(chip: int, ahead: int, behind: int, batches: int) -> Iterator[Turn]:
    """1F1B with more forward passes ahead, and gradients of weights behind those of inputs."""
    ahead = min(ahead, batches)
    yield from (_forward(chip, n) for n in range(ahead))
    for n in range(batches):
        if n + ahead < batches:
            yield _forward(chip, n + ahead)
        yield _inputs(chip, n)
        if n >= behind:
            yield _weights(chip, n - behind)
    yield from (_weights(chip, n) for n in range(max(batches - behind, 0), batches))


def _zb_h1(chip: int, chips: int, batches: int) -> Iterator[Turn]:
    return _put_off(chip, chips - chip - 1, chip, batches)


def _zb_h2(chip: int, chips: int, batches: int) -> Iterator[Turn]:
    return _put_off(chip, 2 * (chips - chip - 1), 2 * chip, batches)


class _Chunk:
    """The passes of a chunk, micro-batch by micro-batch; more than there are of a kind are none."""

    def __init__(self, place: int, batches: int) -> None:
        self.place, self.batches = place, batches
        self.forwards = self.backwards = self.gradients = 0

    def forward(self) -> Iterator[Turn]:
        if self.forwards < self.batches:
            yield _forward(self.place, self.forwards)
            self.forwards += 1

    def inputs(self) -> Iterator[Turn]:
        if self.backwards < self.batches:
            yield _inputs(self.place, self.backwards)
            self.backwards += 1

    def weights(self) -> Iterator[Turn]:
        if self.gradients < self.backwards:
            yield _weights(self.place, self.gradients)
            self.gradients += 1

    def all_three(self) -> Iterator[Turn]:
        yield from self.forward()
        yield from self.inputs()
        yield from self.weights()

    def whole(self) -> Turn:
        """Both halves of a backward pass."""
        self.backwards += 1
        return _backward(self.place, self.backwards - 1)


def _zb_v(chip: int, chips: int, batches: int) -> Iterator[Turn]:
    """ZB-V as its section 6 tells it; at the end gradients of inputs go first."""
    near, far = _Chunk(chip, batches), _Chunk(2 * chips - 1 - chip, batches)
    for _ in range(2 * (chips - chip) - 1):
        yield from near.forward()
    for _ in range(chip):
        yield from far.forward()
        yield from near.forward()
    for _ in range(chips - chip):
        yield from far.all_three()
    while far.forwards < batches:
        yield from near.all_three()
        yield from far.all_three()
    for _ in range(chip):
        yield from near.inputs()
        yield from far.inputs()
    while near.backwards < batches:
        yield from near.inputs()
        yield from near.weights()
    for chunk in (far, near):
        while chunk.gradients < batches:
            yield from chunk.weights()


class _Fold:
    """A chip of DualPipeV: the eight steps of github.com/deepseek-ai/DualPipe, 3da1bbe, in three parts."""

    def __init__(self, chip: int, chips: int, batches: int) -> None:
        self.chip, self.behind = chip, chips - chip - 1
        self.near, self.far = _Chunk(chip, batches), _Chunk(2 * chips - 1 - chip, batches)
        self.pairs = batches - 2 * chips + chip + 1
        self._waiting: deque[Turn] = deque()

    def beginning(self) -> Iterator[Turn]:
        """Forward passes ahead, then backward ones of the far chunk between those of its forward ones."""
        for _ in range(2 * self.behind):
            yield from self.near.forward()
        for _ in range(self.chip + 1):
            yield from self.near.forward()
            yield from self.far.forward()
        for _ in range(self.behind):
            yield from self._apart(self.far)
            yield from self._one_late()
            yield from self.far.forward()

    def middle(self) -> Iterator[Turn]:
        """Pairs; the very first on the last chip is not done as one."""
        for n in range(self.pairs):
            if n == 0 and self.behind == 0:
                yield from self.near.forward()
                yield self.far.whole()
            else:
                yield self._paired(self.near, self.far)
            yield self._paired(self.far, self.near)
        for _ in range(self.behind):
            yield self.far.whole()
            yield self._paired(self.far, self.near)

    def end(self, *, split: bool) -> Iterator[Turn]:
        """Backward passes; of the alternate ones, the second half is split if any is."""
        for n in range(2 * (self.chip + 1)):
            yield from self._back(self.near if n % 2 else self.far, split=split and n > self.chip)
        for _ in range(self.behind):
            yield from self._one_late()
            yield from self._back(self.near, split=split)
        yield from self._waiting

    def _paired(self, forward: _Chunk, backward: _Chunk) -> Turn:
        (turn,) = forward.forward()
        return turn + backward.whole()

    def _back(self, chunk: _Chunk, *, split: bool) -> Iterator[Turn]:
        if split:
            yield from self._apart(chunk)
        else:
            yield chunk.whole()

    def _apart(self, chunk: _Chunk) -> Iterator[Turn]:
        yield from chunk.inputs()
        self._waiting.append(_weights(chunk.place, chunk.backwards - 1))

    def _one_late(self) -> Iterator[Turn]:
        if self._waiting:
            yield self._waiting.popleft()


def _dual(chip: int, chips: int, batches: int, *, split: bool) -> Iterator[Turn]:
    fold = _Fold(chip, chips, batches)
    yield from fold.beginning()
    yield from fold.middle()
    yield from fold.end(split=split)


def _dualpipev(chip: int, chips: int, batches: int) -> Iterator[Turn]:
    return _dual(chip, chips, batches, split=True)


def _dualpipev_whole(chip: int, chips: int, batches: int) -> Iterator[Turn]:
    return _dual(chip, chips, batches, split=False)


ORDERS: dict[str, Callable[[int, int, int], Iterator[Turn]]] = {
    "1f1b": _one_by_one,
    "zb-h1": _zb_h1,
    "zb-h2": _zb_h2,
    "zb-v": _zb_v,
    "dualpipev": _dualpipev,
    "dualpipev-whole": _dualpipev_whole,
}
