"""What comes in, and what a deployment makes of it: times to tokens, speed, percentiles."""

from collections.abc import Sequence
from dataclasses import dataclass
from random import Random
from statistics import fmean

from cordee.core.errors import UsageError
from cordee.plan.costs.assumed import NETWORK_BYTES_PER_S
from cordee.plan.costs.links import HOP_S
from cordee.plan.costs.pass_work import PassWork
from cordee.plan.costs.passes import Passes
from cordee.plan.costs.serving_calibration import ServingCalibration
from cordee.plan.deployment import Deployment, Engine
from cordee.plan.model import LatentAttention
from cordee.plan.serving.memory import holding, request_bytes
from cordee.plan.serving.queue import Simulation, Stations
from cordee.plan.serving.recorded import Recorded
from cordee.plan.serving.replica import Replica, Request, Rules

UNSETTLED = 2
"""Requests of each client that come before its queue is what it stays: where copies are nearly full, the second
still waits up to five times as long as later ones, the third no longer. Its last has others beside it that end."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Traffic:
    """Requests: so many clients who wait for their answers, or so many a second whoever waits."""

    prompt: int
    """Tokens."""
    answer: int
    clients: int | None = None
    rate_per_s: float | None = None
    """Poisson."""
    count: int = 0
    """Requests of the run; 0: enough to judge."""
    shortest: float = 1.0
    """Lengths lie between this part of those above and all of it."""
    cached: float = 0.0
    """Part of each prompt that is kept from earlier ones."""
    recorded: Sequence[Recorded] = ()
    """Those that really came: their times and lengths in place of the ones above."""

    def __post_init__(self) -> None:
        if (self.clients is None) == (self.rate_per_s is None):
            raise UsageError("traffic is given by clients, or by a rate")
        for name in ("prompt", "answer"):
            if getattr(self, name) < 1:
                raise UsageError(f"{name} = {getattr(self, name)}: 1 token or more")
        if self.clients is not None and self.clients < 1:
            raise UsageError(f"clients = {self.clients}: 1 or more")
        if self.rate_per_s is not None and not self.rate_per_s > 0:
            raise UsageError(f"rate = {self.rate_per_s} requests a second: above 0")

    @property
    def longest(self) -> int:
        """Tokens of a request at its end."""
        return max(
            (one.prompt + one.answer for one in self.recorded), default=self.prompt + self.answer
        )

    def requests(self, seed: int = 0) -> list[Request]:
        """All of a run, in the order in which they come."""
        if self.recorded:
            return [
                Request(
                    number, one.arrival_s, max(round(one.prompt * (1 - self.cached)), 1), one.answer
                )
                for number, one in enumerate(self.recorded)
            ]
        dice = Random(seed)
        now_s = 0.0
        found = []
        for number in range(self._many()):
            prompt = max(round(self.prompt * self._part(dice) * (1 - self.cached)), 1)
            answer = max(round(self.answer * self._part(dice) * self._left(number, dice)), 1)
            if self.rate_per_s is not None:
                now_s += dice.expovariate(self.rate_per_s)
            found.append(Request(number, now_s, prompt, answer))
        return found

    def _part(self, dice: Random) -> float:
        return self.shortest + (1 - self.shortest) * dice.random()

    def _left(self, number: int, dice: Random) -> float:
        """Of the first answers of clients with equal lengths: as if each had begun some time before.

        All would come and go together for ever, which real ones, with their own delays, do not.
        """
        begun = self.clients and not self.count and self.shortest == 1 and number < self.clients
        return dice.random() if begun else 1.0

    def _many(self) -> int:
        if self.count:
            return self.count
        if self.clients is None:
            return 800
        return max(min((UNSETTLED + 4) * self.clients, 200), (UNSETTLED + 2) * self.clients)


@dataclass(frozen=True, slots=True, kw_only=True)
class Served:
    """What came of a run."""

    first_s: tuple[float, ...]
    """Of each request, until its first token; sorted."""
    between_s: tuple[float, ...]
    """Of each request, between two tokens on average; sorted."""
    output_tokens_per_s: float
    requests_per_s: float
    preempted: int
    """How often one was put back for want of room."""

    @property
    def mean_first_s(self) -> float:
        """To the first token, on average."""
        return fmean(self.first_s or (0.0,))

    @property
    def mean_between_s(self) -> float:
        """Between tokens, on average over requests."""
        return fmean(self.between_s or (0.0,))

    def first(self, part: float) -> float:
        """Seconds to the first token that this part of the requests stays below."""
        return _quantile(self.first_s, part)

    def between(self, part: float) -> float:
        """Seconds between tokens that this part of the requests stays below."""
        return _quantile(self.between_s, part)


def _quantile(values: Sequence[float], part: float) -> float:
    if not values:
        return 0.0
    place = part * (len(values) - 1)
    low = int(place)
    high = min(low + 1, len(values) - 1)
    return values[low] + (values[high] - values[low]) * (place - low)


def serve(
    deployment: Deployment, traffic: Traffic, calibration: ServingCalibration, seed: int = 0
) -> Served:
    """Run the traffic through the deployment."""
    stations = stations_of(deployment, traffic, calibration)
    simulation = Simulation(stations, traffic.requests(seed), traffic.clients)
    done = simulation.run()
    replicas = [*stations.decode, *stations.prefill]
    preempted = sum(replica.preempted for replica in replicas)
    if traffic.clients and not traffic.count:
        settled = done[UNSETTLED * traffic.clients : -traffic.clients]
        return _settled(settled, traffic.clients, preempted)
    last = max(request.end_s for request in done)
    begun = min(request.arrival_s for request in done)
    return _served(done, preempted, len(done) / max(last - begun, 1e-9))


def _settled(done: Sequence[Request], clients: int, preempted: int) -> Served:
    """Without those who came first or last, when all came or went at once; by Little's law, so many are served."""
    stay_s = fmean(request.end_s - request.arrival_s for request in done)
    return _served(done, preempted, clients / stay_s)


