"""Requests for text: from wishes to the chunks of a stream, or to one whole response."""

from collections.abc import Sequence
from dataclasses import dataclass

import msgspec

from cordee.core.http.exchange import Exchange
from cordee.serve.api.errors import ApiError
from cordee.serve.api.whole import Whole
from cordee.serve.engine.choice import Choice, Ended, Event, Prompt
from cordee.serve.text.answer import Answer, Piece
from cordee.serve.text.chunks import DONE, Chunks, Usage
from cordee.serve.text.model import Model
from cordee.serve.text.wish import Wish


@dataclass(slots=True)
class _Part:
    """One choice of the request."""

    choice: Choice
    chunks: Chunks
    over: bool = False


class Generation:
    """The answer to one request, of one or several choices."""

    def __init__(
        self, exchange: Exchange, wishes: Sequence[Wish], model: Model, *, stream: bool
    ) -> None:
        self._exchange, self._model, self._stream = exchange, model, stream
        self._whole = None if stream else Whole()
        self._failed = False
        self._parts = [self._part(wish) for wish in wishes]
        prompts = {wish.prompt_ids for wish in wishes}
        self.usage = Usage(sum(len(ids) for ids in prompts), 0)

    @property
    def choices(self) -> list[Choice]:
        return [part.choice for part in self._parts]

    def _part(self, wish: Wish) -> _Part:
        model = self._model
        matcher = None if wish.grammar is None else model.grammars.matcher(wish.grammar)
        answer = Answer(wish, model.vocabulary, model.logits, matcher)
        chunks = Chunks(wish, model.vocabulary)
        part: _Part
        choice = Choice(wish, answer, lambda event: self._told(part, event))
        part = _Part(choice, chunks)
        if wish.echo and wish.said:
            chunks.echo(model.vocabulary.decode(list(wish.prompt_ids)), ())  # said elsewhere
        if wish.usage_each:
            chunks.usage = Usage(len(wish.prompt_ids), 0)
        return part

    def _told(self, part: _Part, event: Event) -> None:
        if self._failed or self._exchange.gone:
            return
        if isinstance(event, ApiError):
            self.fail(event)
        elif isinstance(event, Prompt):
            self._put(self._echoed(part, event))
        elif isinstance(event, Ended):
            if event.finish is not None and not part.choice.answer.ids:
                self._put(part.chunks.finish(event.finish))
            self._end(part)
        else:
            self._piece(part, event)

    def _piece(self, part: _Part, piece: Piece) -> None:
        wish = part.choice.wish
        if wish.echo and wish.prompt_logprobs is None and piece.number == 1:
            self._put(self._echoed(part, Prompt(())))
        if part.chunks.usage is not None:
            part.chunks.usage.completion = piece.number
        self._put(part.chunks.chunk(piece))
        if piece.finish is not None:
            self._end(part)

    def _echoed(self, part: _Part, prompt: Prompt) -> bytes:
        wish = part.choice.wish
        return part.chunks.echo(self._model.vocabulary.decode(list(wish.prompt_ids)), prompt.tokens)

    def _put(self, chunk: bytes) -> None:
        if not chunk:
            return
        if self._whole is not None:
            self._whole.add_event(chunk[len(b"data: ") :])
            return
        self._exchange.start(200)  # only now: until here an error has a status of its own
        self._exchange.write(chunk)

    def _end(self, part: _Part) -> None:
        if part.over:
            return
        part.over = True
        self.usage.completion += len(part.choice.answer.ids)
        self.usage.cached += part.choice.reused
        if not all(other.over for other in self._parts):
            return
        wish = part.choice.wish
        if self._whole is not None:
            self._put(part.chunks.last(self.usage))
            body = self._whole.response(with_ids=wish.return_ids)
            self._exchange.send(200, msgspec.json.encode(body))
            return
        self._exchange.start(200)
        if wish.usage:
            self._exchange.write(part.chunks.last(self.usage))
        self._exchange.write(DONE)
        self._exchange.finish()

    def fail(self, error: ApiError) -> None:
        """Tell the client that it goes no further."""
        self._failed = True
        if self._exchange.started:
            self._exchange.write(error.event())
            self._exchange.finish()
        else:
            self._exchange.send(error.status, error.body(), headers=error.headers)
