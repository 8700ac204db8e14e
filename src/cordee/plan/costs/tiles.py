"""How much longer a matrix product takes than its arithmetic: its result is cut into tiles for cores.

A core makes one tile at a time, and tiles are seldom a multiple of the cores: NVIDIA, Matrix
Multiplication Background User's Guide, docs.nvidia.com/deeplearning/performance/
dl-performance-matrix-multiplication, sections on tile and wave quantization.
"""

from functools import cache
from math import ceil

TILES = (
    (256, 128, 1.0),
    (128, 256, 1.0),
    (128, 128, 0.92),
    (64, 256, 0.85),
    (64, 128, 0.75),
    (16, 128, 0.4),
)
"""Rows, columns and the rate of a core beside that of the largest, of which a library takes the best."""
PARTIAL = 0.5
"""What of a last wave that is not full is lost: libraries share out some of its tiles along k."""


@cache
def lost_to_tiles(m: float, n: float, count: int, cores: int) -> float:
    """1 where tiles fit the result and the cores, more where they do not."""
    return min(_lost(m, n, count, cores, tile) for tile in TILES)


def _lost(m: float, n: float, count: int, cores: int, tile: tuple[int, int, float]) -> float:
    rows, columns, rate = tile
    waves = ceil(m / rows) * ceil(n / columns) * count / cores
    taken = waves + PARTIAL * (ceil(waves) - waves)
    return taken * rows * columns * cores / (m * n * count * rate)
