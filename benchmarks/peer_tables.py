"""A port beside what its public peers do with the same repositories."""

import os
import resource
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

from migration_peer import AIMED_AT, Change, Peer, change
from ported_repository import Outcome

from cordee.port.finding import Finding, Meaning
from cordee.port.names import covered, offered
from cordee.port.setting import USUAL_TORCH

HEAD = (
    "| repository | tool | files changed | lines changed | of them named nothing of NVIDIA "
    "| lines left that name NVIDIA alone | names the adapter lacks | do not compile | time |\n"
    "| --- | --- |" + " ---: |" * 7
)
# What torch_npu's transfer_to_npu reaches: calls that it wraps and modules that it replaces.
REACHED = ("NV101", "NV102", "NV104", "NV201", "NV203", "NV204", "NV301", "NV302", "NV401")


def beside(peer: Peer, outcomes: list[Outcome], checkouts: Path, folder: Path) -> str:
    """Both tools on the same trees, each assessed and migrated in one run of this script."""
    lines = [HEAD]
    for each in outcomes:
        root, into = checkouts / each.name, folder / f"{each.name}-peer"
        into.mkdir()
        plain = folder / f"{each.name}-plain"
        _export(root, plain)
        migration = peer.migrate(plain, into)
        ours_s, ours_busy_s = _assessed(root)
        ours = change(root, folder / each.name, USUAL_TORCH)
        lines.append(f"| {each.name} | cordee | {_cells(ours)} | 1 |")
        by_clock, busy = migration.spent_s / ours_s, migration.busy_s / ours_busy_s
        times = f"{by_clock:.0f} times by the clock, {busy:.0f} of processors"
        if migration.folder is None:
            lines.append(
                f"| | msfmktransplt | ended with {migration.code} |  |  |  |  |  | {times} |"
            )
            continue
        theirs = change(root, migration.folder, AIMED_AT)
        lines.append(f"| | msfmktransplt | {_cells(theirs)} | {times} |")
    return "\n".join(
        [
            *lines,
            "",
            f"msfmktransplt is aimed at torch {AIMED_AT}, the newest it knows, and cordee at "
            f"{USUAL_TORCH}. Time is that of an assessment by cordee, and of both in one run.",
        ]
    )


def _export(root: Path, into: Path) -> None:
    """The files that git keeps, without git's own: the peer would walk into them."""
    into.mkdir()
    listing = subprocess.run(
        ["git", "-C", str(root), "ls-files", "-z"], check=True, capture_output=True
    ).stdout
    for path in filter(None, listing.decode().split("\0")):
        source = root / path
        if source.is_file() and not source.is_symlink():
            (into / path).parent.mkdir(parents=True, exist_ok=True)
            (into / path).write_bytes(source.read_bytes())


def _assessed(root: Path) -> tuple[float, float]:
    """Seconds by the clock and of processors that an assessment takes, from a new process."""
    command = [sys.executable, "-m", "cordee", "assess", str(root), "--no-cache", "--json"]
    before, begin = _busy_s(), time.perf_counter()
    subprocess.run(command, check=False, stdout=subprocess.DEVNULL, env=os.environ)
    return time.perf_counter() - begin, _busy_s() - before


def _busy_s() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _cells(of: Change) -> str:
    share = f"{of.bare} ({of.bare / of.lines:.0%})" if of.lines else "0"
    names = ", ".join(f"`{name}`" for name in of.dangling) or "none"
    return f"{of.files} | {of.lines} | {share} | {of.left} | {names} | {of.broken}"


def shim(outcomes: list[Outcome]) -> str:
    """What replacing torch.cuda at run time cannot reach, by the kind of file."""
    every = [f for each in outcomes for f in each.findings if f.meaning is not Meaning.RUNS]
    total = Counter(finding.kind for finding in every)
    reached = Counter(finding.kind for finding in every if _reaches(finding))
    lines = ["| kind of file | ties that do not run as they are | reached | not reached |"]
    lines.append("| --- | ---: | ---: | ---: |")
    for kind, count in total.most_common():
        lines.append(f"| {kind} | {count:,} | {reached[kind]:,} | {count - reached[kind]:,} |")
    all_, hit = sum(total.values()), sum(reached.values())
    lines.append(f"| **all** | {all_:,} | {hit:,} | {all_ - hit:,} |")
    return "\n".join(
        [
            *lines,
            "",
            "transfer_to_npu replaces torch.cuda and wraps calls that take a device, in a process "
            "that imports it: it reaches Python and notebooks only, and there calls with the names "
            f"of torch.cuda that torch.npu has ({', '.join(REACHED)}). What it "
            "reaches is counted as if it worked everywhere.",
        ]
    )


def _reaches(finding: Finding) -> bool:
    if finding.kind not in ("python", "notebook") or finding.rule not in REACHED:
        return False
    for name in finding.says.split("`")[1:2]:
        counterpart = name.replace("torch.cuda", "torch.npu")
        if name.startswith("torch.cuda") and covered(counterpart):
            return offered(counterpart, USUAL_TORCH)
    return True
