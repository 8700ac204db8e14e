"""One choice of an answer: from tokens to what the client sees of them."""

import codecs
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cordee.serve.sampling import Token
from cordee.serve.text.grammar import Matcher
from cordee.serve.text.tools import Call, Splitter, held_back
from cordee.serve.text.vocabulary import Vocabulary
from cordee.serve.text.wish import Wish


@dataclass(frozen=True, slots=True)
class Piece:
    """What one token adds to what the client sees. Its text may be that of tokens before it."""

    number: int
    """How many tokens the choice has with this one."""
    token: Token
    content: str = ""
    reasoning: str = ""
    calls: tuple[Call, ...] = ()
    finish: str | None = None
    stop: int | str | None = None
    offset: int = 0
    """How many letters of content the choice had before."""


class Answer:
    """A choice as it grows. The same tokens give the same pieces, so a replica can take over anywhere."""

    def __init__(
        self, wish: Wish, vocabulary: Vocabulary, logits: int, matcher: Matcher | None = None
    ) -> None:
        """`logits`: how many numbers a mask has. Tokens of `wish.continue_from` are not taken yet."""
        self.wish = wish
        self.ids: list[int] = []
        self.finished: str | None = None
        self.letters = 0
        self._vocabulary, self._matcher = vocabulary, matcher
        self._logits = logits
        self._decode = codecs.getincrementaldecoder("utf-8")("replace").decode
        self._held = ""  # may be the beginning of a stop string
        self._splitter = Splitter(
            f"{wish.request_id}/{wish.index}",
            wish.dialect,
            forced=wish.forced_call,
            thinks=wish.thinks,
            thinking=wish.thinking,
        )

    def mask(self) -> NDArray[np.bool_] | None:
        """[logits] which tokens may come next; None: all."""
        mask = None
        if self._matcher is not None:
            mask = self._matcher.mask()[: self._logits]
        wish = self.wish
        if len(self.ids) < wish.min_tokens and (wish.end_ids or wish.stop_ids):
            if mask is None:
                mask = np.ones(self._logits, np.bool_)
            ends = [i for i in wish.end_ids | wish.stop_ids if i < self._logits]
            if mask.sum() > mask[ends].sum():  # a form that is at its end may still end
                mask[ends] = False
        return mask

    def take(self, token: Token) -> Piece | None:
        """The answer goes on with a token; None where the client is not to be told of it."""
        wish = self.wish
        self.ids.append(token.id)
        number = len(self.ids)
        if self._matcher is not None:
            self._matcher.accept(token.id)
        text = ""
        stop: int | str | None = None
        early = number <= wish.min_tokens
        if token.id in wish.stop_ids and not early:
            self.finished, stop = "stop", token.id
            if wish.include_stop:
                text = self._text(token.id, special=True)
        elif token.id in wish.end_ids and not early:
            self.finished = "stop"
        else:
            text = self._text(token.id, wish.special)
            if wish.stop and not early:
                text, stop = self._stopped(text)
        if self.finished is None and number >= wish.max_tokens:
            self.finished = "length"
        if self.finished and not isinstance(stop, str):
            text = self._held + text + self._decode(b"", True)
            self._held = ""
        return self._piece(number, token, text, stop)

    def _text(self, token: int, special: bool) -> str:
        return self._decode(self._vocabulary.token_bytes(token, special))

    def _stopped(self, text: str) -> tuple[str, str | None]:
        """The text that is certain, and the stop string where one is complete."""
        whole = self._held + text
        found = [(whole.find(stop), stop) for stop in self.wish.stop if stop in whole]
        if found:
            at, stop = min(found)
            self.finished, self._held = "stop", ""
            return whole[: at + len(stop) if self.wish.include_stop else at], stop
        keep = held_back(whole, self.wish.stop)
        self._held = whole[len(whole) - keep :]
        return whole[: len(whole) - keep], None

    def _piece(self, number: int, token: Token, text: str, stop: int | str | None) -> Piece | None:
        offset = self.letters
        if self._splitter.plain:
            piece = Piece(number, token, text, finish=self.finished, stop=stop, offset=offset)
        else:
            split = self._splitter.feed(text, last=self.finished is not None)
            if self.finished == "stop" and self._splitter.calls:
                self.finished = "tool_calls"
            piece = Piece(
                number,
                token,
                split.content,
                split.reasoning,
                split.calls,
                self.finished,
                stop,
                offset,
            )
        self.letters += len(piece.content)
        return piece if number > self.wish.said else None


def whole(pieces: Sequence[Piece]) -> str:
    """The content of all pieces together."""
    return "".join(piece.content for piece in pieces)
