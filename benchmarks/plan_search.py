"""How long a full search takes: a mixture of 671e9 parameters on 10,000 chips, two kinds of them.

Run: python benchmarks/plan_search.py. It writes plan_search.md beside it.
"""

import os
import time
from pathlib import Path

from cordee.hw import accelerators
from cordee.plan.compare import Request, outcome
from cordee.plan.model import named
from cordee.plan.pipeline.schedules import schedules

SIZES = (
    ("Llama-3.1-8B", 64, ()),
    ("Llama-3.1-405B", 16384, ()),
    ("DeepSeek-V3", 10000, ()),
    ("DeepSeek-V3", 10000, tuple(schedules())),
    ("Kimi-K2", 100000, ()),
)
"""Models, chips, and schedules of pipelines; as the software has them where there are none."""
CHIPS = ("H100", "910C")


def main() -> None:
    """Search each, and write the table."""
    lines = [
        "# How long a search takes",
        "",
        f"Seconds of one CPU, of {os.cpu_count()}; `python benchmarks/plan_search.py` measures again.",
        "",
        "| model | chips | kind | layouts tried | that fit | CPU s | wall s |",
        "|---|---|---|---|---|---|---|",
    ]
    for model, chips, names in SIZES:
        for name in CHIPS:
            request = Request(
                model=named(model), sequence=4096, batch=15360, chips=chips, schedules=names
            )
            cpu, wall = time.process_time(), time.perf_counter()
            found = outcome(request, accelerators().find(name), None)
            cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
            lines.append(
                f"| {model}{', all schedules' if names else ''} | {chips:,} | {name} | {found.tried:,} | {len(found.plans):,} "
                f"| {cpu:.2f} | {wall:.2f} |"
            )
    (Path(__file__).parent / "plan_search.md").write_text("\n".join(lines) + "\n", "utf-8")


if __name__ == "__main__":
    main()
