"""Which of the lines that a program printed it printed on both sides: of text that it wrote, say."""

import re
from difflib import SequenceMatcher

from cordee.port.prove.proof import LineComparison

MOST_LINES = 2000
# What differs from run to run: dates, times, speeds, processes, and the name of the device.
VARYING = re.compile(
    r"\b(?:npu|cpu)(?::\d+)?\b|\d+(?:[.,:]\d+)*(?:e[-+]?\d+)?\s*(?:%|ms|us|s|sec|seconds|it/s|GB|GB/s|TF/s|tokens/sec)?(?![\w.])"
)


def compared(chip: str, cpu: str) -> LineComparison | None:
    """How many lines are the same, their numbers aside; none where nothing was printed."""
    ours, theirs = _words(chip), _words(cpu)
    if not ours and not theirs:
        return None
    blocks = SequenceMatcher(None, ours, theirs, autojunk=False).get_matching_blocks()
    return LineComparison(max(len(ours), len(theirs)), sum(block.size for block in blocks))


def _words(output: str) -> list[str]:
    lines = (" ".join(VARYING.sub("#", line).split()) for line in output.splitlines())
    return [line for line in lines if line][-MOST_LINES:]
