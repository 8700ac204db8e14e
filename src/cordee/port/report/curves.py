"""The losses of two runs as lines in one drawing: a line for the CPU, rings on it for the chip."""

import math
from collections.abc import Iterator, Sequence

from markupsafe import Markup

from cordee.core.pages.chart import Scale, drawing, grid, lines
from cordee.core.pages.numbers import plural
from cordee.port.prove.losses import LossComparison

MOST_RINGS = 40  # more would hide the line that they lie on


def curves(loss: LossComparison) -> Markup:
    """Both runs over the values in the order they were printed; empty where nothing is finite."""
    finite = [value for side in (loss.chip, loss.cpu) for value in side if math.isfinite(value)]
    if not finite:
        return Markup("")
    scale = Scale(max(len(loss.chip), len(loss.cpu)), min(finite), max(finite))
    words = f"{loss.name}: {plural(len(loss.chip), 'value')} on the virtual chip, {len(loss.cpu)} on the CPU"
    on_cpu, on_chip = lines(loss.cpu, scale, "cpu"), lines(loss.chip, scale, "chip")
    return drawing("curves", words, (*grid(scale), *on_cpu, *on_chip, *_rings(loss.chip, scale)))


def _rings(values: Sequence[float], scale: Scale) -> Iterator[str]:
    """On the chip's values, as often as there is room for."""
    every = max(1, math.ceil(len(values) / MOST_RINGS))
    for at in range(0, len(values), every):
        if math.isfinite(values[at]):
            x, y = scale.x(at), scale.y(values[at])
            yield f'<circle class="chip" cx="{x:.1f}" cy="{y:.1f}" r="4.2"><title>{at + 1}: {values[at]:.6g}</title></circle>'
