"""Which job a process belongs to: what the launcher says in its environment."""

import os
import socket
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, get_args

from cordee.core.errors import UsageError
from cordee.train.checkpoint.keep import Keep, keep_of
from cordee.train.wire import Hello

Mode = Literal["exact", "fast", "adaptive", "local"]
PREFIX = "CORDEE_TRAIN_"


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """A worker's place in a job."""

    coordinator: str = ""
    """HOST:PORT of it, or of the agent that knows where it is; none where there is no launcher."""
    secret: str = ""
    worker: int = 0
    workers: int = 0
    """Members when all is well."""
    rank: int = 0
    """Among the workers that run: one that replaces another has its rank."""
    local_rank: int = 0
    """Among those of its host that see the same chips."""
    local_workers: int = 1
    """Those, when all is well."""
    shards: int = 0
    """0: as the program says."""
    mode: Mode | None = None
    host: str = "127.0.0.1"
    """The address under which others reach this process."""
    others: tuple[str, ...] = ()
    """Other addresses of this host."""
    keep: Keep = field(default_factory=Keep)

    def environment(self) -> dict[str, str]:
        """As variables, for a process that is started."""
        return {
            f"{PREFIX}COORDINATOR": self.coordinator,
            f"{PREFIX}SECRET": self.secret,
            f"{PREFIX}WORKER": str(self.worker),
            f"{PREFIX}WORKERS": str(self.workers),
            f"{PREFIX}RANK": str(self.rank),
            f"{PREFIX}LOCAL_RANK": str(self.local_rank),
            f"{PREFIX}LOCAL_WORKERS": str(self.local_workers),
            f"{PREFIX}SHARDS": str(self.shards),
            f"{PREFIX}MODE": self.mode or "",
            f"{PREFIX}HOST": self.host,
            f"{PREFIX}OTHERS": " ".join(self.others),
        } | self.keep.environment()


def job_of(environment: Mapping[str, str] = os.environ) -> Job:
    """The job of this process. Raises `UsageError` where a variable is wrong."""
    given = {name: environment.get(PREFIX + name, "") for name in ("COORDINATOR", "SECRET", "HOST")}
    mode = environment.get(f"{PREFIX}MODE") or None
    if mode is not None and mode not in get_args(Mode):
        raise UsageError(f"{PREFIX}MODE is {mode!r}, none of {', '.join(get_args(Mode))}")
    return Job(
        coordinator=given["COORDINATOR"],
        secret=given["SECRET"],
        worker=_number(environment, "WORKER"),
        shards=_number(environment, "SHARDS"),
        mode=mode,  # type: ignore[arg-type]
        host=given["HOST"] or "127.0.0.1",
        others=tuple(environment.get(f"{PREFIX}OTHERS", "").split()),
        keep=keep_of(environment),
    )


def agreed(shards: int, job: Job) -> int:
    """The number of shards of a batch. Raises `UsageError`."""
    if shards < 1:
        raise UsageError(f"shards is {shards}: a batch has one at least")
    if job.shards and job.shards != shards:
        raise UsageError(
            f"the program has {shards} shards, the job was started with {job.shards}: leave --shards out"
        )
    return shards


def hello_of(
    job: Job,
    ports: tuple[int, int],
    device: object,
    kind: tuple[int, Mode],
    parameters: str,
    replica: int = 1,
) -> Hello:
    """How a worker greets the coordinator; `ports`: of its store and for what it is fed, `kind`: shards and mode."""
    return Hello(
        worker=job.worker,
        host=host_name(),
        pid=os.getpid(),
        store=f"{job.host}:{ports[0]}",
        feed=f"{job.host}:{ports[1]}",
        device=str(device),
        ways=1 if replica > 1 else 1 + len(job.others),
        shards=kind[0],
        mode=kind[1],
        parameters=parameters,
        replica=replica,
    )


def _number(environment: Mapping[str, str], name: str) -> int:
    text = environment.get(PREFIX + name) or "0"
    if not text.isdecimal():
        raise UsageError(f"{PREFIX}{name} is {text!r}, no number")
    return int(text)


def host_name() -> str:
    """What this computer calls itself."""
    return socket.gethostname()
