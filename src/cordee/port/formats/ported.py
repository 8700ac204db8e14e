"""What a port did, as JSON; docs/assess.md says what each key means. Keys are added, never renamed."""

import json
import math
from collections.abc import Iterable
from dataclasses import asdict
from typing import Any

from cordee.port import summary, ties
from cordee.port.baseline import fingerprint
from cordee.port.formats.plain import asked, finding, problems, totals
from cordee.port.porting import Ported
from cordee.port.prove.proof import Blame, Proof, Run
from cordee.port.repository import PATCH
from cordee.port.ties import State, Tie

VERSION = 1
TAIL = 4000  # characters of what a run printed


def written(ported: Ported) -> bytes:
    """The text."""
    return (json.dumps(plain(ported), indent=1, allow_nan=False) + "\n").encode()


def plain(ported: Ported) -> dict[str, Any]:
    """What a port did, as dicts and lists."""
    assessment, folder = ported.assessment, ported.folder
    files = ties.files(assessment, ported)
    every = [tie for file in files for tie in file.ties]
    counts = summary.of_files(assessment, files)
    left = {file.judged.path: len(file.left) for file in files}
    return {
        "version": VERSION,
        **asked(assessment),
        "folder": None if folder is None else str(folder),
        "patch": str(folder / PATCH) if folder is not None and ported.patch else None,
        "report": str(folder / ported.report) if folder is not None and ported.report else None,
        "summary": totals(counts),
        "problems": problems(assessment),
        "changed": [
            {"path": file.path, "made": len(file.made), "left": left[file.path]}
            for file in ported.changed
        ],
        "new": [{"path": file.path, "text": file.text} for file in ported.new],
        "made": [finding(tie.finding) for tie in every if tie.state is State.REWRITTEN],
        "left": _left(every),
        "proof": None if ported.proof is None else proof(ported.proof),
    }


def _left(every: Iterable[Tie]) -> list[dict[str, Any]]:
    return [
        {
            **finding(tie.finding),
            "state": "look" if tie.is_glance else "left" if tie.is_left else "runs",
            "why": tie.reason,
            "hours": [tie.work.low_h, tie.work.high_h] if tie.is_left else [0.0, 0.0],
        }
        for tie in every
        if tie.state is not State.REWRITTEN
    ]


def proof(shown: Proof) -> dict[str, Any]:
    """What running the port has shown, as dicts and lists."""
    return {
        "command": shown.command,
        "holds": shown.holds,
        "verdict": shown.verdict,
        "chip": _run(shown.chip),
        "cpu": None if shown.cpu is None else _run(shown.cpu),
        "tolerance": shown.tolerance,
        "operators": shown.operators,
        "ran": [asdict(one) for one in shown.ran],
        "losses": [
            {
                "name": loss.name,
                "chip": [_number(value) for value in loss.chip],
                "cpu": [_number(value) for value in loss.cpu],
                "difference": _number(loss.difference),
            }
            for loss in shown.losses
        ],
        "tensors": [
            {
                "path": file.path,
                "tensors": file.tensors,
                "worst": file.worst,
                "difference": _number(file.difference),
                "problem": file.problem,
                "alone": list(file.alone),
            }
            for file in shown.tensors
        ],
        "lines": None if shown.lines is None else asdict(shown.lines),
        "draws": [asdict(draw) for draw in shown.draws],
        "fallbacks": [
            {"operator": f.operator, "support": f.support, "calls": f.calls, "sites": list(f.sites)}
            for f in shown.fallbacks
        ],
        "blames": [_blame(blame) for blame in shown.blames],
        "notes": list(shown.notes),
    }


def _run(run: Run) -> dict[str, Any]:
    return {
        "exit_code": run.exit_code,
        "ended": run.ended,
        "seconds": round(run.seconds, 3),
        "last_words": run.last_words,
        "output": run.output[-TAIL:],
    }


def _blame(blame: Blame) -> dict[str, Any]:
    return {
        "path": blame.path,
        "line": blame.line,
        "code": blame.code,
        "findings": [{"rule": f.rule, "fingerprint": fingerprint(f)} for f in blame.findings],
    }


def _number(value: float) -> float | str:
    """JSON has no other numbers than finite ones."""
    return value if math.isfinite(value) else str(value)
