"""Fits calibrations to the published inference results, for use and for each of ten splits.

Run: python tools/calibrate_serving.py. It writes src/cordee/plan/calibration/serving{,_widths}.toml.
"""

import sys
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, replace
from itertools import repeat
from pathlib import Path

from cordee.plan.calibration.serving_fitting import Measure, fit_engines, fit_serving
from cordee.plan.calibration.serving_table import SERVING_NAMES, ServingCalibrations, model_of
from cordee.plan.calibration.table import ANY, Kind
from cordee.plan.costs.serving_calibration import ServingCalibration
from cordee.plan.serving.traffic import serve
from cordee.plan.validation.scoring import intervals
from cordee.plan.validation.serving_results import METRICS, serving_results
from cordee.plan.validation.serving_scoring import serving_scores
from cordee.plan.validation.serving_splits import folds, measure
from cordee.plan.validation.splits import SPLITS

TABLE = Path(__file__).parents[1] / "src/cordee/plan/calibration/serving.toml"
HEAD = (
    "# What engines make of chips in inference. Split 0 is fitted on all groups of published results, for use;\n"
    "# 1 to 5 leave groups out, 6 to 10 versions of engines. Written by tools/calibrate_serving.py.\n"
)
WIDTHS = TABLE.with_name("serving_widths.toml")
WIDE = (
    "# How far logarithms of predictions are off in 9 of 10 families of which no version of the engine was\n"
    "# known, by metric and kind. Written by tools/calibrate_serving.py.\n"
)
SOURCE = 'source = "tools/calibrate_serving.py, on the results in plan/validation/serving.toml"\n'


def main() -> None:
    """Fit each split, and write the table."""
    with ProcessPoolExecutor() as pool:
        ratios = list(pool.map(_ratios, range(len(serving_results())), chunksize=20))
        print("ratios of simulation to formula are there", file=sys.stderr)
        found = list(pool.map(_split, range(2 * SPLITS + 1), repeat(ratios)))
    TABLE.write_text("\n".join([HEAD, *(row for split in found for row in split)]), "utf-8")
    WIDTHS.write_text("\n".join([WIDE, *_widths()]), "utf-8")


def _widths() -> Iterator[str]:
    """Of versions of engines that nothing was fitted to, as a plan for tomorrow is."""
    known = serving_scores()
    for metric in METRICS:
        alike = [score for score in known if score.metric == metric and not score.calibrated]
        for kind, off in intervals(alike).items():
            yield (
                f'[[row]]\nmetric = "{metric}"\ngeneration = "{kind.generation}"\n'
                f'stack = "{kind.stack}"\nmodel = "{kind.model}"\noff = {off:.4f}\n{SOURCE}'
            )


def _ratios(place: int) -> Mapping[str, float]:
    """What the simulation makes of the formula, under a calibration as is usual."""
    one, usual = measure(serving_results()[place]), ServingCalibration()
    served = serve(one.works.decode.deployment, one.traffic, usual)
    return one.corrected(usual, served).ratios


def _split(split: int, ratios: Sequence[Mapping[str, float]]) -> list[str]:
    known = serving_results()
    where = folds(known)
    rows = [
        replace(measure(one), ratios=theirs)
        for one, theirs in zip(known, ratios, strict=True)
        if split not in (where[one.id].group, where[one.id].stack)
    ]
    first = fit_serving(rows)
    again = [_corrected(one, first) for one in rows]
    found = list(_fits(fit_engines(first, again), rows, split))
    print(f"split {split}: {len(rows)} results", file=sys.stderr)
    return found


def _corrected(one: Measure, known: ServingCalibrations) -> Measure:
    """With what the simulation makes of the formula under what was found."""
    found = known.find(one.kind, one.family)
    return one.corrected(found, serve(one.works.decode.deployment, one.traffic, found))


def _fits(known: ServingCalibrations, rows: Sequence[Measure], split: int) -> Iterator[str]:
    kinds: dict[str, Kind] = {}
    counts: Counter[Kind | str] = Counter()
    for one in rows:
        names = (one.version, one.family, model_of(one.kind, one.family))
        counts.update((one.kind, Kind(one.kind.generation), *names))
        kinds |= {name: Kind(one.kind.generation) for name in names}
    for kind, calibration in known.fitted.items():
        yield _row(kind, "", calibration, split, counts[kind])
    for column, named in (("family", known.families), ("served", known.models)):
        for name, calibration in named.items():
            line = f'{column} = "{name}"\n'
            yield _row(kinds[name], line, calibration, split, counts[name])
    versions = ", ".join(f'"{version}"' for version in sorted(known.versions))
    yield f"[[known]]\nsplit = {split}\nversions = [{versions}]\n{SOURCE}"


def _row(kind: Kind, line: str, calibration: ServingCalibration, split: int, count: int) -> str:
    values = asdict(calibration)
    shown = ", ".join(f"{name} = {values[name]:.5g}" for name in SERVING_NAMES)
    return (
        f'[[row]]\ngeneration = "{kind.generation}"\n'
        + (f'stack = "{kind.stack}"\n' if kind.stack != ANY else "")
        + (f'model = "{kind.model}"\n' if kind.model != ANY else "")
        + f"{line}split = {split}\nresults = {count}\nvalues = {{ {shown} }}\n{SOURCE}"
    )


if __name__ == "__main__":
    main()
