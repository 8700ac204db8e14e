"""Does a job end with the bits of the undisturbed one under schedules of faults that nobody thought of?

The schedules are drawn, each from its number: the same number gives the same schedule.
"""

from pathlib import Path
from random import Random

import pytest
from tests.train.jobs import Fault, job

IN_CI, IN_ALL = 20, 200
POINTS = ("forward", "backward", "reduce", "vote", "voted", "apply", "epoch", "form")
OPTIONS = ("-n", "3", "--spares", "1", "--silent-s", "1.5", "--hang-s", "1.5")


def schedule(number: int) -> tuple[Fault, ...]:
    """One to three faults, each on another of four workers, so that one is left to go on."""
    drawn = Random(number)
    victims = drawn.sample(range(4), drawn.randint(1, 3))
    kinds = ["kill", "kill", "stop", "sleep", "kill-coordinator"]
    faults: list[Fault] = []
    for victim in victims:
        do = drawn.choice(kinds)
        if do == "kill-coordinator":
            kinds.remove(do)
        fault: Fault = {
            "worker": victim,
            "step": drawn.randint(2, 17),
            "at": "forward" if do == "sleep" else drawn.choice(POINTS),
            "do": do,
        }
        faults.append(fault | ({"for_s": 60.0} if do == "sleep" else {}))
    return tuple(faults)


@pytest.mark.parametrize(
    "number",
    [pytest.param(n, marks=pytest.mark.slow if n >= IN_CI else ()) for n in range(IN_ALL)],
)
def test_a_schedule_costs_no_step_and_no_bit(number: int, undisturbed: str, tmp_path: Path) -> None:
    faults = schedule(number)
    ended = job(tmp_path, options=OPTIONS, faults=faults)
    # One that is struck between the last step and the end of its program is told of.
    after = "all steps are made, but worker" in ended.err
    assert ended.code == int(after), f"{faults}\n{ended.out}\n{ended.err}"
    assert set(ended.digests) == {undisturbed}, faults
    assert ended.steps == list(range(20)), faults


def test_schedules_are_of_all_kinds() -> None:
    drawn = [fault for number in range(IN_CI) for fault in schedule(number)]
    assert {fault["do"] for fault in drawn} == {"kill", "stop", "sleep", "kill-coordinator"}
    assert {fault["at"] for fault in drawn} == set(POINTS)
