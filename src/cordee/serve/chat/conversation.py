"""One conversation: what was said, and how the next answer is read, across a broken connection too."""

import http.client
import json
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from cordee.core.errors import UsageError
from cordee.serve.asking import message

AGAIN_MOST = 20
AGAIN_S = 0.3


@dataclass(frozen=True, slots=True)
class Said:
    """A piece of an answer, and the replica that made it where the service tells."""

    text: str
    replica: str | None


@dataclass(slots=True)
class Conversation:
    """Talks to the service at `url`, such as http://127.0.0.1:8000."""

    url: str
    key: str = ""
    model: str = ""
    options: dict[str, Any] = field(default_factory=dict)
    messages: list[dict[str, str]] = field(default_factory=list)

    def ask(self, text: str) -> Iterator[Said]:
        """Say something, and read the answer as it comes. Raises `UsageError` where there is none."""
        self.messages.append({"role": "user", "content": text})
        answer = _Answer()
        body = {"model": self.model, "messages": self.messages, "stream": True, **self.options}
        if not self.model:
            del body["model"]
        yield from self._read("POST", "/v1/chat/completions", answer, json.dumps(body).encode())
        for _ in range(AGAIN_MOST):
            if answer.whole:
                break
            if not answer.last:
                raise UsageError(f"{self.url}: the connection broke before the answer began")
            time.sleep(AGAIN_S)
            name = answer.last.rpartition(".")[0]
            yield from self._read("GET", f"/v1/streams/{name}", answer)
        self.messages.append({"role": "assistant", "content": "".join(answer.parts)})
        if not answer.whole:
            raise UsageError(f"{self.url}: the connection broke, and the answer did not come back")

    def _read(
        self, method: str, path: str, answer: "_Answer", body: bytes | None = None
    ) -> Iterator[Said]:
        headers = {"Content-Type": "application/json", "X-Cordee-Trace": "1"}
        if self.key:
            headers["Authorization"] = f"Bearer {self.key}"
        if answer.last:
            headers["Last-Event-ID"] = answer.last
        try:
            reply = self._connected(method, path, body, headers)
        except OSError as error:
            if answer.last:
                return  # it is tried again
            raise UsageError(f"{self.url}: no service answers there: {error}") from error
        with reply:
            if reply.status != 200:
                raise UsageError(f"{self.url}: {message(reply.read())}")
            try:
                for line in reply:
                    if (said := answer.hear(line.decode("utf-8", "replace").rstrip())) is not None:
                        yield said
            except (OSError, http.client.HTTPException):
                return

    def _connected(
        self, method: str, path: str, body: bytes | None, headers: Mapping[str, str]
    ) -> http.client.HTTPResponse:
        parts = urlsplit(self.url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise UsageError(f"{self.url}: is no http or https address")
        kind = (
            http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
        )
        connection = kind(parts.hostname, parts.port, timeout=600)
        connection.request(method, path, body, dict(headers))
        return connection.getresponse()


@dataclass(slots=True)
class _Answer:
    """An answer as far as it was read."""

    parts: list[str] = field(default_factory=list)
    last: str = ""
    replica: str | None = None
    whole: bool = False

    def hear(self, line: str) -> Said | None:
        """One line of the stream."""
        if line.startswith(": replica "):
            self.replica = line.removeprefix(": replica ")
        elif line.startswith("id: "):
            self.last = line.removeprefix("id: ")
        elif line == "data: [DONE]":
            self.whole = True
        elif line.startswith("data: "):
            chunk = json.loads(line.removeprefix("data: "))
            if "error" in chunk:
                raise UsageError(str(chunk["error"].get("message")))
            delta = (chunk.get("choices") or [{}])[0].get("delta") or {}
            text = (delta.get("reasoning_content") or "") + (delta.get("content") or "")
            if text:
                self.parts.append(delta.get("content") or "")
                return Said(text, self.replica)
        return None
