"""Chips side by side: every figure, how it relates to the first chip's, and where sources differ."""

from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import Any

from rich.table import Table

from cordee.core.tables import side_by_side, table
from cordee.hw.accelerator import DTYPES, Accelerator, Catalogue, Price

GIB = 2**30
LEGEND = (
    "* part of a package, or not to be had yet; ~ sources differ; ? recalled, not read: "
    "cordee plan chips NAME says more"
)


def all_of(catalogue: Catalogue, chips: Sequence[Accelerator]) -> Table:
    """One line for each chip, in the 80 columns of a terminal."""
    figures = ("bf16", "fp8", "int8", "GiB", "GB/s", "link", "node", "net", "W")
    title = "TFLOPS; GB/s of memory, of links and network one way; watts"
    shown = table(("chip", "maker"), figures, ("",), title)
    shown.padding = (0, 1, 0, 0)
    for chip in chips:
        shown.add_row(chip.name, chip.maker, *_figures(chip), _marks(catalogue, chip))
    return shown


def _figures(chip: Accelerator) -> Iterator[str]:
    half = chip.flops_per_s.get("bf16", chip.flops_per_s.get("fp16"))
    yield _number(half, 1e12)
    yield _number(chip.flops_per_s.get("fp8"), 1e12)
    yield _number(chip.flops_per_s.get("int8"), 1e12)
    yield _number(chip.memory_bytes, GIB)
    yield _number(chip.memory_bytes_per_s, 1e9)
    yield _number(chip.link_bytes_per_s, 1e9)
    yield f"{chip.supernode_chips or chip.chips_per_node}"
    yield _number(chip.network_bytes_per_s, 1e9)
    yield _number(chip.power_w, 1)


def _marks(catalogue: Catalogue, chip: Accelerator) -> str:
    marks = {
        "*": chip.part or chip.available,
        "~": catalogue.disputed(chip),
        "?": chip.checked != "opened",
    }
    return "".join(mark for mark, is_so in marks.items() if is_so)


def comparison(catalogue: Catalogue, chips: Sequence[Accelerator]) -> Table:
    """One line for each figure, with what it is of the first chip's."""
    shown = side_by_side((chip.name for chip in chips), ())
    for title, values, unit in _lines(chips):
        if any(value is not None for value in values):
            shown.add_row(title, *_cells(values, unit))
    for kind, title in (("rent", "USD an hour"), ("buy", "USD to buy")):
        prices = [catalogue.price(chip, kind) for chip in chips]
        if any(prices):
            shown.add_row(title, *(_price(price) for price in prices))
    return shown


def _lines(chips: Sequence[Accelerator]) -> Iterator[tuple[str, list[float | None], float]]:
    for dtype in DTYPES:
        yield f"TFLOPS {dtype}", [chip.flops_per_s.get(dtype) for chip in chips], 1e12
    yield "vector TFLOPS fp16", [chip.vector_flops_per_s.get("fp16") for chip in chips], 1e12
    yield "memory GiB", [chip.memory_bytes for chip in chips], GIB
    yield "memory GB/s", [chip.memory_bytes_per_s for chip in chips], 1e9
    yield "link GB/s, one way", [chip.link_bytes_per_s for chip in chips], 1e9
    yield "to one peer GB/s", [peer_bytes_per_s(chip) for chip in chips], 1e9
    yield "network GB/s, one way", [chip.network_bytes_per_s for chip in chips], 1e9
    yield "chips in a node", [chip.chips_per_node for chip in chips], 1
    yield "chips in a super-node", [chip.supernode_chips for chip in chips], 1
    yield "power W", [chip.power_w for chip in chips], 1


def peer_bytes_per_s(chip: Accelerator) -> float | None:
    """The rate between two chips of a node: all of it over a switch, a share of it over a mesh."""
    if chip.link_bytes_per_s is None:
        return None
    return chip.link_bytes_per_s / (chip.link_peers or 1)


def _cells(values: Sequence[float | None], unit: float) -> Iterator[str]:
    first = values[0]
    for place, value in enumerate(values):
        ratio = f"  x{value / first:.2f}" if place and first and value else ""
        yield _number(value, unit) + ratio


def _number(value: float | None, unit: float) -> str:
    if value is None:
        return "-"
    shown = value / unit
    return f"{shown:,.0f}".replace(",", " ") if shown >= 1000 else f"{shown:.4g}"


def _price(price: Price | None) -> str:
    if price is None:
        return "-"
    low, high = f"{price.low_usd:,.6g}", f"{price.high_usd:,.6g}"
    return f"{low if low == high else f'{low} to {high}'} ({price.date})"


def remarks(catalogue: Catalogue, chips: Sequence[Accelerator]) -> Iterator[str]:
    """What to know before one of these figures is relied on: other values, and sources."""
    for chip in chips:
        if chip.part:
            yield f"{chip.name}: a chip is {chip.part}"
        if chip.available:
            yield f"{chip.name}: {chip.available}"
        if chip.checked != "opened":
            yield f"{chip.name}: figures as remembered; read them again in {chip.source}"
        for other in catalogue.disputed(chip):
            yield f"{chip.name}: {other.figure}: also {other.value} [{other.source}]"
        yield f"{chip.name}: source: {chip.source}"


def as_data(catalogue: Catalogue, chips: Sequence[Accelerator]) -> list[dict[str, Any]]:
    """The same for a machine."""
    return [
        asdict(chip)
        | {
            "disagreements": [asdict(other) for other in catalogue.disputed(chip)],
            "prices": [asdict(price) for price in catalogue.prices if price.chip == chip.name],
        }
        for chip in chips
    ]
