"""What does a port make of real repositories, what does it miss, and what do its peers do?

    python benchmarks/real_repositories.py --checkouts FOLDER [--write]
    python benchmarks/real_repositories.py --checkouts FOLDER --peer SOURCE --peer-python PYTHON

FOLDER holds git checkouts of the repositories in real_repositories/repositories.toml, each by its
name and at its commit. SOURCE is the folder msfmktransplt/src/ms_fmk_transplt of a checkout of
Ascend/mstt, PYTHON one that has pandas, libcst, jedi and prettytable. `--show` prints the lines
that nobody has judged and the sample of rewritten places, `--only NAMES` measures some
repositories. `--write` puts the tables into real_repositories.md.

Lines that name NVIDIA are looked for by named_lines.py, which knows nothing of cordee's rules; those
of which no finding speaks are judged by judged_lines.py. judged_sample.py draws rewritten places.
"""

import argparse
import subprocess
import sys
import tempfile
import tomllib
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import judged_sample
import peer_tables
from judged_lines import NONE
from judged_sample import RIGHT, UNJUDGED, WRONG, Drawn
from migration_peer import Peer
from ported_repository import Outcome, outcome

RESULT = Path(__file__).with_suffix(".md")
REPOSITORIES = Path(__file__).with_suffix("") / "repositories.toml"
UNSEEN = (
    "How much more: ten repositories were read that no rule had been mended for, every line that names "
    "NVIDIA and stood in no finding. Of ColossalAI, detectron2, stylegan3, segment-anything and "
    "denoising-diffusion-pytorch 61 of 3,027 lines that are ties were missed (2.0%); when that was "
    "mended, of fairseq, mamba, FastChat, RWKV-LM and mmcv 28 of 2,928 (1.0%), beside one file of C++ "
    "of which a single finding listed 30 of 300 names. That is mended too; about 0.2% of both remain."
)
PEER_TABLES = Path(__file__).with_suffix("") / "peers.md"
MISSED_AT_MOST, WRONG_AT_MOST = 0.01, 0


@dataclass(frozen=True, kw_only=True)
class Listed:
    """A repository of the measure."""

    name: str
    origin: str
    commit: str
    peer: bool = False
    note: str = ""


def listed() -> list[Listed]:
    """All of them."""
    rows = tomllib.loads(REPOSITORIES.read_text())["repository"]
    return [Listed(origin=row.pop("from"), **row) for row in rows]


def checked_out(checkouts: Path, repository: Listed) -> Path:
    """The checkout, if it is of the right commit."""
    root = checkouts / repository.name
    command = ["git", "-C", str(root), "rev-parse", "HEAD"]
    commit = subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()
    if commit != repository.commit:
        sys.exit(f"{root}: is at {commit}, and the measure at {repository.commit}")
    return root


def measured(checkouts: Path, repositories: list[Listed], ported: Path) -> list[Outcome]:
    """Every repository, ported into `ported`."""
    found = []
    for each in repositories:
        root = checked_out(checkouts, each)
        found.append(outcome(each.name, root, ported / each.name))
        print(f"{each.name}: {len(found[-1].findings)} ties", file=sys.stderr)
    return found


def table(outcomes: list[Outcome], repositories: list[Listed]) -> str:
    """What was found, rewritten, left and missed in each."""
    commits = {each.name: each for each in repositories}
    lines = [
        "| repository | files | lines of Python | ties found | rewritten | left | without a reason "
        "| lines that name NVIDIA | in a finding | no tie | ties missed | not judged |",
        "| --- |" + " ---: |" * 11,
    ]
    rows = [_counts(each) for each in outcomes]
    for each, row in zip(outcomes, rows, strict=True):
        of = commits[each.name]
        lines.append(
            f"| {of.origin.removeprefix('github.com/')} `{of.commit[:8]}` | {_cells(row)} |"
        )
    total = [sum(column) for column in zip(*rows, strict=True)]
    lines.append(f"| **all** | {_cells(total)} |")
    said, missed = total[7], total[9]
    notes = [f"{each.origin}: {each.note}." for each in repositories if each.note]
    rate = missed / (said + missed)
    return "\n".join(
        [
            *lines,
            "",
            *notes,
            "",
            f"Missed: {missed} of {said + missed:,} lines that are ties, {rate:.2%} "
            f"(limit {MISSED_AT_MOST:.0%}).",
        ]
    )


def _counts(each: Outcome) -> list[int]:
    files = each.ported.assessment.files
    none = sum(1 for verdict in each.unsaid.values() if verdict == NONE)
    return [
        len(files) + each.ported.assessment.others,
        sum(file.lines for file in files if file.kind == "python"),
        len(each.findings),
        len(each.ported.made),
        len(each.ported.left),
        len(each.unexplained),
        len(each.named),
        each.said,
        none,
        len(each.missed),
        len(each.unjudged),
    ]


