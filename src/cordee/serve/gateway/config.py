"""How a gateway is set up."""

from dataclasses import dataclass
from pathlib import Path

from cordee.core.errors import UsageError
from cordee.serve.policy.admission import QUEUE_MOST, REQUEST_TIMEOUT_S
from cordee.serve.policy.failover import PATIENCE_S


@dataclass(frozen=True, slots=True, kw_only=True)
class GatewayConfig:
    """The table [gateway] of a fleet file."""

    host: str = "127.0.0.1"
    port: int = 8000
    keys: Path | None = None
    certificate: Path | None = None
    private_key: Path | None = None
    max_body_bytes: int = 16_000_000
    max_queue: int = QUEUE_MOST
    replica_requests: int = 64
    """How many requests a replica gets at a time; more wait here, where they can go anywhere."""
    request_timeout_s: float = REQUEST_TIMEOUT_S
    patience_s: float = PATIENCE_S
    """How long a request waits for a replica when none is ready."""
    probe_s: float = 0.0
    """How often all replicas are asked the same, to find one that reckons wrongly; 0: never."""
    hedge: bool = False
    """Ask a second replica where a first token is late."""
    hedge_quantile: float = 0.95
    hedge_factor: float = 1.5
    """Late is what takes so many times as long as this quantile of the pool's first tokens of late..."""
    hedge_least_s: float = 0.05
    """...and at least so long."""
    hedge_share: float = 0.03
    """The most requests that are asked twice."""
    log: str | None = None
    """Where what happens is written as lines of JSON: a file, or `-` for standard output."""
    traces: str | None = None
    """Where OpenTelemetry's collector takes traces over HTTP, such as http://127.0.0.1:4318."""
    journal: Path | None = None
    """A folder that gateways share, so that streams of one that was killed go on at another."""

    def __post_init__(self) -> None:
        for name in ("hedge_quantile", "hedge_share"):
            value = getattr(self, name)
            if not 0 <= value <= 1:
                raise UsageError(f"[gateway]: {name} is {value:g}, not from 0 to 1")
