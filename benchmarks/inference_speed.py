"""How far predicted inference is off: published results, each predicted without its group.

Run: python benchmarks/inference_speed.py. It writes inference_speed.md and inference_speed.svg beside it.
"""

from pathlib import Path

from cordee.plan.validation.serving_report import serving_markdown, serving_plot
from cordee.plan.validation.serving_scoring import shipped_scores

HERE = Path(__file__).parent
HEAD = """# Predicted inference against published results

Each result is predicted from its published deployment and traffic by the simulation of the queue, twice:
"calibrated on the stack" knows other layouts and lengths under the same version of the engine (a group is one
layout, dtype and pair of lengths), "not calibrated" knows nothing of that version on that chip. Five splits of each.
Times are means over the requests of a run, as they are published.
"Others" are other planners' errors on the same collection before a third of it was kept back; where theirs are smaller, they are better.
`cordee plan validate --inference` prints this table.

![predicted against published](inference_speed.svg)

"""


def main() -> None:
    """Predict, compare, and write both files."""
    found = shipped_scores()
    (HERE / "inference_speed.md").write_text(HEAD + serving_markdown(found), "utf-8")
    (HERE / "inference_speed.svg").write_text(serving_plot(found), "utf-8")


if __name__ == "__main__":
    main()
