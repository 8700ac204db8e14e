"""Findings that a team lives with: a file of fingerprints, which survive that lines move."""

import hashlib
import json
from collections import Counter
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

from cordee.core.errors import UsageError
from cordee.port.assessment import Judged
from cordee.port.finding import Finding

VERSION = 1


def fingerprint(finding: Finding) -> str:
    """Of the rule, the file and the code as it is written there, wherever in the file that is."""
    code = " ".join(finding.code.split())
    words = "\0".join((finding.rule, finding.path, code))
    return hashlib.blake2b(words.encode(errors="surrogatepass"), digest_size=12).hexdigest()


def written(findings: Iterable[Finding]) -> str:
    """The text of a baseline file: how many findings there are of each fingerprint."""
    counts = Counter(map(fingerprint, findings))
    return (
        json.dumps({"version": VERSION, "findings": dict(sorted(counts.items()))}, indent=1) + "\n"
    )


def read(path: Path) -> Counter[str]:
    """The counts of a baseline file. Raises `UsageError`."""
    try:
        found = json.loads(path.read_text("utf-8"))
    except OSError as error:
        raise UsageError(f"{path}: {error.strerror}: write it with --write-baseline") from error
    except ValueError as error:
        raise UsageError(f"{path}: not a baseline: {error}") from error
    match found:
        case {"version": 1, "findings": dict(counts)} if all(
            isinstance(count, int) for count in counts.values()
        ):
            return Counter(counts)
    raise UsageError(f"{path}: not a baseline of this version of cordee")


def without(files: Iterable[Judged], known: Counter[str]) -> list[Judged]:
    """The files without as many findings of each fingerprint as are known."""
    left, kept = Counter(known), []
    for file in files:
        new = []
        for finding in file.findings:
            mark = fingerprint(finding)
            if left[mark] > 0:
                left[mark] -= 1
            else:
                new.append(finding)
        silenced = file.suppressed + len(file.findings) - len(new)
        kept.append(replace(file, findings=tuple(new), suppressed=silenced))
    return kept
