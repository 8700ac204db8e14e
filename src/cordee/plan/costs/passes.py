"""Seconds of a pass of an engine: what is linear in tokens seen, and the rest over a grid of sizes."""

from dataclasses import dataclass
from math import ceil, log

from cordee.plan.costs.assumed import MEMORY_BYTES_PER_S
from cordee.plan.costs.links import Group, Links
from cordee.plan.costs.pass_work import PassWork, Products
from cordee.plan.costs.serving_calibration import ServingCalibration
from cordee.plan.costs.units import reached
from cordee.plan.work.operators import Collective
from cordee.plan.work.passes import Reading, Scoring

GRID = 1.25
"""Ratio of sizes between which times are interpolated."""
PEER = 0.5
"""Of a collective's wait, that it is longer for each further chip that gets something of its own.

DeepEP sends what 8 chips get in 77 µs, and as much in 173 where 64 get it: github.com/deepseek-ai/DeepEP, docs/legacy.md.
"""
PYTHON = 6
"""How many times a captured launch one from Python takes: 30 µs, where training starts too."""
SOFT = 3
"""Of a roofline's corner: work and traffic overlap, but not all of either."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """What a pass does, on one of the groups that attend apart."""

    given: float = 0.0
    """Requests that get a token."""
    seen: float = 0.0
    """Tokens that each of them has behind it, on average."""
    read: float = 0.0
    """Tokens of prompts, of the group that reads most."""
    others: float = 1.0
    """What the other groups read, as a part of that."""
    met: float = 0.0
    """Tokens that each of these meets, on average: of its prompt, itself and those before it."""


@dataclass(frozen=True, slots=True)
class Parts:
    """Seconds of a pass by kind of work."""

    weights: float = 0.0
    """Products, bound by weights that are read or by arithmetic."""
    experts: float = 0.0
    attention: float = 0.0
    vector: float = 0.0
    collectives: float = 0.0
    host: float = 0.0

    @property
    def total(self) -> float:
        return (
            self.weights
            + self.experts
            + self.attention
            + self.vector
            + self.collectives
            + self.host
        )


class Passes:
    """Times of one engine's passes. `exact` reckons every size; else between two of a grid."""

    def __init__(
        self, work: PassWork, calibration: ServingCalibration, *, exact: bool = False
    ) -> None:
        self.work, self.calibration, self._exact = work, calibration, exact
        self.deployment, self.engine = work.deployment, work.engine
        deployment, chip = work.deployment, work.deployment.chip
        dtype = deployment.precision.products(chip)
        half = chip.flops_per_s.get("bf16") or chip.flops_per_s.get("fp16")
        self._half = half or chip.peak_flops_per_s(dtype) / 2
        self._rate = chip.peak_flops_per_s(dtype) * calibration.matmul_of(dtype)
        mixture = deployment.model.is_mixture
        dense = deployment.precision.multiplies(chip, is_expert=False, mixture=mixture)
        self._dense_rate = chip.flops_per_s.get(dense, self._half) * calibration.matmul_of(dense)
        self._dense_rate *= reached(chip.generation, dense).dense
        self._of_experts = reached(chip.generation, dtype).experts
        self._memory = chip.memory_bytes_per_s or MEMORY_BYTES_PER_S
        self._links = Links(
            chip=chip,
            link=calibration.link,
            network=calibration.network,
            latency_s=calibration.collective_s,
        )
        self._known: dict[tuple[int, int, float], tuple[float, int]] = {}

    def seconds(self, batch: Batch) -> float:
        """Of a pass."""
        stages = self.engine.pipeline
        given, read = batch.given / stages, batch.read / stages
        drafting = self.deployment.drafting
        rows = given * (1 + drafting.tokens)
        part = (rows + read * batch.others) / (rows + read) if read else 1.0
        body, kernels = self._body(rows + read, given, _rounded(part))
        chip = body + self._attending_s(batch) / stages
        chip += self._sends_s(rows + read)
        if batch.given and drafting.tokens:
            chip *= 1 + drafting.tokens * drafting.cost
        scheduling = self.deployment.scheduling
        if batch.read or not scheduling.captured:
            # Launched one by one: the slower of chip and host, softly.
            quick = scheduling.captured and (scheduling.recorded or not batch.read)
            chip = _soft(chip, kernels * self.calibration.launch_s * (1 if quick else PYTHON))
        if batch.read:
            chip *= self.calibration.prefill
        return chip + self._host_s(batch)

    def parts(self, batch: Batch) -> Parts:
        """Where the seconds of a pass over tokens to give go."""
        stages = self.engine.pipeline
        given = batch.given / stages
        found, _ = self._at(given * (1 + self.deployment.drafting.tokens), given, 1.0)
        more = self.seconds(batch) - found.total - self._attending_s(batch) / stages
        return Parts(
            found.weights,
            found.experts,
            self._attending_s(batch) / stages,
            found.vector,
            found.collectives,
            max(more, 0.0),
        )

    def _host_s(self, batch: Batch) -> float:
        known = self.calibration
        return known.pass_s + known.sequence_s * (batch.given + (1 if batch.read else 0))

    def _sends_s(self, tokens: float) -> float:
        """Between stages."""
        stages = self.engine.pipeline
        if stages == 1:
            return 0.0
        node = self.deployment.chip.supernode_chips or self.deployment.chip.chips_per_node
        group = Group(size=stages, within=2 if 2 * self.engine.stage <= node else 1)
        size = tokens * self.deployment.model.hidden * 2 / self.engine.tensor
        message = Collective("between stages", "send", size, "pipeline")
        return stages * self._links.seconds(message, group)

    def _attending_s(self, batch: Batch) -> float:
        """Attention over what is kept, for tokens given, and within prompts."""
        seconds = 0.0
        if batch.given:
            for one, layers in self.work.readings:
                seconds += layers * self._reading_s(one, batch)
        if batch.read:
            rate = self._half * self.calibration.attention
            for scored, layers in self.work.scorings:
                worked = _scoring_flops(batch, scored) / rate
                moved = batch.read * scored.token_bytes / self._memory
                seconds += layers * (_soft(worked, moved) if moved else worked)
        return seconds

    def _reading_s(self, one: Reading, batch: Batch) -> float:
        seen = batch.seen if one.window is None else min(batch.seen, one.window)
        size = seen * one.size_bytes + batch.seen * one.index_bytes + one.state_bytes
        moved = batch.given * size / (self._memory * self.calibration.cache)
        rows = 1 + self.deployment.drafting.tokens
        worked = batch.given * seen * one.flops * rows / (self._half * self.calibration.matmul)
        return _soft(moved, worked)

    def _body(self, tokens: float, given: float, part: float) -> tuple[float, int]:
        """Everything but attention, between two sizes of a grid."""
        if self._exact:
            parts, kernels = self._at(max(tokens, 1.0), given, part)
            return parts.total, kernels
        place = log(max(tokens, 1.0)) / log(GRID)
        low = int(place)
        ahead = place - low
        first, kernels = self._known_at(low, given, part)
        if ahead < 1e-9:
            return first, kernels
        second, _ = self._known_at(low + 1, given, part)
        return first * (1 - ahead) + second * ahead, kernels

    def _known_at(self, place: int, given: float, part: float) -> tuple[float, int]:
        rough = ceil(log(max(given, 1.0)) / log(GRID) - 1e-9)
        key = place, rough, part
        if key not in self._known:
            parts, kernels = self._at(GRID**place, GRID**rough, part)
            self._known[key] = parts.total, kernels
        return self._known[key]

    def _at(self, tokens: float, given: float, part: float) -> tuple[Parts, int]:
        count, known = self.work.count(tokens, given, part), self.calibration
        weights = experts = collectives = 0.0
        for product in count.products:
            seconds = product.times * (self._product_s(product) + known.kernel_s)
            if product.is_expert:
                experts += seconds
            else:
                weights += seconds
        for one in count.collectives:
            moving_s = max(one.within_s / known.link, one.between_s / known.network)
            waiting_s = known.collective_s * (1 + PEER * (one.peers - 1))
            collectives += one.times * (moving_s + one.hops_s + waiting_s)
        vector = count.vector_bytes * known.vector / self._memory
        vector += count.vector_kernels * known.kernel_s
        return Parts(weights, experts, 0.0, vector, collectives, 0.0), count.kernels

    def _product_s(self, product: Products) -> float:
        known = self.calibration
        rate, stream, more = self._dense_rate, self._memory * known.stream, 1.0
        if product.is_expert:
            rate = self._rate * known.expert
            stream *= known.expert
            more = known.imbalance if self.engine.expert > 1 else 1.0
        own = product.flops / (self._of_experts if product.is_expert else 1.0)
        worked = (own + known.edge * product.row_flops) / rate
        moved = product.weight_bytes / stream + product.other_bytes / self._memory
        return more * _soft(worked, moved)


def _rounded(part: float) -> float:
    """To eighths, so that few sizes are reckoned."""
    return ceil(part * 8) / 8


def _soft(one: float, other: float) -> float:
    """The larger, and a little more where they are alike."""
    return float((one**SOFT + other**SOFT) ** (1 / SOFT))


def _scoring_flops(batch: Batch, scored: Scoring) -> float:
    """Of one layer: each token meets those behind it, all of them or those that its window has."""
    if scored.window == 0:
        return batch.read * scored.token_flops
    index = batch.read * batch.met * scored.index_flops / 2  # in 8 bits, which are twice as fast
    seen = batch.met if scored.window is None else min(batch.met, scored.window)
    longer = scored.window is not None and 2 * batch.met > scored.window
    if scored.latent_flops and longer:
        return index + batch.read * seen * scored.latent_flops
    return index + batch.read * seen * scored.flops