def _served(done: Sequence[Request], preempted: int, requests_per_s: float) -> Served:
    return Served(
        first_s=tuple(sorted(one.first_s - one.arrival_s for one in done)),
        between_s=tuple(
            sorted((one.end_s - one.first_s) / (one.answer - 1) for one in done if one.answer > 1)
        ),
        output_tokens_per_s=requests_per_s * fmean(request.answer for request in done),
        requests_per_s=requests_per_s,
        preempted=preempted,
    )


def stations_of(
    deployment: Deployment, traffic: Traffic, calibration: ServingCalibration
) -> Stations:
    """Its copies as stations of the simulation. Raises `UsageError` where a copy does not fit."""
    apart = deployment.prefill
    decode = _rules(deployment, deployment.engine, traffic, calibration, reads=apart is None)
    prefill: list[Replica] = []
    if apart is not None:
        own = _rules(deployment, apart, traffic, calibration, reads=True, gives=False)
        prefill = [Replica(own) for _ in range(deployment.prefill_replicas)]
    return Stations(
        decode=[Replica(decode) for _ in range(deployment.replicas)],
        prefill=prefill,
        transfer_s=lambda prompt: transfer_s(deployment, calibration, prompt),
        request_s=calibration.request_s,
        crowd_s=calibration.crowd_s,
    )


def _rules(
    deployment: Deployment,
    engine: Engine,
    traffic: Traffic,
    calibration: ServingCalibration,
    *,
    reads: bool,
    gives: bool = True,
) -> Rules:
    held = holding(deployment, engine, traffic.longest)
    if not held.fits:
        raise UsageError(does_not_fit(deployment, engine, traffic))
    scheduling = deployment.scheduling
    passes = Passes(PassWork(deployment, engine), calibration)
    return Rules(
        pass_s=passes.seconds,
        groups=engine.data,
        room=held.requests * traffic.longest,
        chunk=scheduling.chunk,
        mixed=scheduling.mixed and reads and gives,
        most=scheduling.most * engine.data if gives else None,
        reserved=scheduling.reserved,
        polls=scheduling.polls,
        gathers=scheduling.gathers,
        per_pass=deployment.drafting.per_pass(calibration.acceptance) if gives else 1.0,
        gives=gives,
    )


def does_not_fit(deployment: Deployment, engine: Engine, traffic: Traffic) -> str:
    """What does not, and by how much."""
    gib = 2**30
    held = holding(deployment, engine, traffic.longest)
    have = deployment.chip.memory_bytes
    return (
        f"{deployment.model.name} in {deployment.precision.name} does not fit on {engine.words} of "
        f"{deployment.chip.name}: a chip needs {held.weights / gib:,.1f} GiB for weights, "
        f"{(held.activations + held.libraries) / gib:,.1f} for passes and libraries and "
        f"{held.request_bytes / gib:,.2f} for one request of {traffic.longest:,} tokens, of "
        f"{have / gib:,.0f} that it has"
    )


def transfer_s(deployment: Deployment, calibration: ServingCalibration, prompt: int) -> float:
    """Keys and values of a prompt, from the chips that read it to those that give its tokens."""
    apart = deployment.prefill
    if apart is None:
        return 0.0
    size = request_bytes(deployment, apart, prompt) * apart.tensor * apart.pipeline
    latent = deployment.model.kv_numbers and apart.tensor > 1 and _is_latent(deployment)
    size /= apart.tensor if latent else 1
    rate = (deployment.chip.network_bytes_per_s or NETWORK_BYTES_PER_S) * calibration.network
    return size / (rate * min(apart.tensor, deployment.engine.tensor)) + HOP_S


def _is_latent(deployment: Deployment) -> bool:
    mixers = (one for layer, _ in deployment.model.kinds for one in layer.mixers)
    return any(isinstance(one, LatentAttention) for one in mixers)
