"""Pieces of an answer as the events that clients of OpenAI's API read."""

from collections.abc import Sequence
from dataclasses import dataclass

import msgspec

from cordee.serve.sampling import Token
from cordee.serve.text.answer import Piece
from cordee.serve.text.vocabulary import Vocabulary
from cordee.serve.text.wish import Wish

DONE = b"data: [DONE]\n\n"
_encode = msgspec.json.encode


@dataclass(slots=True)
class Usage:
    """How many tokens a request took."""

    prompt: int
    completion: int
    cached: int = 0

    def body(self) -> bytes:
        return (
            b'{"prompt_tokens":%d,"completion_tokens":%d,"total_tokens":%d,'
            % (
                self.prompt,
                self.completion,
                self.prompt + self.completion,
            )
            + b'"prompt_tokens_details":{"cached_tokens":%d}}' % self.cached
        )


class Chunks:
    """Writes the chunks of one choice. Equal pieces give equal bytes, on every replica."""

    def __init__(self, wish: Wish, vocabulary: Vocabulary) -> None:
        self._wish, self._vocabulary = wish, vocabulary
        kind = "chat.completion.chunk" if wish.kind == "chat" else "text_completion"
        head = {
            "id": wish.request_id,
            "object": kind,
            "created": wish.created,
            "model": wish.model,
        }
        self._head = b"data: " + _encode(head)[:-1] + b',"choices":['
        self._before = 0
        """How many letters of the prompt come before the answer."""
        self._begun = wish.said > 0
        self.usage: Usage | None = None

    def chunk(self, piece: Piece) -> bytes:
        """The event of one piece; empty where there is nothing to say."""
        wish = self._wish
        if wish.kind == "chat":
            inner = b'"delta":' + self._delta(piece)
        else:
            inner = b'"text":' + _encode(piece.content)
        logprobs = self._logprobs(piece) if wish.sampling.logprobs is not None else b"null"
        silent = not (piece.content or piece.reasoning or piece.calls or piece.finish)
        if silent and self._begun and not wish.return_ids and logprobs == b"null":
            return b""
        finish = b"null" if piece.finish is None else b'"%s"' % piece.finish.encode()
        body = b'{"index":%d,%s,"logprobs":%s,"finish_reason":%s' % (
            wish.index,
            inner,
            logprobs,
            finish,
        )
        if piece.stop is not None:
            body += b',"stop_reason":' + _encode(piece.stop)
        if wish.return_ids:
            body += b',"token_ids":[%d]' % piece.token.id
        return self._event(body + b"}")

    def finish(self, reason: str) -> bytes:
        """The event of an answer without a token."""
        inner = b'"delta":{}' if self._wish.kind == "chat" else b'"text":""'
        return self._event(
            b'{"index":%d,%s,"logprobs":null,"finish_reason":"%s"}'
            % (self._wish.index, inner, reason.encode())
        )

    def echo(self, text: str, tokens: Sequence[Token]) -> bytes:
        """The prompt itself, where a request for completions asks for it."""
        logprobs = b"null"
        if tokens:
            logprobs = self._completion_logprobs(tokens, 0)
        self._before = len(text)
        return self._event(
            b'{"index":%d,"text":%s,"logprobs":%s,"finish_reason":null}'
            % (self._wish.index, _encode(text), logprobs)
        )

    def last(self, usage: Usage) -> bytes:
        """The event with the usage, after all choices are finished."""
        return self._head + b'],"usage":' + usage.body() + b"}\n\n"

    def _event(self, choice: bytes) -> bytes:
        end = b"]"
        if not self._begun:
            self._begun = True
            if self._wish.return_ids:
                end += b',"prompt_token_ids":' + _encode(self._wish.prompt_ids)
        if self._wish.usage_each and self.usage is not None:
            end += b',"usage":' + self.usage.body()
        return self._head + choice + end + b"}\n\n"

    def _delta(self, piece: Piece) -> bytes:
        parts = [] if self._begun else [b'"role":"assistant"']
        if piece.reasoning:
            parts.append(b'"reasoning_content":' + _encode(piece.reasoning))
        if piece.content or not (self._begun or piece.reasoning or piece.calls):
            parts.append(b'"content":' + _encode(piece.content))
        if piece.calls:
            calls = [
                {
                    "index": call.index,
                    "id": call.id,
                    "type": "function",
                    "function": {"name": call.name, "arguments": call.arguments},
                }
                for call in piece.calls
            ]
            parts.append(b'"tool_calls":' + _encode(calls))
        return b"{" + b",".join(parts) + b"}"

    def _logprobs(self, piece: Piece) -> bytes:
        if self._wish.kind == "completion":
            return self._completion_logprobs([piece.token], self._before + piece.offset)
        entry = self._entry(piece.token.id, piece.token.logprob)
        entry["top_logprobs"] = [self._entry(i, value) for i, value in piece.token.top]
        return _encode({"content": [entry], "refusal": None})

    def _entry(self, token: int, logprob: float) -> dict[str, object]:
        raw = self._vocabulary.token_bytes(token, special=True)
        return {"token": self._name(token), "logprob": _finite(logprob), "bytes": list(raw)}

    def _completion_logprobs(self, tokens: Sequence[Token], at: int) -> bytes:
        names, offsets = [self._name(token.id) for token in tokens], []
        for name in names:
            offsets.append(at)
            at += len(name)
        tops = [
            {self._name(i): _finite(value) for i, value in token.top} or None for token in tokens
        ]
        return _encode(
            {
                "tokens": names,
                "token_logprobs": [
                    None if token.logprob != token.logprob else _finite(token.logprob)
                    for token in tokens
                ],
                "top_logprobs": tops,
                "text_offset": offsets,
            }
        )

    def _name(self, token: int) -> str:
        return self._vocabulary.name(token)


def _finite(logprob: float) -> float:
    """As OpenAI and vLLM write a probability of zero."""
    return max(logprob, -9999.0)
