"""Schedules of pipelines: what is published of them beside what plans and simulations say.

Run: python benchmarks/pipelines.py. It writes pipelines.md beside it.
"""

from collections.abc import Iterator
from pathlib import Path

from cordee.hw import accelerators
from cordee.plan.memory import memory
from cordee.plan.model import named
from cordee.plan.validation.pipelines import Beside, kept, rates, runs, samples, speeds

HEAD = """# Schedules of pipelines

Nothing is fitted to what stands here, but that the run on 910C is one of ten results that calibrations of Ascend's mixtures
rest on. `python benchmarks/pipelines.py` reckons it anew; sources are in `src/cordee/plan/validation/pipelines.toml`.
"""
RATES = """## Bubbles

Parts of a step that are lost: as Qi et al. (arxiv.org/abs/2401.10241, table 5) reckon them from passes that they timed, and as the
simulation of passes here gives them for the same seconds. The formulas that plans are made with give what the simulation
gives where stages are alike (`tests/plan/pipeline`).

| model | stages | micro-batches | schedule | published | simulated |
|---|---|---|---|---|---|
"""
SAMPLES = """
## Speeds on A100

Sequences a second of a chip, published (tables 3 and 4) and planned, and how much faster than 1F1B that is. ZB-1p and ZB-2p, which
are searched for, are reckoned as ZB-H1 and ZB-H2. The calibration is that of Megatron-LM.

| model | micro-batches | schedule | published | planned | gain published | gain planned |
|---|---|---|---|---|---|---|
"""
KEPT = """
## Memory on A100

GB at the peak. The first stage has a layer less there, and as many as the others here.

| model | schedule | published | planned |
|---|---|---|---|
"""
RUNS = """
## Runs

Tokens a second of a chip. "1F1B" is the same layout with 1F1B, where no traffic between experts is hidden. DeepSeek's tokens are taken to
travel as its report says, one copy to a chip in one kernel; if copies were exchanged one by one, 1,187 would be planned (that was looked at,
too). Its calibration is that of all mixtures on Hopper. It did parts of layers again and kept numbers in 8 bits; before plans knew parts, 188 GB were
planned for its chips of 86, and 2.5 % more speed. GB are those of the fullest chip; none are published.

| model | chips | schedule | published | planned | error | 1F1B planned | GB planned | GB of a chip | note |
|---|---|---|---|---|---|---|---|---|---|
"""


def main() -> None:
    """Reckon all, and write the page."""
    found = [HEAD, RATES.strip(), *_rates(), SAMPLES.rstrip(), *_samples()]
    found += [KEPT.rstrip(), *_kept(), RUNS.rstrip(), *_runs()]
    (Path(__file__).parent / "pipelines.md").write_text("\n".join(found) + "\n", "utf-8")


def _rates() -> Iterator[str]:
    for place in range(3):
        for one in rates(place):
            yield (
                f"| {one.setting.model} | {one.setting.stages} | {one.micro_batches} | {one.schedule} "
                f"| {one.published:.4f} | {one.reckoned:.4f} |"
            )


def _samples() -> Iterator[str]:
    first: Beside | None = None
    for one in samples():
        first = one if one.schedule == "1f1b" or first is None else first
        gains = (one.published / first.published - 1, one.reckoned / first.reckoned - 1)
        yield (
            f"| {one.setting.model} | {one.micro_batches} | {one.schedule} | {one.published:.2f} "
            f"| {one.reckoned:.2f} | {gains[0]:+.0%} | {gains[1]:+.0%} |"
        )


def _kept() -> Iterator[str]:
    for one in kept():
        yield f"| {one.setting.model} | {one.schedule} | {one.published:.0f} | {one.reckoned:.0f} |"


def _runs() -> Iterator[str]:
    for one in runs():
        planned, plain = speeds(one)
        published = one.tokens_per_s_per_chip
        needed = memory(one.job(named(one.model), one.micro_batch)).total / 1e9
        there = accelerators().find(one.chip).memory_bytes / 1e9
        yield (
            f"| {one.model} | {one.chips} {one.chip} | {one.schedule} | {published:,.0f} "
            f"| {planned:,.0f} | {planned / published - 1:+.1%} | {plain:,.0f} | {needed:.0f} | {there:.0f} "
            f"| {one.note} |"
        )


if __name__ == "__main__":
    main()