def _cells(row: list[int]) -> str:
    return " | ".join(f"{number:,}" for number in row)


def promises(outcomes: list[Outcome]) -> str:
    """What a port promises, and whether it held."""
    lines = [
        "| repository | files changed | new files | changed, and do not compile "
        "| had no tie, and differ | a second port changes | rules that raised |",
        "| --- |" + " ---: |" * 6,
    ]
    for each in outcomes:
        row = [
            len(each.ported.changed),
            len(each.ported.new),
            len(each.broken),
            len(each.altered),
            each.again,
            len(each.mistakes),
        ]
        lines.append(f"| {each.name} | {_cells(row)} |")
    return "\n".join(lines)


def missed(outcomes: list[Outcome]) -> str:
    """Every tie that was missed."""
    lines = [
        f"- {each.name} `{tie.path}:{tie.line}`: {', '.join(f'`{word}`' for word in tie.words)}"
        for each in outcomes
        for tie in each.missed
    ]
    return "\n".join(lines) or "None."


def of_sample(sample: list[Drawn]) -> str:
    """How the sample was judged."""
    verdicts = judged_sample.verdicts()
    counted = Counter(verdicts.get(each.place, UNJUDGED) for each in sample)
    lines = [
        f"{len(sample)} rewritten places drawn by a fixed seed, from every repository as many as from "
        "the next: large ones have a smaller share than they have of all places. Each was read with "
        "the lines around it: the same on CUDA and CPU as before, and right on Ascend?",
        "",
        f"Right {counted[RIGHT]}, wrong {counted[WRONG]} (limit {WRONG_AT_MOST}), "
        f"not judged {counted[UNJUDGED]}.",
    ]
    for each in sample:
        if verdicts.get(each.place) == WRONG:
            place = each.place
            lines.append(f"- wrong: {place.repository} `{place.path}:{place.line}` {place.rule}")
    return "\n".join(lines)


def show(outcomes: list[Outcome], sample: list[Drawn], checkouts: Path) -> None:
    """What is still to be judged."""
    for each in outcomes:
        for named in each.unjudged:
            text = (checkouts / each.name / named.path).read_text("utf-8", errors="replace")
            print(f"{each.name} {named.path}:{named.line}: {text.split(chr(10))[named.line - 1]}")
        for file in [*each.altered, *each.broken, *each.mistakes]:
            print(f"{each.name}: {file}")
    verdicts = judged_sample.verdicts()
    for drawn in sample:
        if drawn.place not in verdicts:
            print(judged_sample.shown(drawn))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--checkouts", type=Path, required=True)
    parser.add_argument("--only", default="", help="some repositories, with commas between them")
    parser.add_argument("--show", action="store_true", help="print what is still to be judged")
    parser.add_argument("--peer", type=Path, help="the peer's folder ms_fmk_transplt")
    parser.add_argument("--peer-python", type=Path, default=Path(sys.executable))
    parser.add_argument("--write", action="store_true", help="put the tables beside this script")
    given = parser.parse_args()
    only = [name for name in given.only.split(",") if name]
    repositories = [each for each in listed() if not only or each.name in only]
    with tempfile.TemporaryDirectory() as folder:
        outcomes = measured(given.checkouts, repositories, Path(folder))
        sample = judged_sample.sample(outcomes, given.checkouts)
        if given.show:
            show(outcomes, sample, given.checkouts)
        peers = PEER_TABLES.read_text() if PEER_TABLES.exists() else ""
        if given.peer:
            peer = Peer(given.peer, given.peer_python)
            small = [each for each in outcomes if _is_small(each.name, repositories)]
            peers = peer_tables.beside(peer, small, given.checkouts, Path(folder))
    text = report(outcomes, repositories, sample, peers)
    print(text)
    if given.write:
        RESULT.write_text(text)
        PEER_TABLES.write_text(peers)


def _is_small(name: str, repositories: list[Listed]) -> bool:
    return any(each.peer for each in repositories if each.name == name)


def report(
    outcomes: list[Outcome], repositories: list[Listed], sample: list[Drawn], peers: str
) -> str:
    """The page."""
    sections = {
        "Found, rewritten, left, missed": table(outcomes, repositories),
        "What a port promises": promises(outcomes),
        "Ties that were missed": missed(outcomes),
        "Rewritten places, judged": of_sample(sample),
        "Beside msfmktransplt": peers,
        "Beside transfer_to_npu": peer_tables.shim(outcomes),
    }
    parts = [
        "# Real repositories",
        "Written by `python benchmarks/real_repositories.py --checkouts FOLDER --write`; what every "
        "column means is said in the scripts beside it. Rules were mended after what was missed and "
        "wrong in these same repositories: on others more is to be expected.",
        UNSEEN,
    ]
    parts += [f"## {title}\n\n{section.strip()}" for title, section in sections.items()]
    return "\n\n".join(parts) + "\n"


if __name__ == "__main__":
    main()
