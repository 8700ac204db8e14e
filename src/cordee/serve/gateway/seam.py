"""Answers that another vLLM goes on with from their tokens, and how their text is made whole again.

vLLM gets the ids of the prompt and of all that was said. Text is made here from the ids, from the first one on, as
our own engine makes it: so a letter of two tokens, a stop string or a call of a tool that lies across the seam is
whole. What the client has already is held back (foreign.py), and where what it has is not how these ids are read
here, the answer is made again instead.
"""

from collections.abc import Iterator
from copy import deepcopy
from dataclasses import replace
from typing import Any

import msgspec

from cordee.serve.gateway.foreign import Chunk, Foreign, decoded
from cordee.serve.gateway.reading import Reading
from cordee.serve.gateway.record import CHAT, Body, Line, Record
from cordee.serve.sampling import Sampling, Token
from cordee.serve.text.answer import Answer, Piece
from cordee.serve.text.chunks import Chunks
from cordee.serve.text.wish import Wish

SAID = "cordee_said"
"""How our plug-in in vLLM is told how much of a prompt is answer (serve/vllm/rows.py)."""
SAMPLING = (
    "model", "temperature", "top_p", "top_k", "min_p", "seed", "frequency_penalty", "presence_penalty",
    "repetition_penalty", "logit_bias", "stop_token_ids", "ignore_eos", "allowed_token_ids", "priority",
    "cache_salt", "vllm_xargs",
)  # fmt: skip
"""Fields of a request that hold for its continuation."""
WHOLE = (
    "structured_outputs", "guided_json", "guided_regex", "guided_choice", "guided_grammar",
    "echo", "prompt_logprobs", "bad_words", "use_beam_search", "thinking_token_budget", "prompt_embeds",
)  # fmt: skip
"""Fields by which the end of an answer depends on more than its tokens' logits: it is made as a whole."""
FREE = (None, "auto", "none")
"""What `tool_choice` may be so that no call must come."""
COMPLETION_TOKENS = 16
THOUGHTS = ((False, False), (True, False), (True, True))
"""Whether text has thoughts, and whether it begins in one: which of it, what the client has tells."""
THOUGHT = b'"reasoning_content":'
MOST_LAG = 32
"""So many letters vLLM holds back, and a stop string's: half a letter, half a mark."""
HALF = "\ufffd"
"""What stands for half a letter: vLLM waits for the rest of it, and leaves it out where the answer ends."""
NO_END = 2**31


def goes_on(body: Body, *, positional: bool) -> bool:
    """Whether vLLM says the same from these tokens on as if it had said them itself.

    `positional`: it has our plug-in. Without it its random numbers begin anew, and it forgets how often a word
    was said.
    """
    form, choice = body.get("response_format"), body.get("tool_choice")
    if (isinstance(form, dict) and form.get("type") != "text") or choice not in FREE:
        return False
    if any(body.get(name) for name in WHOLE) or _has_pictures(body.get("messages")):
        return False
    counted = body.get("frequency_penalty") or body.get("presence_penalty")
    return positional or (body.get("temperature") == 0 and not counted)


def join(
    record: Record, line: Line, foreign: Foreign, reading: Reading | None, *, positional: bool
) -> "Seam | None":
    """The seam of an answer that goes on from its tokens; None where it must be made again."""
    known = line.ids.tolist()
    if reading is None or not (known and foreign.prompt_ids) or line.base:
        return None
    if not goes_on(line.body, positional=positional):
        return None
    seams = []
    for thinks, thinking in THOUGHTS:
        wish = replace(_wish(record, line, foreign, reading), thinks=thinks, thinking=thinking)
        seams.append(Seam(wish, reading, line.body, known, foreign))
        if seams[-1].lag == 0:
            break
    alike = [seam for seam in seams if seam.lag is not None and not seam.over]
    best = min(alike, key=lambda seam: seam.lag or 0, default=None)
    longest = max((len(stop) for stop in seams[0].stop), default=0)
    return best if best is not None and (best.lag or 0) <= MOST_LAG + longest else None


