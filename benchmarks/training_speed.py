"""How far predicted training speeds are off: published results, each predicted without its group.

Run: python benchmarks/training_speed.py. It writes training_speed.md and training_speed.svg beside it.
"""

from pathlib import Path

from cordee.plan.validation.report import markdown, plot
from cordee.plan.validation.scoring import scores

HERE = Path(__file__).parent
HEAD = """# Predicted training speeds against published ones

Each result is predicted from its published configuration, with a calibration that was fitted on other groups
only (a group is a model under one software; five splits). "Others" are other planners' errors on the same
collection before a third of it was kept back. `cordee plan validate` prints this table.

![predicted against published](training_speed.svg)

"""


def main() -> None:
    """Predict, compare, and write both files."""
    found = scores()
    (HERE / "training_speed.md").write_text(HEAD + markdown(found) + "\n", "utf-8")
    (HERE / "training_speed.svg").write_text(plot(found), "utf-8")


if __name__ == "__main__":
    main()
