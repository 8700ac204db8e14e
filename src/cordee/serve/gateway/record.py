"""One request of a client: what was asked, and the tokens of each choice that were sent."""

import re
import time
from array import array
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import Any, Literal

from cordee.core.http.exchange import Exchange
from cordee.serve.api.errors import ApiError
from cordee.serve.api.whole import Whole
from cordee.serve.gateway.context import Trace
from cordee.serve.policy.admission import rank

CHAT = "/v1/chat/completions"
COMPLETIONS = "/v1/completions"
CHOICES_MOST = 128
ID = re.compile(r"(chatcmpl|cmpl)-[0-9a-f]{24}", re.ASCII)
"""The names that `new_id` gives."""
Body = dict[str, Any]


@dataclass(slots=True)
class Line:
    """One choice: the ids of its tokens, as many as were sent to the client."""

    index: int
    body: Body
    """The request for this choice alone."""
    ids: "array[int]" = field(default_factory=lambda: array("i"))
    base: int = 0
    """How many tokens come before `ids`, where the client has them from another gateway."""
    prefix: "array[int]" = field(default_factory=lambda: array("i"))
    """The first of those before `ids`, as far as they are known here."""
    prompt_tokens: int = 0
    cached_tokens: int = 0
    completion_tokens: int = 0
    """As the replica counts them."""
    finished: bool = False
    moved: bool = False
    """Whether a replica failed on it."""

    @property
    def said(self) -> int:
        """How many tokens the client has."""
        return self.base + len(self.ids)


Outcome = Literal["", "ok", "refused", "failed", "gone"]
"""What became of a request; `gone`: its client went away."""


@dataclass(slots=True)
class Leg:
    """A stretch of a choice on one replica. Times are of the monotonic clock."""

    line: int
    replica: str
    pool: str
    url: str
    begins_at: int
    """How many tokens the choice had before."""
    began_s: float
    first_s: float | None = None
    ended_s: float | None = None
    ids: int = 0
    reason: str = ""
    """Why it broke off, where it did."""
    span: str = ""
    """Its name in a trace."""


@dataclass(slots=True, eq=False)
class Record:
    """A request, for as long as its client may come back for it."""

    id: str
    path: str
    created: int
    lines: list[Line]
    streams: bool
    wants_usage: bool
    wants_ids: bool
    prompt: bytes
    """What routing knows prompts by."""
    exchange: Exchange
    body: Body = field(default_factory=dict)
    """The request as the client sent it."""
    key: str = ""
    priority: int = 0
    deadline_s: float | None = None
    """On the monotonic clock."""
    traces: bool = False
    began_s: float = field(default_factory=time.monotonic)
    first_s: float | None = None
    pool: str = ""
    whole: Whole | None = None
    over: bool = False
    outcome: Outcome = ""
    error: str | None = None
    legs: list[Leg] = field(default_factory=list)
    trace: Trace | None = None
    mirrored: str | None = None
    head: bytes = b""
    """How the line with the position begins, of a stream with one choice."""
    spoke: str = ""
    """The replica that spoke last, where the client follows which one does."""

    def __post_init__(self) -> None:
        self.head = b"id: " + self.id.encode() + b"."

    def rank(self, line: Line) -> int:
        """Where a choice stands among those that wait, here and on replicas: the larger the sooner."""
        return rank(self.priority, begun=bool(line.moved or line.said))

    @property
    def route(self) -> str:
        """The endpoint that the client asked, which may be another one than replicas are asked."""
        path = self.exchange.path
        return "/v1/streams/{id}" if path.startswith("/v1/streams/") else path

    def position(self) -> bytes:
        """The line that says how far the client is: what it gives back in Last-Event-ID."""
        lines = self.lines
        if len(lines) == 1:
            return b"%b%d\n" % (self.head, lines[0].base + len(lines[0].ids))
        return self.head + "-".join(str(line.said) for line in lines).encode() + b"\n"


def new_id(path: str, random: str, now_s: float) -> str:
    """A name that holds the time of the request, so that another gateway knows it too."""
    kind = "chatcmpl" if path == CHAT else "cmpl"
    return f"{kind}-{int(now_s):x}{random}"


def created_of(request_id: str) -> int:
    """The time in a request's name."""
    try:
        return int(request_id.split("-", 1)[1][:8], 16)
    except (IndexError, ValueError):
        return int(time.time())


def seed_of(request_id: str) -> int:
    """The seed of a request that came without: any gateway finds the same."""
    return int.from_bytes(blake2b(request_id.encode(), digest_size=7).digest(), "little")


def position_of(text: str) -> tuple[str, list[int]]:
    """The request and how far its client was, from Last-Event-ID. Raises `ApiError`."""
    name, _, counts = text.rpartition(".")
    if not ID.fullmatch(name):  # it names a file in a journal
        name = ""
    try:
        said = [int(count) for count in counts.split("-")]
    except ValueError:
        said = []
    if not name or not said or min(said) < 0 or max(said) > 10_000_000:
        raise ApiError(400, "Last-Event-ID: is none of this service", param="Last-Event-ID")
    return name, said


def lines_of(path: str, body: Body, request_id: str) -> list[Line]:
    """The request taken apart into one for each choice. Raises `ApiError` where it has none."""
    count = 1 if body.get("n") is None else body["n"]
    prompts = _prompts(body) if path == COMPLETIONS else [None]
    if not isinstance(count, int) or isinstance(count, bool) or count < 1:
        raise ApiError(400, "n: must be a number from 1", param="n")
    if count * len(prompts) > CHOICES_MOST:
        raise ApiError(400, f"n: at most {CHOICES_MOST} answers to one request", param="n")
    seed = body.get("seed")
    if not isinstance(seed, int) or isinstance(seed, bool):
        seed = seed_of(request_id)
    base = {key: value for key, value in body.items() if key not in ("n", "best_of", "cordee")}
    base |= {"stream": True, "return_token_ids": True, "stream_options": {"include_usage": True}}
    lines: list[Line] = []
    for prompt in prompts:
        for number in range(count):
            own = base | {"seed": seed + number}
            if prompt is not None:
                own["prompt"] = prompt
            lines.append(Line(len(lines), own))
    return lines


def _prompts(body: Body) -> list[object]:
    """Each prompt of a request for completions; what is wrong with them the replica tells."""
    prompt = body.get("prompt")
    several = isinstance(prompt, list) and prompt and not all(isinstance(p, int) for p in prompt)
    return list(prompt) if several and isinstance(prompt, list) else [prompt]
