"""Ten splits of the inference results: five hold out groups, five hold out whole versions of engines."""

from collections.abc import Sequence
from dataclasses import dataclass

from cordee.hw.accelerator import accelerators
from cordee.plan.calibration.serving_fitting import Measure
from cordee.plan.calibration.table import kind_of
from cordee.plan.serving.steady import works_of
from cordee.plan.validation.serving_results import ServingResult, serving_model
from cordee.plan.validation.splits import SPLITS, dealt


@dataclass(frozen=True, slots=True)
class Folds:
    """In which splits a result is held out."""

    group: int
    """1 to 5: with its group; others of its family are known."""
    stack: int
    """6 to 10: with all of its chip and version of an engine."""


def folds(results: Sequence[ServingResult]) -> dict[str, Folds]:
    """Of each result, by its id."""
    groups: dict[str, int] = {}
    for version in sorted({result.version for result in results}):
        groups |= dealt({one.group for one in results if one.version == version})
    stacks = dealt({result.version for result in results})
    return {
        result.id: Folds(groups[result.group], stacks[result.version] + SPLITS)
        for result in results
    }


def measure(result: ServingResult) -> Measure:
    """A published result as a measurement to fit to."""
    chip = accelerators().find(result.chip)
    return Measure(
        kind=kind_of(chip, result.stack, serving_model(result.model)),
        family=result.family,
        version=result.version,
        chip=chip,
        works=works_of(result.deployment()),
        traffic=result.traffic,
        published=result.published,
    )
