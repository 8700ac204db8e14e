"""A run over time as inline SVG: a lane a rank, operators above, collectives and waits below.

Time is cut into bins, and the height in a bin is the share of it: what is drawn does not grow with
the length of the run.
"""

from collections.abc import Iterator, Sequence
from html import escape

from cordee.emulator.report.numbers import seconds_text
from cordee.emulator.timeline import Lane, Span, Timeline
from cordee.emulator.timeline.spans import shares

WIDTH = 1180
RIGHT, TOP, BOTTOM = 12, 6, 24
LETTER = 6.6  # width of one in the labels
BINS = 560
SQUARES = 9000  # bins times lanes: more make the page slow
ROW_TALL, ROW_LOW, GAP = 13, 4, 4
TALL_UP_TO = 8  # lanes
LINE = 14  # height of a label: below it every second lane has one


def lane_plot(timeline: Timeline, window: Span) -> str:
    """What each lane did in `window`."""
    lanes = timeline.lanes
    row = (
        ROW_TALL if len(lanes) <= TALL_UP_TO else max(ROW_LOW, ROW_TALL * TALL_UP_TO // len(lanes))
    )
    pitch = 2 * row + GAP
    left = 16 + LETTER * max(len(lane.label) for lane in lanes)
    height = TOP + pitch * len(lanes) + BOTTOM
    parts = [*_grid(window, timeline.whole, left, height)]
    bins = min(BINS, max(60, SQUARES // len(lanes)))
    for i, lane in enumerate(lanes):
        top = TOP + i * pitch
        if pitch >= LINE or i % 2 == 0:
            parts.append(
                f'<text x="{left - 8:.0f}" y="{top + row + 4}" text-anchor="end">{escape(lane.label)}</text>'
            )
        parts += _lane(lane, window, bins, (left, top, row))
    title = f"what each of {len(lanes)} lanes did during {seconds_text(window.length_s)}"
    return (
        f'<svg class="plot lanes" viewBox="0 0 {WIDTH} {height}" role="img" aria-label="{escape(title)}">'
        f"<title>{escape(title)}</title>{''.join(parts)}</svg>"
    )


def _lane(lane: Lane, window: Span, bins: int, place: tuple[float, int, int]) -> Iterator[str]:
    left, top, row = place
    width = (WIDTH - RIGHT - left) / bins
    computing = _heights(shares(lane.computing, window, bins), row)
    moving = _heights(shares(lane.moving, window, bins), row)
    waiting = _heights(shares(lane.waiting, window, bins), row)
    # Where both are in a bin, the wait gives way.
    waiting = [min(wait, row - move) for wait, move in zip(waiting, moving, strict=True)]
    lower = top + row + 1
    yield f'<rect class="track" x="{left:.1f}" y="{top}" width="{bins * width:.1f}" height="{2 * row + 1}"/>'
    yield _columns("computing", computing, [top + row - h for h in computing], left, width)
    yield _columns("moving", moving, [lower] * bins, left, width)
    yield _columns("waiting", waiting, [lower + h for h in moving], left, width)


def _heights(found: Sequence[float], row: int) -> list[int]:
    """In whole pixels, and something where there is anything."""
    return [max(1, round(share * row)) if share > 0 else 0 for share in found]


def _columns(
    kind: str, heights: Sequence[int], tops: Sequence[int], left: float, width: float
) -> str:
    """One path of rectangles; neighbours that are alike become one."""
    path = []
    begin = 0
    for i in range(1, len(heights) + 1):
        if i < len(heights) and (heights[i], tops[i]) == (heights[begin], tops[begin]):
            continue
        if heights[begin]:
            x, across = left + begin * width, (i - begin) * width
            path.append(f"M{x:.1f} {tops[begin]}h{across:.1f}v{heights[begin]}h-{across:.1f}z")
        begin = i
    return f'<path class="{kind}" d="{"".join(path)}"/>' if path else ""


def _grid(window: Span, whole: Span, left: float, height: int) -> Iterator[str]:
    step_s = _step_s(window.length_s)
    offset_s = window.begin_s - whole.begin_s
    first = -int(-offset_s // step_s)
    scale = (WIDTH - RIGHT - left) / window.length_s
    for i in range(first, int((offset_s + window.length_s) / step_s) + 1):
        x = left + (i * step_s - offset_s) * scale
        yield f'<line class="grid" x1="{x:.1f}" x2="{x:.1f}" y1="{TOP}" y2="{height - BOTTOM}"/>'
        yield (
            f'<text x="{x:.1f}" y="{height - BOTTOM + 16}" text-anchor="middle">'
            f"{_moment(i * step_s, step_s)}</text>"
        )


def _step_s(length_s: float) -> float:
    """1, 2 or 5 times a power of ten, so that there are four to ten of them."""
    step_s = 1e-6
    for factor in (2, 2.5, 2) * 20:
        if length_s / step_s <= 10:
            break
        step_s *= factor
    return step_s


def _moment(moment_s: float, step_s: float) -> str:
    digits = next((digits for digits in range(7) if step_s >= 0.99 * 10**-digits), 6)
    return f"{moment_s:.{digits}f} s"
