"""Which rows the next step has: continuous batching, prompts in chunks, and who waits."""

from collections.abc import Iterator
from dataclasses import dataclass, field

from cordee.serve.engine.blocks import ROOT, Blocks, chain, digest
from cordee.serve.engine.drafts import Drafts
from cordee.serve.engine.operators.table import BLOCK_TOKENS


@dataclass(slots=True, eq=False)
class Sequence:
    """One choice of a request, as the cache sees it."""

    ids: list[int]
    """The prompt and what has been said."""
    priority: int = 0
    """Larger goes first."""
    deadline_s: float | None = None
    """When it need not begin any more, on the scheduler's clock."""
    reuse: bool = True
    """Whether a known prefix may stand for computed rows; not where every row's logits are asked for."""
    all_rows: bool = False
    """Whether the logits of the whole prompt are asked for."""
    arrived: int = 0
    cached: int = 0
    """How many of `ids` have keys and values in `blocks`."""
    reused: int = 0
    """How many of them came from others."""
    blocks: list[int] = field(default_factory=list)
    names: list[bytes] = field(default_factory=list)
    drafts: Drafts = field(default_factory=Drafts)
    draft_most: int = 0
    """How many guesses may follow the last token: fewer near the end of an answer."""

    @property
    def rank(self) -> tuple[int, int]:
        return (-self.priority, self.arrived)


@dataclass(frozen=True, slots=True)
class Piece:
    """The rows of one sequence in a step: tokens that it has, then guesses."""

    sequence: Sequence
    first: int
    ids: list[int]
    guessed: int

    @property
    def last(self) -> bool:
        """Whether the rows reach the end of what the sequence has, so that a token comes next."""
        return self.first + len(self.ids) - self.guessed == len(self.sequence.ids)


class Scheduler:
    """Sequences that wait and sequences that run, over one cache."""

    def __init__(self, blocks: Blocks, step_rows: int, most_running: int, drafts: bool) -> None:
        self.blocks = blocks
        self.step_rows, self.most_running, self.drafts = step_rows, most_running, drafts
        self.waiting: list[Sequence] = []
        self.running: list[Sequence] = []
        self.preempted = 0
        self._arrivals = 0

    def add(self, sequence: Sequence) -> None:
        self._arrivals += 1
        sequence.arrived = self._arrivals
        self._wait(sequence)

    def remove(self, sequence: Sequence) -> None:
        """It is finished, or nobody wants it any more."""
        if sequence in self.waiting:
            self.waiting.remove(sequence)
        elif sequence in self.running:
            self.running.remove(sequence)
            self._let_go(sequence)

    def expired(self, now_s: float) -> list[Sequence]:
        """Take out those whose time passed while they waited."""
        late = [s for s in self.waiting if s.deadline_s is not None and s.deadline_s < now_s]
        for sequence in late:
            self.waiting.remove(sequence)
        return late

    def step(self) -> list[Piece]:
        """The rows of the next step: first a token for everyone who talks, then prompts."""
        pieces: list[Piece] = []
        talking = sum(len(sequence.ids) - sequence.cached == 1 for sequence in self.running)
        # Whoever talks goes on in every step, and whoever reads is not kept from it by many who talk.
        left = max(self.step_rows, talking + self.step_rows // 2) if talking else 4 * self.step_rows
        for sequence in sorted(self.running, key=_talks_first):
            if left < 1:
                break
            if sequence not in self.running:  # gave way to one before it
                continue
            piece = self._piece(sequence, left)
            if piece is not None:
                pieces.append(piece)
                left -= len(piece.ids)
        while left > 0 and self.waiting and len(self.running) < self.most_running:
            piece = self._admit(left)
            if piece is None:
                break
            pieces.append(piece)
            left -= len(piece.ids)
        return [piece for piece in pieces if piece.sequence in self.running]

    def done(self, piece: Piece, held: int) -> None:
        """A step was computed; `held` of the guesses were what the sequence went on to say."""
        sequence = piece.sequence
        if sequence not in self.running:
            return
        if piece.guessed:
            sequence.drafts.judge(piece.guessed, held)
        sequence.cached = piece.first + len(piece.ids) - piece.guessed + held
        for number in range(len(sequence.names), sequence.cached // BLOCK_TOKENS):
            parent = sequence.names[-1] if sequence.names else ROOT
            tokens = sequence.ids[number * BLOCK_TOKENS : (number + 1) * BLOCK_TOKENS]
            sequence.names.append(digest(parent, tokens))
            self.blocks.keep(sequence.blocks[number], sequence.names[-1])

    def _admit(self, left: int) -> Piece | None:
        sequence = self.waiting[0]
        if sequence.reuse:
            names = chain(sequence.ids[:-1])  # the last token is computed in any case
            sequence.blocks = self.blocks.find(names)
            sequence.names = names[: len(sequence.blocks)]
            sequence.cached = sequence.reused = len(sequence.blocks) * BLOCK_TOKENS
        missing = -(-len(sequence.ids) // BLOCK_TOKENS) - len(sequence.blocks)
        if self.running and self.blocks.free < missing + 1:
            self._let_go(sequence)  # rather later than at the cost of those who talk
            return None
        self.waiting.pop(0)
        self.running.append(sequence)
        return self._piece(sequence, left)

    def _piece(self, sequence: Sequence, left: int) -> Piece | None:
        first = sequence.cached
        ids = sequence.ids[first : first + left]
        guesses: list[int] = []
        if self.drafts and first + len(ids) == len(sequence.ids):
            most = min(sequence.draft_most, left - len(ids), self._guesses_each())
            guesses = sequence.drafts.guess(sequence.ids, most)
        if not self._room(sequence, first + len(ids) + len(guesses)):
            return None
        return Piece(sequence, first, ids + guesses, len(guesses))

    def _guesses_each(self) -> int:
        """A row costs little while weights are read for few rows, and its full price when for many."""
        return max(0, 8 // max(1, len(self.running)) - 1)

    def _room(self, sequence: Sequence, tokens: int) -> bool:
        """Blocks for so many tokens; where there are none, the last in rank gives way."""
        while len(sequence.blocks) * BLOCK_TOKENS < tokens:
            block = self.blocks.take()
            if block is not None:
                sequence.blocks.append(block)
                continue
            last = max(self.running, key=lambda s: s.rank)
            self.running.remove(last)
            self._let_go(last)
            self._wait(last)
            self.preempted += 1
            if last is sequence:
                return False
        return True

    def _wait(self, sequence: Sequence) -> None:
        after = (i for i, other in enumerate(self.waiting) if other.rank > sequence.rank)
        self.waiting.insert(next(after, len(self.waiting)), sequence)

    def _let_go(self, sequence: Sequence) -> None:
        self.blocks.release(sequence.blocks)
        sequence.blocks, sequence.names, sequence.cached, sequence.reused = [], [], 0, 0

    def __iter__(self) -> Iterator[Sequence]:
        yield from self.running
        yield from self.waiting


def _talks_first(sequence: Sequence) -> tuple[bool, tuple[int, int]]:
    return len(sequence.ids) - sequence.cached > 1, sequence.rank
