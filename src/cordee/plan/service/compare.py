"""A service on several kinds of chips: deployments, times to tokens, cost, energy, where the limit is."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from math import exp

from packaging.version import InvalidVersion, Version

from cordee.core.errors import UsageError
from cordee.hw.accelerator import Accelerator, Price
from cordee.plan.calibration.serving_table import ServingCalibrations, serving_calibration
from cordee.plan.calibration.serving_usual import usual_engine
from cordee.plan.calibration.serving_widths import nearest_off
from cordee.plan.calibration.table import Kind, kind_of
from cordee.plan.costs.assumed import assumed
from cordee.plan.costs.serving_calibration import ServingCalibration
from cordee.plan.deployment import Precision
from cordee.plan.model import Model
from cordee.plan.service.search import ServingPlan, find
from cordee.plan.service.wanted import Wanted
from cordee.plan.serving.engines import engines

MILLION = 1e6


@dataclass(frozen=True, slots=True, kw_only=True)
class ServingOutcome:
    """The best deployments on one kind of chip."""

    chip: Accelerator
    stack: str
    wanted: Wanted
    plans: Sequence[ServingPlan]
    tried: int
    fit: int
    price: Price | None
    off: float
    """The logarithm by which a time between tokens may be off, in 9 of 10 cases."""
    off_first: float
    """The same of a time to the first token."""
    judged_by: Kind
    warnings: tuple[str, ...]
    calibration: ServingCalibration
    """What the predictions were made with."""

    @property
    def best(self) -> ServingPlan:
        return self.plans[0]

    @property
    def between_s(self) -> tuple[float, float, float]:
        """Between two tokens, on average: the least, as predicted, and the most."""
        return _interval(self.best.served.mean_between_s, self.off)

    @property
    def first_s(self) -> tuple[float, float, float]:
        """To the first token, on average: the least, as predicted, and the most."""
        return _interval(self.best.served.mean_first_s, self.off_first)

    @property
    def cost_usd(self) -> tuple[float, float] | None:
        """Of a million tokens given, by renting the chips; None without a price."""
        if self.price is None:
            return None
        hours = self.best.deployment.chips * MILLION / self.best.tokens_per_s / 3600
        return hours * self.price.low_usd, hours * self.price.high_usd

    @property
    def energy_j(self) -> float | None:
        """Of a million tokens given, of chips at the power that they are built for."""
        if self.chip.power_w is None:
            return None
        return self.chip.power_w * self.best.deployment.chips * MILLION / self.best.tokens_per_s

    @property
    def bottleneck(self) -> str:
        """What takes most of a pass that gives tokens, and what most beside it."""
        shares = shares_of(self.best)
        first, second = sorted(shares, key=lambda name: -shares[name])[:2]
        return f"{first} {shares[first]:.0%}, {second} {shares[second]:.0%}"


def _interval(value: float, off: float) -> tuple[float, float, float]:
    return value * exp(-off), value, value * exp(off)


def shares_of(plan: ServingPlan) -> dict[str, float]:
    """Parts of the time between two tokens, by name."""
    parts = plan.parts
    named = {
        "weights": parts.weights,
        "experts": parts.experts,
        "keys and values": parts.attention,
        "vector kernels": parts.vector,
        "collectives": parts.collectives,
        "host": parts.host,
    }
    total = parts.total or 1.0
    found = {name: value / total * (1 - plan.reading_part) for name, value in named.items()}
    return found | {"others' prompts": plan.reading_part}


def serving_outcome(
    wanted: Wanted,
    chip: Accelerator,
    price: Price | None,
    calibrations: ServingCalibrations | None = None,
) -> ServingOutcome:
    """Find the best deployments on that chip. Raises `UsageError` where none does."""
    known = calibrations or serving_calibration()
    wanted.precision.products(chip)
    stack = usual_engine(chip.generation)
    kind = kind_of(chip, stack, wanted.model)
    wanted = replace(wanted, scheduling=engines().get(stack, wanted.scheduling))
    calibration = known.find(kind, family_of(known, chip, stack, wanted.model.name))
    found = find(wanted, chip, calibration)
    off, judged_by = nearest_off("TPOT", kind)
    off_first, _ = nearest_off("TTFT", kind)
    return ServingOutcome(
        chip=chip,
        stack=stack,
        wanted=wanted,
        plans=found.plans,
        tried=found.tried,
        fit=found.fit,
        price=price,
        off=off,
        off_first=off_first,
        judged_by=judged_by,
        warnings=(
            *_of_model(wanted.model),
            *_warnings(kind, chip, found.plans[0], known),
        ),
        calibration=calibration,
    )


def family_of(known: ServingCalibrations, chip: Accelerator, stack: str, model: str) -> str:
    """Of that model with that engine on that chip, under the latest version that is known.

    Where the model is known on other chips of the generation only, it is its name under the latest version on this one.
    """
    ours = f"{chip.name}/{stack} "
    names = [n for n in known.families if n.startswith(ours) and n.endswith(f"/{model}")]
    if not names and f"{chip.generation}/{stack}/{model}" in known.models:
        names = [f"{version}/{model}" for version in known.versions if version.startswith(ours)]
    return max(names, key=lambda name: (_version(name), name), default="")


def _version(family: str) -> Version:
    """Of the engine; what is no version (a nightly build, a branch) is older than all."""
    software = family.split("/")[1]
    try:
        return Version(software.partition(" ")[2])
    except InvalidVersion:
        return Version("0")


def precisions(name: str, cache: str, kinds: Sequence[Accelerator]) -> list[Precision]:
    """That dtype on each chip; beside one that has it, those that have not get the nearest that they have.

    Raises `UsageError` where none has it.
    """
    found: list[Precision | None] = []
    first: UsageError | None = None
    for chip in kinds:
        try:
            found.append(precision_for(name, cache, chip))
        except UsageError as error:
            first = first or error
            found.append(None)
    if first and not any(found):
        raise first
    return [one or nearest(cache, chip) for one, chip in zip(found, kinds, strict=True)]


def nearest(cache: str, chip: Accelerator) -> Precision:
    """8 bits where the chip multiplies in them, and keys and values in what it keeps them in."""
    return precision_for("auto", "int8" if _unkept(cache, chip) else cache, chip)


def _unkept(cache: str, chip: Accelerator) -> bool:
    """Engines on Ascend keep keys and values in what the chip reckons in; others widen 8 bits anywhere."""
    return cache == "fp8" and chip.maker == "Huawei" and "fp8" not in chip.flops_per_s


def precision_for(name: str, cache: str, chip: Accelerator) -> Precision:
    """That dtype; "auto": 8 bits where the chip multiplies in them. Raises `UsageError`."""
    found = Precision(name=_usual_dtype(chip) if name == "auto" else name, cache=cache)
    found.products(chip)
    if _unkept(cache, chip):
        raise UsageError(f"{chip.name} keeps no keys and values in fp8: --cache int8 or bf16")
    return found


def _usual_dtype(chip: Accelerator) -> str:
    """8 bits where engines serve in them: fp8, or int8 on Ascend."""
    able = chip.flops_per_s
    if "fp8" in able:
        return "fp8"
    if "int8" in able and chip.maker == "Huawei":
        return "w8a8"
    return "bf16" if "bf16" in able else "fp16"


def _warnings(
    kind: Kind, chip: Accelerator, best: ServingPlan, known: ServingCalibrations
) -> Iterator[str]:
    """Where a prediction goes beyond what was compared with published results."""
    if not known.knows_generation(kind) and not known.knows(kind):
        yield f"no published inference result on {kind.generation} chips: an extrapolation"
    elif not known.knows(kind):
        yield f"no published inference result of {kind.words}: judged by its generation"
    if best.rate_per_s > best.candidate.rate_per_s:
        yield (
            f"{best.rate_per_s:,.3g} requests/s come and {best.tokens_per_s / best.answer:,.3g} are served: where "
            "fewer are served than come the queue grows, and times are those of its first minutes"
        )
    if not best.meets:
        yield "in the simulation 9 of 10 requests do not stay within the limits: the nearest is shown"
    if chip.available:
        yield f"{chip.name} is {chip.available}"
    yield from assumed(chip)
    if chip.checked != "opened":
        yield f"figures of {chip.name} are recalled, not read"


def _of_model(model: Model) -> Iterator[str]:
    if model.has_states_of_mamba:
        yield "no published inference result of a model with state-space layers: an extrapolation"
    if model.has_streams:
        yield "no published inference result of a model with several streams: an extrapolation"


def why(best: ServingPlan, other: ServingPlan) -> str:
    """Why `other` is worse, by what takes longer."""
    ours, theirs = (seconds_of(plan) for plan in (best, other))
    more = {name: theirs[name] - ours[name] for name in ours}
    scale = best.candidate.settled.between_s
    largest = sorted(more, key=lambda name: -more[name])[:2]
    told = [f"{name} {more[name] / scale:+.0%}" for name in largest if more[name] > 0.005 * scale]
    if other.candidate.clients < best.candidate.clients * 0.9 and other.deployment.chips:
        rooms = [plan.candidate.clients * plan.deployment.replicas for plan in (best, other)]
        if rooms[1] < rooms[0] * 0.98:
            told.append(f"{rooms[1]:,} requests at once in place of {rooms[0]:,}")
    chips = other.deployment.chips - best.deployment.chips
    if chips > 0:
        head = "1 chip more" if chips == 1 else f"{chips:,} chips more"
    else:
        less = 1 - other.candidate.rate_per_s / best.candidate.rate_per_s
        head = f"{less:.1%} fewer requests" if less > 0.0005 else "a tie"
    if not other.meets and best.meets:
        head = f"misses the limits when arrivals bunch; {head}"
    return f"{head}: {', '.join(told)}" if told else head


def seconds_of(plan: ServingPlan) -> dict[str, float]:
    """Of the time between two tokens, by what takes it."""
    between = plan.candidate.settled.between_s
    return {name: share * between for name, share in shares_of(plan).items()}
