"""Engines as jobs of a Ray cluster, found and started through the REST API of its dashboard.

docs.ray.io/en/latest/cluster/running-applications/job-submission/rest.html; nothing of Ray is imported.
"""

import re
import shlex
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import quote, urlsplit

import msgspec

from cordee.core.errors import CordeeError
from cordee.core.http.client import Client, Reply, Unreachable
from cordee.hw.resources import resource
from cordee.serve.cluster.found import Found
from cordee.serve.replica.command import PROGRAM, replica_arguments

POOL, PORT = "cordee.pool", "cordee.port"
"""The metadata of a job by which engines of a pool are found, and on which port of its node each listens."""
RUNS = ("PENDING", "RUNNING")
TIMEOUT_S = 20.0
HEALTH_S = 2.0
KEPT_ENDED = 3
"""So many jobs that ended stay in the cluster's list, with their logs."""
FIRST_PAUSE_S, LONGEST_PAUSE_S = 1.0, 60.0
NUMBERED = re.compile(r".*-(\d+)-(\d+)", re.ASCII)


@dataclass(frozen=True, slots=True, kw_only=True)
class RayConfig:
    """A table [pool.ray]."""

    address: str = "http://127.0.0.1:8265"
    """Of the cluster's dashboard."""
    name: str = ""
    """By which the engines' jobs are found: `cordee.pool` in their metadata; else the pool's name."""
    port: int = 8100
    """On which the first engine listens; each of the others on the next, for a node may have several."""
    python: str = "python"
    """On the nodes, of an environment that has cordee."""
    resources: Mapping[str, float] | None = None
    """What each engine is given; else as many chips as a replica has."""
    environment: Mapping[str, str] = field(default_factory=dict)
    token_file: Path | None = None
    """Where the cluster wants a token."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Engine:
    """What is started: one command, so often."""

    name: str
    model: str
    called: str
    device: str
    chips: int
    arguments: Sequence[str]
    count: int


class Job(msgspec.Struct):
    """The part of a job that is read."""

    status: str
    submission_id: str | None = None
    message: str | None = None
    start_time: int | None = None
    metadata: dict[str, str] | None = None
    driver_agent_http_address: str | None = None


@dataclass(slots=True)
class Ray:
    """One pool in one cluster."""

    config: RayConfig
    engine: Engine
    trouble: str = ""
    _client: Client = field(default_factory=Client)
    _ready: set[str] = field(default_factory=set)
    _next_s: float = 0.0
    _pause_s: float = 0.0
    _ended: set[str] = field(default_factory=set)

    @property
    def name(self) -> str:
        return self.config.name or self.engine.name

    async def engines(self) -> Sequence[Found]:
        """The engines that run, and, where there are too few, others are started. Raises `CordeeError`."""
        reply = await self._ask("GET", "/api/jobs/")
        try:
            every = msgspec.json.decode(reply.body, type=list[Job])
        except msgspec.DecodeError as error:
            raise CordeeError(f"{self.config.address}: is no list of jobs: {error}") from error
        own = [job for job in every if (job.metadata or {}).get(POOL) == self.name]
        running = [job for job in own if job.status in RUNS and job.submission_id]
        await self._judge([job for job in own if job.status not in RUNS])
        await self._fill(running, own)
        found = [await self._found(job) for job in running if job.status == "RUNNING"]
        return [one for one in found if one is not None]

    async def _found(self, job: Job) -> Found | None:
        name = job.submission_id or ""
        host = urlsplit(job.driver_agent_http_address or "").hostname
        port = (job.metadata or {}).get(PORT, "")
        if host is None or not port.isdigit():
            return None
        url = f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
        if name not in self._ready and await self._answers(url):
            self._ready.add(name)
            self._pause_s, self.trouble = 0.0, ""
        return Found(name, url, ready=name in self._ready, ending=False)

    async def _answers(self, url: str) -> bool:
        try:
            reply = await self._client.request(url + "/health", timeout_s=HEALTH_S)
        except Unreachable:  # it loads its model
            return False
        return reply.status == 200

    async def _judge(self, ended: Sequence[Job]) -> None:
        """Engines that ended: why, how long to wait before the next, and which are forgotten."""
        ordered = sorted(ended, key=lambda job: job.start_time or 0)
        for job in ordered:
            name = job.submission_id or ""
            if name in self._ended:
                continue
            self._ended.add(name)
            was_ready = name in self._ready
            self._ready.discard(name)
            if not was_ready and job.status == "FAILED":
                self.trouble = f"{name}: {(job.message or 'failed').strip()[-2000:]}"
                self._pause_s = min(LONGEST_PAUSE_S, max(FIRST_PAUSE_S, 2 * self._pause_s))
                self._next_s = time.monotonic() + self._pause_s
        for job in ordered[:-KEPT_ENDED]:
            await self._ask("DELETE", f"/api/jobs/{quote(job.submission_id or '', safe='')}")

    async def _fill(self, running: Sequence[Job], own: Sequence[Job]) -> None:
        """Start what is missing. Each place has its number, so that two gateways do not both fill it."""
        if time.monotonic() < self._next_s:
            return
        numbers = [_numbers(job) for job in running]
        for place in range(self.engine.count):
            if len(numbers) >= self.engine.count:
                return
            if any(number == place for number, _ in numbers):
                continue
            made = [again for number, again in map(_numbers, own) if number == place]
            numbers.append((place, 0))
            name = f"{self.name}-{place}-{max(made, default=-1) + 1}"
            job = self._job(name, self.config.port + place)
            await self._ask("POST", "/api/jobs/", msgspec.json.encode(job))

    def _job(self, name: str, port: int) -> dict[str, object]:
        config, engine = self.config, self.engine
        where = ("--host", "0.0.0.0", "--port", str(port))
        told = replica_arguments(
            engine.model, engine.device, engine.chips, engine.arguments, name=engine.called
        )
        command = [config.python, *PROGRAM, *where, *told]
        given = config.resources
        if given is None:
            chip = resource("ray", engine.device)
            given = {chip: engine.chips} if chip else {}
        made: dict[str, object] = {
            "entrypoint": shlex.join(command),
            "submission_id": name,
            "metadata": {POOL: self.name, PORT: str(port)},
            "runtime_env": {"env_vars": {"PYTHONUNBUFFERED": "1", **config.environment}},
            "entrypoint_num_cpus": given.get("CPU", 0),
            "entrypoint_num_gpus": given.get("GPU", 0),
        }
        rest = {key: value for key, value in given.items() if key not in ("CPU", "GPU")}
        return made | {"entrypoint_resources": rest} if rest else made

    async def _ask(self, method: str, path: str, body: bytes = b"") -> Reply:
        headers = {"Accept": "application/json"}
        if self.config.token_file is not None:
            try:
                token = self.config.token_file.read_text("utf-8").strip()
            except OSError as error:
                raise CordeeError(f"{self.config.token_file}: {error.strerror}") from error
            headers["Authorization"] = f"Bearer {token}"
        url = self.config.address.rstrip("/") + path
        reply = await self._client.request(
            url, method=method, body=body, headers=headers, timeout_s=TIMEOUT_S
        )
        if reply.status != 200 and b"already exists" not in reply.body:
            why = reply.body[-300:].decode("utf-8", "replace").strip()
            raise CordeeError(f"{url}: answered {reply.status}: {why}")
        return reply


def _numbers(job: Job) -> tuple[int, int]:
    """Which place a job has in its pool, and how many had it before; -1: one that somebody else started."""
    found = NUMBERED.fullmatch(job.submission_id or "")
    return (int(found[1]), int(found[2])) if found else (-1, -1)
