"""What the passes of an engine do, counted once for every size, so that times are quick to have."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

from cordee.plan.costs.links import HOP_S, Group, Links, turns_of
from cordee.plan.costs.units import least_heads
from cordee.plan.deployment import BITS, Deployment, Engine, Precision
from cordee.plan.model import Model
from cordee.plan.work.operators import Collective, Vector
from cordee.plan.work.passes import (
    HALF,
    PassOperator,
    Product,
    Shape,
    head_operators,
    layer_operators,
    readings,
    scorings,
)

NARROW = ("fp8", "int8", "fp4")
"""What rows must be brought into, before they are multiplied, by a kernel of its own."""


@dataclass(frozen=True, slots=True)
class Products:
    """Alike products with weights, of a pass."""

    times: int
    flops: float
    row_flops: float
    """That one row more would cost."""
    weight_bytes: float
    other_bytes: float
    """That come in and go out."""
    is_expert: bool


@dataclass(frozen=True, slots=True)
class Collectives:
    """Alike collectives of a pass."""

    times: int
    within_s: float
    """Within nodes, at the peak of links."""
    between_s: float
    hops_s: float
    """On the way through nodes."""
    peers: int
    """Chips that each sends to by itself."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PassCount:
    """Everything but attention, of one pass."""

    products: tuple[Products, ...]
    collectives: tuple[Collectives, ...]
    vector_bytes: float
    vector_kernels: int

    @property
    def kernels(self) -> int:
        """That the host starts."""
        return self.vector_kernels + sum(product.times for product in self.products)


class PassWork:
    """What the passes of one engine do."""

    def __init__(self, deployment: Deployment, engine: Engine) -> None:
        self.deployment, self.engine = deployment, engine
        model, chip = deployment.model, deployment.chip
        node = chip.supernode_chips or chip.chips_per_node
        self._groups = {
            "tensor": Group(size=engine.tensor, within=min(engine.tensor, node)),
            "stage": Group(size=engine.stage, within=min(engine.stage, node)),
        }
        self._links = Links(chip=chip, link=1.0, network=1.0)
        mixers = [(one, n) for layer, n in model.kinds for one in layer.mixers]
        precision = deployment.precision
        self.readings = [(r, n) for one, n in mixers for r in readings(one, engine, precision)]
        least = least_heads(chip.generation)
        self.scorings = [(s, n) for one, n in mixers for s in scorings(one, engine, least)]
        wires = (chip.link_bytes_per_s, chip.link_peers, chip.network_bytes_per_s, node)
        self._row_bytes = {
            is_expert: _row_bytes(
                precision.multiplies(chip, is_expert=is_expert, mixture=model.is_mixture)
            )
            for is_expert in (False, True)
        }
        self._known = _counts(model, precision, engine, (*wires, *self._row_bytes.values()))

    def count(self, tokens: float, given: float, part: float) -> PassCount:
        """Of a pass over so many tokens, of which so many are given; other groups have `part` of them."""
        key = tokens, given, part
        if key not in self._known:
            self._known[key] = self._count(tokens, given, part)
        return self._known[key]

    def _count(self, tokens: float, given: float, part: float) -> PassCount:
        found = Counter[PassOperator]()
        for operator, times in self._operators(tokens, given, part):
            found[operator] += times
        products: list[Products] = []
        collectives: list[Collectives] = []
        size, kernels = 0.0, 0
        for operator, times in found.items():
            if isinstance(operator, Vector):
                size += times * operator.size_bytes
                kernels += times * operator.kernels
            elif isinstance(operator, Product):
                products.append(_products(operator, times))
                width = self._row_bytes[operator.is_expert]
                if width < HALF and not (operator.is_plain or operator.is_narrow):
                    size += times * operator.m * operator.k * (HALF + width)
                    kernels += times
            else:
                collectives += self._collectives(operator, times)
        return PassCount(
            products=tuple(products),
            collectives=tuple(collectives),
            vector_bytes=size,
            vector_kernels=kernels,
        )

    def _operators(
        self, tokens: float, given: float, part: float
    ) -> Iterator[tuple[PassOperator, int]]:
        deployment = self.deployment
        others = (self.engine.data - 1) * part
        shape = Shape(
            model=deployment.model,
            engine=self.engine,
            precision=deployment.precision,
            tokens=tokens,
            all_tokens=tokens * (1 + others),
            row_bytes=self._row_bytes[True],
        )
        for operator in head_operators(shape, max(given, 1.0)):
            yield operator, 1
        for layer, count in deployment.model.kinds:
            for operator in layer_operators(shape, layer):
                yield operator, count

    def _collectives(self, one: Collective, times: int) -> Iterator[Collectives]:
        group = self._groups[one.group]
        if group.size > 1:
            within, between = self._links.moving_s(one, group)
            hops = HOP_S * (group.nodes - 1)
            peers = group.size - 1 if one.pattern == "exchange" else 1
            yield Collectives(times * turns_of(one), within, between, hops, peers)


@lru_cache(maxsize=512)
def _counts(
    model: Model, precision: Precision, engine: Engine, wires: tuple[float | None, ...]
) -> dict[tuple[float, float, float], PassCount]:
    """What is counted already of such passes: searches for other limits, or on a chip that is faster, count the same."""
    return {}


def _row_bytes(dtype: str) -> float:
    """Of a number of a row, as it is multiplied."""
    return BITS[dtype] / 8 if dtype in NARROW else HALF


def _products(product: Product, times: int) -> Products:
    return Products(
        times=times,
        flops=product.flops,
        row_flops=product.flops * product.count / max(product.m, product.count),
        weight_bytes=product.weight_bytes,
        other_bytes=product.other_bytes,
        is_expert=product.is_expert,
    )
