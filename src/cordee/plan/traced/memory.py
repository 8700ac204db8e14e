"""Memory of a chip: as the emulated chip's allocator counted it, and with more or fewer layers."""

from collections.abc import Mapping, Sequence

from cordee.plan.traced.layers import Layers
from cordee.plan.traced.trace import Call, Held, Parameters, Rank


def peak_bytes(rank: Rank, calls: Sequence[Call], layers: Layers) -> float:
    """The most that the chip of that rank holds in tensors.

    Weights and optimizer states grow with parameters, what the pass forward leaves for the one backward with
    the layers' part of all that it wrote, gradients with trained parameters.
    """
    traced = max((one.peak_bytes for one in rank.held), default=0)
    if layers.times == 1 or not calls or not rank.held:
        return float(traced)
    resting = _at(rank.held, calls[0].number)
    forward = [call for call in calls if call.place.phase == "forward"]
    kept = max(traced - resting, 0)
    part = _written(forward, layers) if forward else 0.0
    heavier = _grown_bytes(rank.parameters, layers)
    early = traced + resting * (heavier - 1) + kept * part * (layers.times - 1)
    # Late in the pass backward, activations are gone and gradients are there.
    backward = [call for call in calls if call.place.phase == "backward"]
    if not backward:
        return early
    left = _at(rank.held, backward[-1].number + 1)
    late = left + resting * (heavier - 1) + max(left - resting, 0) * (layers.grown - 1)
    return max(early, late)


def _at(held: Sequence[Held], number: int) -> int:
    """What is held when that call begins."""
    before = [one.allocated_bytes for one in held if one.calls < number]
    return before[-1] if before else 0


def _written(forward: Sequence[Call], layers: Layers) -> float:
    whole = sum(one.bytes for call in forward for one in call.signature.outputs)
    inside = sum(
        one.bytes
        for call in forward
        if layers.holds(call.place.module)
        for one in call.signature.outputs
    )
    return inside / whole if whole else 0.0


def _grown_bytes(parameters: Mapping[str, Parameters], layers: Layers) -> float:
    whole = sum(one.bytes for one in parameters.values())
    inside = sum(one.bytes for name, one in parameters.items() if layers.holds(name))
    return 1 + (layers.times - 1) * inside / whole if whole else layers.times
