"""The thread that steps the decoder: requests come in, tokens go out."""

import logging
import queue
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic

import numpy as np
from numpy.typing import NDArray

from cordee.serve.api.errors import ApiError
from cordee.serve.engine.blocks import Blocks
from cordee.serve.engine.canary import Canary
from cordee.serve.engine.choice import Choice, Ended, Event, Told
from cordee.serve.engine.decoder import Decoder
from cordee.serve.engine.operators.table import BLOCK_TOKENS, A, C, Rows, W
from cordee.serve.engine.scheduler import Piece as Part
from cordee.serve.engine.scheduler import Scheduler, Sequence

log = logging.getLogger(__name__)
Deliver = Callable[[Told], None]


@dataclass(slots=True)
class Counts:
    """What the engine has done since it began."""

    steps: int = 0
    rows: int = 0
    tokens: int = 0
    prompt_tokens: int = 0
    reused_tokens: int = 0
    guessed: int = 0
    held: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Pace:
    """How much the worker puts into a step."""

    step_rows: int
    most_running: int
    most_waiting: int
    drafts: bool = True


class Worker(Generic[A, W, C]):
    """Runs one decoder over one cache."""

    def __init__(self, decoder: Decoder[A, W, C], blocks: int, pace: Pace, *, canary: bool) -> None:
        self.decoder = decoder
        self.cache = decoder.cache(blocks)
        self.counts = Counts()
        self.broken: str | None = None
        """Why the engine cannot go on, once it cannot."""
        self.on_broken: Callable[[str], None] = lambda reason: None
        reserved = int(canary)
        self._canary = Canary(decoder, self.cache, 0) if canary else None
        self.blocks = Blocks(blocks - reserved, reserved)
        self.scheduler = Scheduler(self.blocks, pace.step_rows, pace.most_running, pace.drafts)
        self.most_waiting = pace.most_waiting
        self._commands: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self._choices: dict[Sequence, Choice] = {}
        self._out: list[tuple[Choice, Event]] = []
        self._deliver: Deliver = lambda told: None
        self._thread = threading.Thread(target=self._run, name="decoder", daemon=True)

    def start(self, deliver: Deliver) -> None:
        """Begin; `deliver` is called from the thread with what each step has to tell."""
        self._deliver = deliver
        self._thread.start()

    def stop(self) -> None:
        """End after the step that runs."""
        self._commands.put(None)
        self._thread.join()

    @property
    def running(self) -> int:
        return len(self.scheduler.running)

    @property
    def waiting(self) -> int:
        return len(self.scheduler.waiting) + self._commands.qsize()

    def submit(self, choice: Choice) -> None:
        """Begin with a choice. From any thread. Raises `ApiError` where too many wait."""
        if self.broken is not None:
            raise ApiError(503, f"the engine has failed: {self.broken}")
        if self.waiting >= self.most_waiting:
            raise ApiError(503, "too many requests wait", code="overloaded", retry_after_s=1)
        if choice.wish.deadline_s is not None:
            choice.sequence.deadline_s = time.monotonic() + choice.wish.deadline_s
        self._commands.put(lambda: self._add(choice))

    def cancel(self, choice: Choice) -> None:
        """Nobody wants the choice any more. From any thread."""
        self._commands.put(lambda: self._remove(choice))

    def ask(self, command: Callable[[], None]) -> None:
        """Call between two steps, in the worker's thread."""
        self._commands.put(command)

    def states(self, ids: list[int]) -> NDArray[np.float32]:
        """[hidden] what the model makes of a text's last token. In the worker's thread, between steps."""
        taken = [self.blocks.take() for _ in range(-(-len(ids) // BLOCK_TOKENS))]
        table = [block for block in taken if block is not None]
        try:
            if len(table) < len(taken):
                raise ApiError(503, "the cache is full", retry_after_s=1)
            size = self.scheduler.step_rows
            for first in range(0, len(ids), size):
                part = ids[first : first + size]
                rows = _rows([(table, first, part, [len(part) - 1])])
                found: NDArray[np.float32] = self.decoder.states(rows, self.cache)[0].copy()
            return found
        finally:
            self.blocks.release(table)

    def fail(self, reason: str) -> None:
        """The step that runs will not end. From any thread."""
        self._break(reason)

    def corrupt(self) -> None:
        """Reckon wrongly from the next step on, as a chip does whose memory has failed."""
        self.decoder.operators.corrupt(self.decoder.final_norm.weight)

    def _run(self) -> None:
        try:
            while self._take_in():
                self._step()
        except Exception as error:  # whatever ends the thread, clients are told
            log.exception("the engine failed")
            self._break(f"{type(error).__name__}: {error}")

    def _take_in(self) -> bool:
        """Do what is asked for between steps; wait where there is nothing else to do."""
        while True:
            try:
                command = self._commands.get(block=not self._choices)
            except queue.Empty:
                return True
            if command is None:
                return False
            command()
            self._flush()

    def _add(self, choice: Choice) -> None:
        for piece in choice.replayed:
            self._out.append((choice, piece))
        if choice.over and choice.wish.prompt_logprobs is None:
            self._out.append((choice, Ended(choice.answer.finished or "length")))
            return
        self._choices[choice.sequence] = choice
        self.counts.prompt_tokens += len(choice.wish.prompt_ids)
        self.scheduler.add(choice.sequence)

    def _remove(self, choice: Choice) -> None:
        if self._choices.pop(choice.sequence, None) is not None:
            self.scheduler.remove(choice.sequence)

    def _step(self) -> None:
        for late in self.scheduler.expired(time.monotonic()):
            self._tell(late, ApiError(504, "the deadline passed while the request waited"))
            del self._choices[late]
        parts = self.scheduler.step()
        if parts:
            logits = self._logits(parts)
            at = 0
            for part in parts:
                count = len(_wanted(part))
                self._advance(part, logits[at : at + count])
                at += count
        self._flush()

    def _logits(self, parts: list[Part]) -> NDArray[np.float32]:
        pieces = [(p.sequence.blocks, p.first, p.ids, _wanted(p)) for p in parts]
        canary = self._canary
        if canary is not None:
            token, position = canary.row()
            pieces.insert(0, ([canary.block], position, [token], [0]))
        rows = _rows(pieces)
        self.counts.steps += 1
        self.counts.rows += len(rows.ids)
        logits = self.decoder.logits(rows, self.cache)
        if canary is None:
            return logits
        canary.check(logits[0])
        return logits[1:]

    def _advance(self, part: Part, logits: NDArray[np.float32]) -> None:
        """What a step means for one sequence."""
        sequence = part.sequence
        choice = self._choices[sequence]
        if part.first == sequence.reused:
            choice.reused = sequence.reused
            self.counts.reused_tokens += sequence.reused
        if sequence.all_rows:
            prompt = choice.see_prompt(part.first, logits)
            if prompt is not None:
                self._out.append((choice, prompt))
            logits = logits[len(part.ids) - part.guessed - 1 :]
        if not part.last:
            self.scheduler.done(part, 0)
            return
        held = 0 if choice.over else self._say(choice, part, logits)
        self.scheduler.done(part, held)
        if choice.over:
            if choice.answer.finished is None:
                self._out.append((choice, Ended("length")))
            self._remove(choice)

    def _say(self, choice: Choice, part: Part, logits: NDArray[np.float32]) -> int:
        """Tokens as long as guesses hold; gives how many held."""
        guesses = part.ids[len(part.ids) - part.guessed :]
        self.counts.guessed += len(guesses)
        for held in range(len(guesses) + 1):
            token, piece = choice.next(logits[held])
            self.counts.tokens += 1
            if piece is not None:
                self._out.append((choice, piece))
            if choice.over or held == len(guesses) or token != guesses[held]:
                break
        self.counts.held += held
        return held

    def _tell(self, sequence: Sequence, event: Event) -> None:
        self._out.append((self._choices[sequence], event))

    def _flush(self) -> None:
        if self._out:
            told, self._out = self._out, []
            self._deliver(told)

    def _break(self, reason: str) -> None:
        self.broken = reason
        self._out = []  # a token of a step that went wrong is not to be told
        error = ApiError(503, f"the engine has failed: {reason}", code="engine_failed")
        for sequence in list(self._choices):
            self._tell(sequence, error)
        self._choices.clear()
        self._flush()
        self.on_broken(reason)


def _wanted(part: Part) -> list[int]:
    """The rows of a part whose logits are needed."""
    count = len(part.ids)
    if part.sequence.all_rows:
        return list(range(count))
    return list(range(count - part.guessed - 1, count)) if part.last else []


def _rows(pieces: list[tuple[list[int], int, list[int], list[int]]]) -> Rows:
    """A step from pieces of sequences: blocks, first position, ids, and which of these are wanted."""
    width = max(len(blocks) for blocks, *_ in pieces)
    tables = np.zeros((len(pieces), width), np.int32)
    ids: list[int] = []
    positions: list[int] = []
    owners: list[int] = []
    wanted: list[int] = []
    for number, (blocks, first, part, asked) in enumerate(pieces):
        tables[number, : len(blocks)] = blocks
        wanted += [len(ids) + row for row in asked]
        ids += part
        positions += range(first, first + len(part))
        owners += [number] * len(part)
    return Rows(
        np.array(ids, np.int32),
        np.array(positions, np.int32),
        np.array(owners, np.int32),
        tables,
        np.array(wanted, np.int32),
    )
