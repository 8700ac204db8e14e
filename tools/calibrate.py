"""Fits calibrations to the published training results, for use and for each of five splits.

Run: python tools/calibrate.py. It writes src/cordee/plan/calibration/{training,paces}.toml.
"""

import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path

from cordee.plan.calibration.fitting import Measured, fit_all
from cordee.plan.calibration.table import ANY, NAMES, Calibrations, Kind
from cordee.plan.validation.results import results
from cordee.plan.validation.scoring import intervals, scores
from cordee.plan.validation.splits import SPLITS, held_out, measured

FOLDER = Path(__file__).parents[1] / "src/cordee/plan/calibration"
FITS = (
    "# What generations of chips and their software make of the peaks. Split 0 is fitted on all groups of\n"
    "# published results, for use; 1 to 5 leave groups out, for validation. Written by tools/calibrate.py.\n"
)
PACES = (
    "# By how much steps are longer with a version of the software on a chip than its calibration says.\n"
    "# Written by tools/calibrate.py.\n"
)
WIDTHS = (
    "# How far logarithms of predictions are off in 9 of 10 groups that were left out, by kind; rows without a\n"
    "# generation hold for all. Written by tools/calibrate.py.\n"
)
SOURCE = (
    'source = "tools/calibrate.py, on the published results in plan/validation/training.toml"\n'
)


def main() -> None:
    """Fit each split, and write both tables."""
    known = results()
    folds = held_out(known)
    every = [(measured(result), folds[result.group]) for result in known]
    fits, paces = [FITS], [PACES]
    for split in range(SPLITS + 1):
        rows = [one for one, fold in every if fold != split]
        print(f"split {split}: {len(rows)} results", file=sys.stderr)
        calibrations = fit_all(rows)
        fits += _fits(calibrations, rows, split)
        paces += _paces(calibrations, rows, split)
    (FOLDER / "training.toml").write_text("\n".join(fits))
    (FOLDER / "paces.toml").write_text("\n".join(paces))
    (FOLDER / "widths.toml").write_text("\n".join([WIDTHS, *_widths()]))


def _widths() -> Iterator[str]:
    for kind, off in intervals(scores()).items():
        yield (
            f'[[row]]\ngeneration = "{kind.generation}"\nstack = "{kind.stack}"\n'
            f'model = "{kind.model}"\noff = {off:.4f}\n{SOURCE}'
        )


def _fits(calibrations: Calibrations, rows: Sequence[Measured], split: int) -> Iterator[str]:
    counts = Counter(one.kind for one in rows)
    counts.update(Kind(one.kind.generation, ANY, one.kind.model) for one in rows)
    for generation in {one.kind.generation for one in rows}:
        classes = [counts[Kind(generation, ANY, model)] for model in ("dense", "mixture")]
        counts[Kind(generation)] = classes[0] or classes[1]
    for kind, calibration in calibrations.fitted.items():
        values = asdict(calibration)
        shown = ", ".join(f"{name} = {values[name]:.5g}" for name in NAMES if name != "pace")
        yield (
            f'[[row]]\ngeneration = "{kind.generation}"\n'
            + (f'stack = "{kind.stack}"\n' if kind.stack != ANY else "")
            + (f'model = "{kind.model}"\n' if kind.model != ANY else "")
            + f"split = {split}\nresults = {counts[kind]}\nvalues = {{ {shown} }}\n{SOURCE}"
        )


def _paces(calibrations: Calibrations, rows: Sequence[Measured], split: int) -> Iterator[str]:
    counts = Counter((one.chip.name, one.kind.stack, one.release, one.kind.model) for one in rows)
    for version, pace in calibrations.paces.items():
        chip, stack, release, model = version
        yield (
            f'[[row]]\nchip = "{chip}"\nstack = "{stack}"\nrelease = "{release}"\nmodel = "{model}"\n'
            f"split = {split}\npace = {pace:.5g}\nresults = {counts[version]}\n{SOURCE}"
        )


if __name__ == "__main__":
    main()
