"""A proof as JSON, for programs."""

import json
import math
from dataclasses import asdict, fields
from typing import Any

from cordee.port.porting import Ported
from cordee.port.prove.proof import Proof, Run
from cordee.port.prove.showing import verdict

VERSION = 1
KEPT_CHARACTERS = 20_000  # of what a run printed, its end


def record(proof: Proof, ported: Ported, left: int) -> bytes:
    """The proof, and what the port that it is about has rewritten and left."""
    whole = {
        "proof": VERSION,
        "command": proof.command,
        "holds": proof.holds,
        "verdict": verdict(proof),
        "rewritten": len(ported.made),
        "left": left,
        "tolerance": proof.tolerance,
        "chip": _run(proof.chip),
        "cpu": _run(proof.cpu),
        "losses": [asdict(loss) | {"difference": loss.difference} for loss in proof.losses],
        "tensors": [asdict(file) for file in proof.tensors],
        "lines": asdict(proof.lines) if proof.lines is not None else None,
        "operators": proof.operators,
        "draws": [asdict(draw) for draw in proof.draws],
        "fallbacks": [asdict(fallback) for fallback in proof.fallbacks],
        "blames": [
            {"path": blame.path, "line": blame.line, "code": blame.code,
             "rules": [finding.rule for finding in blame.findings]}
            for blame in proof.blames
        ],
        "notes": list(proof.notes),
    }  # fmt: skip
    return (json.dumps(_finite(whole), indent=1, allow_nan=False) + "\n").encode()


def _run(run: Run | None) -> dict[str, Any] | None:
    if run is None:
        return None
    plain = {field.name: getattr(run, field.name) for field in fields(run)}
    return plain | {"output": run.output[-KEPT_CHARACTERS:]}


def _finite(value: Any) -> Any:
    """JSON has no infinity and no NaN: they are texts, "inf" and "nan"."""
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    if isinstance(value, dict):
        return {key: _finite(inner) for key, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(inner) for inner in value]
    return value
