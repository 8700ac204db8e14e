"""A repository on a terminal, to be grasped at once: how much, what is left, what comes first."""

import shlex
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from rich.console import Console
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from cordee.core.tables import table
from cordee.port.finding import Effort, Finding
from cordee.port.hours import Hours, work_text
from cordee.port.summary import TIME, Count, Summary
from cordee.port.ties import File, Tie, total

FIRST = 3  # things to look at first
PLACES = 4  # of one thing that are named
LOUD = {Effort.L: "red", Effort.M: "yellow", Effort.S: ""}


@dataclass(frozen=True, slots=True)
class Thing:
    """The same thing in several places: the rule says the same of them."""

    ties: tuple[Tie, ...]

    @property
    def finding(self) -> Finding:
        """The first."""
        return self.ties[0].finding

    @property
    def work(self) -> Hours:
        """For all places."""
        return total(self.ties)

    @property
    def weight(self) -> tuple[bool, float]:
        """What blocks comes first, then what takes most work."""
        return any(tie.is_blocker for tie in self.ties), self.work.middle_h


def things(ties: Iterable[Tie]) -> list[Thing]:
    """What people have to see to, the worst first; not what needs a glance only."""
    groups: dict[tuple[str, str, str, str], list[Tie]] = {}
    for tie in ties:
        finding = tie.finding
        if tie.is_left and not tie.is_glance:
            key = (finding.rule, finding.says, finding.advice, tie.reason)
            groups.setdefault(key, []).append(tie)
    found = [Thing(tuple(group)) for group in groups.values()]
    return sorted(found, key=lambda thing: thing.weight, reverse=True)


def show(
    counts: Summary,
    files: Sequence[File],
    console: Console,
    ported: bool = False,
    first: int = FIRST,
) -> None:
    """All of it, with as many things to look at `first`."""
    console.print(_head(counts), soft_wrap=True)
    if not counts.total.findings:
        return
    console.print(_outcomes(counts.total, ported))
    if len(counts.kinds) > 1:
        console.print(_kinds(counts))
    worst = things(tie for file in files for tie in file.ties)[:first]
    if worst:
        console.print(Text("\nLook first at", "bold"))
    for thing in worst:
        console.print(indented(_first(thing)))


def commands(wanted: Iterable[tuple[str, str]], console: Console) -> None:
    """What to run next, and what for."""
    console.print(Text("\nNext", "bold"))
    for command, purpose in wanted:
        line = Text.assemble("  ", (command, "bold cyan"), (f"  # {purpose}", "dim"))
        console.print(line, soft_wrap=True)


def indented(grid: Table) -> Padding:
    """A grid a little to the right, and no wider than it is."""
    return Padding(grid, (0, 0, 0, 2), expand=False)


def command(*words: object) -> str:
    """A command as it is typed."""
    return shlex.join(["cordee", *map(str, words)])


def left_text(count: Count) -> str:
    """What is left, from what takes days to what takes a glance."""
    parts = [
        f"{TIME[effort]} for {count.efforts[effort]:,}"
        for effort in reversed(Effort)
        if count.efforts[effort]
    ]
    if count.look:
        parts.append(f"a glance for {count.look:,}")
    return ", ".join(parts)


def _head(counts: Summary) -> Text:
    files = f"{counts.files:,} {'file' if counts.files == 1 else 'files'}"
    beside = [f"{counts.lines:,} {'line' if counts.lines == 1 else 'lines'} read"]
    if counts.others:
        beside.append(f"{counts.others:,} other {_files(counts.others)} not looked at")
    if counts.suppressed:
        beside.append(f"{counts.suppressed:,} findings silenced")
    if counts.problems:
        beside.append(f"{counts.problems:,} {_files(counts.problems)} with problems")
    found = counts.total.findings
    if not found:
        head = f"No tie to NVIDIA in {files}"
    else:
        ties = "tie" if found == 1 else "ties"
        where = files if counts.files == 1 else f"{counts.touched:,} of {files}"
        head = f"{found:,} {ties} to NVIDIA in {where}"
    return Text.assemble((head, "bold" if found else "bold green"), (f" ({', '.join(beside)})", "dim"))  # fmt: skip


def _files(number: int) -> str:
    return "file" if number == 1 else "files"


def _outcomes(count: Count, ported: bool) -> Padding:
    grid = Table.grid(padding=(0, 2, 0, 0))
    grid.add_column(justify="right")
    grid.add_column()
    rewritten = "rewritten" if ported else "rewritten by cordee port"
    if count.fixed:
        grid.add_row(Text(f"{count.fixed:,}", "bold green"), rewritten)
    if count.runs:
        grid.add_row(Text(f"{count.runs:,}", "green"), "run on Ascend as they are")
    if count.left:
        words = f"left for you, {work_text(count.work)} of work: {left_text(count)}"
        grid.add_row(Text(f"{count.left:,}", "bold yellow"), words)
    else:
        grid.add_row(Text("0", "bold green"), "left for you")
    return indented(grid)


def _kinds(counts: Summary) -> Table:
    made = table((" in",), ("ties", "rewritten", "run as is", "left", "work left"))
    for name, count in counts.kinds.items():
        numbers = (count.findings, count.fixed, count.runs, count.left)
        shown = [f"{number:,}" if number else "" for number in numbers]
        made.add_row(f" {name}", *shown, work_text(count.work) if count.left else "")
    return made


def _first(thing: Thing) -> Table:
    finding = thing.finding
    grid = Table.grid(padding=(0, 2, 0, 0))
    grid.add_column(no_wrap=True)
    grid.add_column(overflow="fold")
    says = Text(brief(finding.says))
    says.append(f"  {work_text(thing.work)}", LOUD[finding.effort])
    grid.add_row(Text(finding.rule, "bold"), says)
    grid.add_row("", Text(places(thing.ties, PLACES), "dim"))
    return grid


def places(ties: Sequence[Tie], most: int) -> str:
    """Where something is; of many places the first."""
    named = list(_places(ties))
    more = f" and {len(named) - most:,} more" if len(named) > most else ""
    return ", ".join(named[:most]) + more


def _places(ties: Iterable[Tie]) -> Iterator[str]:
    yield from dict.fromkeys(f"{t.finding.path}:{t.finding.line}" for t in ties)


LONGEST = 160


def brief(text: str) -> str:
    """Words for one line: white space is one space, and the middle of long code is left out."""
    flat = " ".join(text.split())
    flat = "".join(c if c.isprintable() else "�" for c in flat)
    return flat if len(flat) <= LONGEST else f"{flat[: LONGEST // 2]} … {flat[-LONGEST // 2 :]}"
