"""What a replica is asked for one choice: from its beginning, or from the tokens that its client has."""

import time
from dataclasses import dataclass

from cordee.serve.gateway.fleet import Replica
from cordee.serve.gateway.foreign import Foreign
from cordee.serve.gateway.record import COMPLETIONS, Line, Record
from cordee.serve.gateway.seam import Seam, join
from cordee.serve.gateway.wire import request_body


@dataclass(frozen=True, slots=True)
class Question:
    """A request to a replica."""

    path: str
    body: bytes
    seam: Seam | None = None
    """Where a vLLM goes on from the tokens that another one made."""


def question(record: Record, line: Line, foreign: Foreign | None, replica: Replica) -> Question:
    """What this replica is asked now."""
    pool = replica.pool
    if foreign is not None and pool.kind == "vllm":
        seam = join(record, line, foreign, pool.reading, positional=pool.positional)
        if seam is not None:
            body = seam.request(replica.context, positional=pool.positional)
            return Question(COMPLETIONS, body, seam)
    left = None if record.deadline_s is None else record.deadline_s - time.monotonic()
    return Question(record.path, request_body(record, line, pool, left))
