"""How long a simulated year of 100,000 chips takes, on one core.

Run: python benchmarks/goodput.py. It writes goodput.md beside it, and what is said of published long runs to
goodput_published.md.
"""

import time
from pathlib import Path

from cordee.plan.goodput import published, published_report
from cordee.plan.goodput.answers import Asked, answer
from cordee.plan.goodput.cluster import Cluster
from cordee.plan.goodput.rates import rates
from cordee.plan.goodput.recoveries import recovery

RATES = ("4.2e-6", "2e-5", "1e-4")
WAYS = ("in-place", "restart")


def main() -> None:
    """Simulate each, and write the table."""
    lines = [
        "# How long a simulated year takes",
        "",
        "99,968 chips in replicas of 128, 1 % more stand by, 365 days. Seconds of one core, by its own clock;",
        "`python benchmarks/goodput.py` measures again. In place each decision is one of the real policy.",
        "",
        "| failures of a chip in an hour | recovery | stops | epochs of the policy | time that counts | by formula | CPU s |",
        "|---|---|---|---|---|---|---|",
    ]
    for rate in RATES:
        cluster = Cluster(
            chips=99968,
            group_chips=128,
            spare_chips=1000,
            rates=rates(rate, "hopper"),
            shards=16,
            stages=8,
        )
        for way in WAYS:
            asked = Asked(
                cluster=cluster, recoveries=[recovery(way)], every_s=None, write_s=5.0, days=365
            )
            began_s = time.process_time()
            found = answer(asked, asked.recoveries[0])
            took_s = time.process_time() - began_s
            formula = f"{found.formula:.1%}" if found.formula_holds else "does not hold"
            lines.append(
                f"| {rate} | {way} | {found.outcome.stops:,} | {found.outcome.epochs:,} "
                f"| {found.outcome.goodput:.1%} | {formula} | {took_s:.1f} |"
            )
    (Path(__file__).parent / "goodput.md").write_text("\n".join(lines) + "\n", "utf-8")
    _published()


def _published() -> None:
    head = [
        "# What long runs have published of failures, and what the planner says of them",
        "",
        "`cordee plan validate --goodput` makes the table; the rows with their sources are in",
        "`src/cordee/plan/goodput/published.toml`. The formula is Daly's. An input that a publication does not give is",
        "assumed and named, and the last column says how far it matters. A rate that was taken from the run itself",
        "is no prediction, and is said to be an input.",
        "",
    ]
    text = "\n".join([*head, published_report.markdown(list(published.beside()))])
    (Path(__file__).parent / "goodput_published.md").write_text(text + "\n", "utf-8")


if __name__ == "__main__":
    main()
