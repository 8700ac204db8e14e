"""What a gateway knows of its replicas, and what it may ask of whoever runs them."""

import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, Protocol

from cordee.core.errors import UsageError
from cordee.serve.api.errors import ApiError
from cordee.serve.gateway.reading import Reading
from cordee.serve.policy.breaker import Breaker
from cordee.serve.policy.routing import Memory

if TYPE_CHECKING:
    from cordee.core.http.exchange import Exchange
    from cordee.serve.gateway.record import Record

Kind = Literal["cordee", "vllm", "openai"]
Role = Literal["primary", "canary", "shadow", "standby"]
State = Literal["starting", "ready", "draining", "suspect", "dead", "stopped"]
Action = Literal["drain", "restart", "kill", "hang", "resume", "corrupt", "reset"]
ACTIONS: tuple[Action, ...] = ("drain", "restart", "kill", "hang", "resume", "corrupt", "reset")
RECENT = 512
TOGETHER_S = 1.0
"""Within so long after one another requests fail for one reason."""


@dataclass(slots=True)
class Pool:
    """Replicas of one kind, and how much of the traffic they get."""

    name: str
    model: str
    kind: Kind = "cordee"
    role: Role = "primary"
    share: float = 1.0
    wanted: int | None = None
    """How many replicas it is to have, where that follows its load."""
    positional: bool = False
    """Whether its vLLM has our plug-in."""
    reading: Reading | None = None
    """Of a vLLM: how its tokens are read, where that is known."""


@dataclass(slots=True, eq=False)
class Replica:
    """One engine: what its keeper says of it, and what the gateway has seen."""

    name: str
    url: str
    pool: Pool
    state: State = "ready"
    chip: str | None = None
    chips: tuple[int, ...] = ()
    """Their numbers on its machine."""
    pid: int | None = None
    restarts: int = 0
    since_s: float = field(default_factory=time.time)

    mistrusted: str = ""
    """Why it gets no requests until it is started anew, or answers as the others do again."""
    disagreements: int = 0
    """How often it reckoned otherwise than it should."""
    numerics: str = ""
    generation: str = ""
    running: int = 0
    """Requests of this gateway that it works on."""
    told_running: int = 0
    told_waiting: int = 0
    of_others: int = 0
    """Requests that it has besides those of this gateway."""
    cache_used: float = 0.0
    context: int = 0
    """How many tokens it takes in all; 0: it was not asked."""
    tokens: int = 0
    breaker: Breaker = field(default_factory=Breaker)
    memory: Memory = field(default_factory=Memory)
    first_tokens_s: deque[float] = field(default_factory=lambda: deque(maxlen=RECENT))
    per_token_s: deque[float] = field(default_factory=lambda: deque(maxlen=RECENT))

    answered_s: float = field(default_factory=time.monotonic)
    stepped_s: float = field(default_factory=time.monotonic)
    steps: int = -1
    longest_step_s: float = 0.0
    longest_answer_s: float = 0.0

    fell_s: float = 0.0
    fell_among: int = 0

    def fell(self, now_s: float) -> int:
        """It failed one of its requests: how many it had then. Those that follow at once fell with the first."""
        if now_s - self.fell_s > TOGETHER_S:
            self.fell_among = self.running
        self.fell_s = now_s
        return self.fell_among

    @property
    def load(self) -> int:
        """How many requests it has: what it tells of them is older than what this gateway knows of its own."""
        if self.pool.kind == "cordee":
            return max(self.running, self.told_running + self.told_waiting)
        return self.running + self.of_others

    def takes(self, now_s: float) -> bool:
        """Whether a request may go to it now."""
        return self.state == "ready" and self.breaker.allows(now_s)


class Fleet(Protocol):
    """Whoever runs the replicas."""

    def replicas(self) -> Sequence[Replica]: ...

    def pools(self) -> Sequence[Pool]: ...

    async def act(self, replica: Replica, action: Action) -> None:
        """Do something to a replica. Raises `UsageError` where that cannot be done."""

    def scale(self, pool: Pool, number: int) -> None:
        """Let a pool have so many replicas. Raises `UsageError` where it cannot have them."""

    def failed(self, replica: Replica, reason: str) -> None:
        """The gateway takes a replica to be gone: it hangs, broke off or reckons wrongly."""


def pool_named(fleet: Fleet, name: str) -> Pool:
    """Raises `ApiError` with those that there are."""
    pools = fleet.pools()
    for pool in pools:
        if pool.name == name:
            return pool
    known = ", ".join(pool.name for pool in pools)
    raise ApiError(404, f"there is no pool {name}; there are {known}", code="not_found")


class Mirror(Protocol):
    """Gets a copy of some of the traffic, to compare answers, and may shift shares between pools."""

    def finished(self, record: "Record") -> None:
        """A client's request is over."""

    def tick(self, now_s: float) -> None:
        """Time has passed."""

    def state(self) -> object:
        """What the status tells of it."""

    def routes(self) -> "Mapping[tuple[str, str], Callable[[Exchange], None]]":
        """Its own endpoints, by method and path; admins only."""

    def joined(self, tell: Callable[[str, str, str], object]) -> None:
        """The gateway that it works for takes events by `tell`."""

    def copy(self, path: str, body: dict[str, object], pool: str) -> str | None:
        """A request begins; gives a name where its answer is wanted, None where it is not."""

    def answered(self, name: str, answer: "Answered") -> None:
        """The answer that the client got."""


@dataclass(frozen=True, slots=True)
class Answered:
    """What became of a request."""

    pool: str
    ids: tuple[int, ...]
    first_s: float
    whole_s: float
    error: str | None


class FixedFleet:
    """Replicas that somebody else runs, known by their addresses."""

    def __init__(self, pools: Sequence[tuple[Pool, Sequence[str]]]) -> None:
        self._pools = [pool for pool, _ in pools]
        self._replicas = [
            Replica(f"{pool.name}-{number}", url.rstrip("/"), pool)
            for pool, urls in pools
            for number, url in enumerate(urls)
        ]

    def replicas(self) -> Sequence[Replica]:
        return self._replicas

    def pools(self) -> Sequence[Pool]:
        return self._pools

    async def act(self, replica: Replica, action: Action) -> None:
        if action == "drain":
            replica.state = "draining"
        elif action == "resume":
            replica.state = "ready"
        else:
            raise UsageError(f"{replica.name} is run elsewhere: it can be drained and resumed only")

    def scale(self, pool: Pool, number: int) -> None:
        raise UsageError(f"{pool.name} is run elsewhere: add engines there, and their urls here")

    def failed(self, replica: Replica, reason: str) -> None:
        replica.state = "suspect"
