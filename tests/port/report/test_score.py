"""Where ties stand, what is left of them, and how ready that makes a repository."""

import pytest
from tests.port.report.made import Left, Result, assessment, finding

from cordee.port.assessment import Assessment, Judged
from cordee.port.finding import Confidence, Effort, Finding, Meaning, Safety
from cordee.port.hours import DAY_H, HOURS, REPEATED, Hours, work_text
from cordee.port.report.blockers import blockers
from cordee.port.report.next_step import next_step
from cordee.port.score import Score, score
from cordee.port.ties import PortResult, State, files


def scored(*found: Finding, result: PortResult | None = None) -> Score:
    return score(files(assessment(*found), result))


def states(given: Assessment, result: PortResult | None = None) -> list[State]:
    return [tie.state for file in files(given, result) for tie in file.ties]


def step(*found: Finding, result: PortResult | None = None) -> str:
    each = files(assessment(*found), result)
    return next_step(each, score(each))


SAFE = finding(new="x.to(device)")
KERNEL = finding(
    path="kernel.py", rule="NV901", meaning=Meaning.MISSING, effort=Effort.L, says="a kernel"
)


def test_what_the_port_rewrites_or_what_runs_for_certain_needs_nobody() -> None:
    runs = finding(before="\n", meaning=Meaning.RUNS)
    perhaps = finding(before="\n\n", meaning=Meaning.RUNS, confidence=Confidence.LIKELY)
    unsafe = finding(before="\n\n\n", new="y", safety=Safety.UNSAFE)
    assert states(assessment(SAFE, runs, perhaps, unsafe)) == [
        State.REWRITABLE,
        State.RUNS,
        State.LEFT,
        State.LEFT,
    ]


def test_of_two_fixes_that_overlap_one_is_left() -> None:
    inner = finding("f(x.cuda())", tie="x.cuda()", new="x.to(device)")
    outer = finding("f(x.cuda())", new="g(x)")
    assert states(assessment(inner, outer)) == [State.REWRITABLE, State.LEFT]


def test_of_a_port_only_what_it_made_is_done() -> None:
    other = finding(before="\n", new="y")
    result = Result(made=[SAFE], left=[Left(other, "its file would not parse")])
    (file,) = files(assessment(SAFE, other), result)
    assert [(tie.state, tie.reason) for tie in file.ties] == [
        (State.REWRITTEN, ""),
        (State.LEFT, "its file would not parse"),
    ]


def test_one_hard_tie_outweighs_many_easy_ones() -> None:
    easy = [finding(path=f"{n}.py", new="y") for n in range(20)]
    found = scored(*easy, KERNEL)
    assert (found.settled, found.left, found.blockers) == (20, 1, 1)
    assert found.percent < 20


def test_a_hundred_is_said_only_when_nothing_is_left() -> None:
    easy = [finding(path=f"{n}.py", new="y") for n in range(2000)]
    assert scored(*easy, finding(path="left.py")).percent == 99
    assert scored(*easy).percent == 100
    assert scored().percent == 100


def test_another_of_its_kind_in_one_file_is_less_work() -> None:
    once, other = (finding(before="\n" * n, effort=Effort.L, says=f"{n}") for n in range(2))
    assert scored(once, other).work == HOURS[Effort.L] + HOURS[Effort.M]


def test_the_way_over_for_a_library_is_found_once_for_a_repository() -> None:
    imports = [
        finding("import te", path=f"{n}.py", rule="NV501", effort=Effort.L, says="`te` is layers")
        for n in range(69)
    ]
    further = HOURS[Effort.S]
    work = scored(*imports).work
    assert work.low_h == pytest.approx(HOURS[Effort.L].low_h + 68 * further.low_h)
    assert work.high_h == pytest.approx(HOURS[Effort.L].high_h + 68 * further.high_h)
    assert work.high_h < 10 * DAY_H


def test_of_a_library_the_advice_tells_that_the_way_is_the_same() -> None:
    found = [
        finding(path=f"{n}.toml", rule="NV902", effort=Effort.M, says=f"te=={n}", advice="torch.nn")
        for n in range(2)
    ]
    assert scored(*found).work == HOURS[Effort.M] + HOURS[Effort.S]


def test_what_takes_minutes_takes_fewer_in_the_next_file() -> None:
    found = [finding(path=f"{n}.yaml", rule="NV912", says="`backend: nccl`") for n in range(2)]
    assert scored(*found).work == HOURS[Effort.S] + REPEATED


def test_a_kernel_of_its_own_is_work_of_its_own() -> None:
    found = [
        finding(path=f"{n}.cu", rule="NV629", effort=Effort.L, says="3 pieces of PTX assembly")
        for n in range(2)
    ]
    assert scored(*found).work == HOURS[Effort.L] + HOURS[Effort.L]


def test_an_unsure_finding_may_be_none() -> None:
    assert scored(finding(effort=Effort.L, confidence=Confidence.UNSURE)).work.low_h < 0.1


@pytest.mark.parametrize(
    ("work", "words"),
    [
        (Hours(), "none"),
        (Hours(5 / 60, 20 / 60), "5–20 minutes"),
        (Hours(0.05, 0.05), "3 minutes"),
        (Hours(1, 4), "1–4 hours"),
        (Hours(0.1, 3), "up to 3 hours"),
        (Hours(8, 8), "1 day"),
        (Hours(0.1, 8), "up to 1 day"),
        (Hours(8, 40), "1–5 days"),
        (Hours(1000, 20000), "125–2\u202f500 days"),
    ],
)
def test_work_is_told_in_the_unit_of_its_size(work: Hours, words: str) -> None:
    assert work_text(work) == words


def test_what_comes_next_is_one_thing_at_a_time() -> None:
    assert step() == "Nothing to do: no tie to NVIDIA was found in what was read."
    assert step(SAFE, KERNEL).startswith("Run `cordee port`: it rewrites 1 of 2 ties")
    ported = Result(made=[SAFE])
    assert step(SAFE, KERNEL, result=ported) == "Begin with what blocks, in `kernel.py`, line 1."
    left = finding(path="b.py")
    assert step(SAFE, left, result=ported).startswith("Go through `b.py`: 1 of the 1 tie left")
    assert step(SAFE, result=ported).startswith("Every tie is settled")


def test_files_that_could_not_be_read_are_not_forgotten() -> None:
    each = files(assessment(files=(Judged("b.py", "python", 3, problem="no Python"),)), None)
    assert "1 file that could not be read" in next_step(each, score(each))


def test_the_same_blocker_in_many_places_is_told_once() -> None:
    other = finding(path="b.py", meaning=Meaning.MISSING, effort=Effort.M, says="no such library")
    places = [
        finding(path=f"{n}.py", meaning=Meaning.MISSING, effort=Effort.L, says="a kernel")
        for n in range(3)
    ]
    found = blockers(files(assessment(other, *places), None))
    assert [(each.first.finding.says, len(each.places)) for each in found] == [
        ("a kernel", 3),
        ("no such library", 1),
    ]
