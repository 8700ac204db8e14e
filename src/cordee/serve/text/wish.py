"""What a request asks of an engine, whatever the endpoint."""

from dataclasses import dataclass, field
from typing import Literal

from cordee.serve.sampling import Sampling


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """One choice that is to be generated."""

    kind: Literal["chat", "completion"]
    prompt_ids: tuple[int, ...]
    sampling: Sampling
    max_tokens: int
    min_tokens: int = 0
    stop: tuple[str, ...] = ()
    stop_ids: frozenset[int] = frozenset()
    include_stop: bool = False
    end_ids: frozenset[int] = frozenset()
    """Where the model ends by itself; empty where that is to be passed over."""
    special: bool = False
    """Whether special tokens are shown."""
    grammar: str | None = None
    echo: bool = False
    prompt_logprobs: int | None = None
    dialect: str | None = None
    """How calls of tools are written, where there are any."""
    forced_call: bool = False
    thinks: bool = False
    thinking: bool = False
    """Whether the prompt has begun a thought."""
    request_id: str = ""
    created: int = 0
    index: int = 0
    model: str = ""
    continue_from: tuple[int, ...] = ()
    """Tokens that the choice has already."""
    said: int = 0
    """How many tokens the client has been told of."""
    priority: int = 0
    deadline_s: float | None = None
    return_ids: bool = False
    """Whether chunks carry the ids of their tokens."""
    usage: bool = False
    """Whether the last chunk tells the usage; `usage_each`: every chunk."""
    usage_each: bool = False
    extra: dict[str, str] = field(default_factory=dict)
