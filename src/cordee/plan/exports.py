"""Measurements of one's own that a profiler exported, of what a launch script starts."""

from collections.abc import Sequence
from pathlib import Path

from cordee.core.errors import UsageError
from cordee.hw.accelerator import Catalogue
from cordee.plan.calibration.fitting import Measured
from cordee.plan.calibration.own import measured_step, measurements
from cordee.plan.calibration.profile import profile
from cordee.plan.scripts.megatron import asked

ENDINGS = (".csv", ".json", ".gz")


def measured_in(
    file: Path, script: Path | None, chip: str | None, catalogue: Catalogue
) -> tuple[Sequence[Measured], tuple[str, ...]]:
    """Of a table of steps, or of an export with the script of its run; and what is to be said."""
    if file.suffix not in ENDINGS:
        return measurements(file, catalogue), ()
    if script is None or chip is None:
        raise UsageError(
            f"{file}: what a profiler exports does not say what ran: give --script, the launch script "
            "of that run, and --chip; or a table in TOML that names it as profile"
        )
    seen, asks = profile(file), asked(script)
    one = measured_step(asks.job, catalogue.find(chip), "", seen)
    return (one,), (*seen.remarks, *asks.remarks)