class Seam:
    """The rest of one answer, from the chunks of a completion."""

    def __init__(
        self, wish: Wish, reading: Reading, body: Body, said: list[int], foreign: Foreign
    ) -> None:
        """Read what was `said`, of which the client has what is in `foreign`."""
        self._wish, self._body = wish, body
        self.stop = wish.stop
        self._answer = Answer(wish, reading.vocabulary, 0)
        self._chunks = Chunks(wish, reading.vocabulary)
        self._thoughts = b'"reasoning":' if "reasoning" in foreign.said else THOUGHT
        self._halves = ""
        self._before = len(said)
        self._known: Chunk | None = self._whole(said)
        self.lag = foreign.lag(deepcopy(self._known))
        """By how many letters the client is elsewhere, as vLLM holds some back; None: it has another text."""

    @property
    def over(self) -> bool:
        """Whether the answer has its end."""
        return self._answer.finished is not None

    def request(self, context: int, *, positional: bool) -> bytes:
        """What vLLM is asked; `context`: how many tokens it takes in all, 0 where that is not known."""
        body, wish = self._body, self._wish
        made: Body = {name: body[name] for name in SAMPLING if body.get(name) is not None}
        most = _most(body, wish.kind)
        if most is None:
            most = context - len(wish.prompt_ids) if context else NO_END
        made |= {
            "prompt": [*wish.prompt_ids, *self._answer.ids],
            "max_tokens": max(1, most - self._before),
            "min_tokens": max(0, wish.min_tokens - self._before),
            "stream": True,
            "stream_options": {"include_usage": True},
            "return_token_ids": True,
        }
        if wish.sampling.logprobs is not None:
            made |= {"logprobs": wish.sampling.logprobs, "return_tokens_as_token_ids": True}
        if positional:
            made["vllm_xargs"] = (made.get("vllm_xargs") or {}) | {SAID: self._before}
        return msgspec.json.encode(made)

    def chunks(self, chunk: Chunk) -> Iterator[Chunk]:
        """A chunk of the completion, as those of the answer that it goes on with."""
        known, self._known = self._known, None
        if known is not None:
            yield known
        choice = chunk["choices"][0]
        ids, reason = choice.get("token_ids") or [], choice.get("finish_reason")
        tokens = _tokens(ids, choice.get("logprobs"), self._most_top())
        for number, token in enumerate(tokens, 1):
            if reason and number == len(tokens):
                self._end(reason, choice.get("stop_reason"), token.id)
            piece = self._answer.take(token)
            if piece is not None:
                yield self._chunk(piece)
            if self.over:
                return
        if reason and not ids and not self.over:
            self._answer.finished = reason
            yield decoded(self._chunks.finish(reason))

    @property
    def usage(self) -> tuple[int, int]:
        """How many tokens the prompt and the whole answer have; the replica counts otherwise."""
        return len(self._wish.prompt_ids), len(self._answer.ids)

    def _most_top(self) -> int:
        """A chat is told so many of the likeliest, the token itself the first of them; vLLM gives one more."""
        count = self._wish.sampling.logprobs or 0
        return count if self._wish.kind == "chat" else count + 1

    def _end(self, reason: str, stop: object, token: int) -> None:
        """vLLM says that the answer ends with this token, and why: it is so here too."""
        answer = self._answer
        if reason == "length":
            answer.wish = replace(answer.wish, max_tokens=len(answer.ids) + 1)
        elif stop is None:
            answer.wish = replace(answer.wish, end_ids=frozenset({token}), min_tokens=0)
        else:
            answer.wish = replace(answer.wish, stop_ids=frozenset({token}), min_tokens=0)

    def _whole(self, said: list[int]) -> Chunk:
        """All that was said as one chunk."""
        pieces = [piece for i in said if (piece := self._answer.take(Token(i)))]
        one = Piece(
            len(said),
            Token(said[-1]),
            content="".join(piece.content for piece in pieces),
            reasoning="".join(piece.reasoning for piece in pieces),
            calls=tuple(call for piece in pieces for call in piece.calls),
        )
        chunk = self._chunk(one)
        chunk["choices"][0]["token_ids"] = said
        return chunk

    def _chunk(self, piece: Piece) -> Chunk:
        text = self._halves + piece.content
        whole = text.rstrip(HALF)
        self._halves = text[len(whole) :]
        piece = replace(piece, content=whole)
        # Whoever began with one name for thoughts goes on with it. In a text these bytes are escaped.
        return decoded(self._chunks.chunk(piece).replace(THOUGHT, self._thoughts))


def _wish(record: Record, line: Line, foreign: Foreign, reading: Reading) -> Wish:
    body, chat = line.body, record.path == CHAT
    stop = body.get("stop") or ()
    calls = chat and body.get("tools") and body.get("tool_choice") != "none"
    dialect = reading.dialect if calls else None
    return Wish(
        kind="chat" if chat else "completion",
        prompt_ids=tuple(foreign.prompt_ids),
        sampling=Sampling(logprobs=_logprobs(body, chat=chat)),
        max_tokens=NO_END,
        min_tokens=body.get("min_tokens") or 0,
        stop=(stop,) if isinstance(stop, str) else tuple(stop),
        include_stop=bool(body.get("include_stop_str_in_output")),
        special=body.get("skip_special_tokens") is False or dialect == "mistral",
        dialect=dialect,
        request_id=record.id,
        created=record.created,
        index=line.index,
        model=str(body.get("model") or ""),
        return_ids=True,
    )


def _has_pictures(messages: object) -> bool:
    """Whether there is more in a prompt than ids can say."""
    for message in messages if isinstance(messages, list) else ():
        content = message.get("content") if isinstance(message, dict) else None
        for part in content if isinstance(content, list) else ():
            if not isinstance(part, dict) or part.get("type") not in ("text", "input_text"):
                return True
    return False


def _logprobs(body: Body, *, chat: bool) -> int | None:
    if not chat:
        given: int | None = body.get("logprobs")
        return given
    return (body.get("top_logprobs") or 0) if body.get("logprobs") else None


def _most(body: Body, kind: str) -> int | None:
    """How many tokens the answer may have; None: as many as there is room for."""
    most: int | None = body.get("max_completion_tokens") or body.get("max_tokens")
    return COMPLETION_TOKENS if most is None and kind == "completion" else most


def _tokens(ids: list[int], logprobs: Any, most_top: int) -> list[Token]:
    """Tokens with their logarithms, where a chunk has them; vLLM names tokens `token_id:N` as it is asked to."""
    if not isinstance(logprobs, dict):
        return [Token(i) for i in ids]
    values, tops = logprobs.get("token_logprobs") or [], logprobs.get("top_logprobs") or []
    made = []
    for number, token in enumerate(ids):
        top = tops[number] if number < len(tops) and tops[number] else {}
        pairs = tuple(
            (int(name.removeprefix("token_id:")), value)
            for name, value in top.items()
            if name.startswith("token_id:")
        )
        value = values[number] if number < len(values) else 0.0
        made.append(Token(token, value, pairs[:most_top]))
    return made
