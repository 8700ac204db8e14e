"""Which traceback in a program's output says why it failed, and in which words."""

import re

BEGINS = "Traceback (most recent call last)"
RANK = re.compile(r"^\[(?:rank|default)\d+\]:[ \t]?", re.MULTILINE)  # torchrun's, before each line
# torchrun closes with one of its own, which only says that a process of its has failed.
LAUNCHERS = "ChildFailedError"
NAMED = re.compile(r"[A-Za-z_][\w.]*(?::|$)")


def last_traceback(output: str) -> str:
    """The text from the last traceback on that is the program's own; empty where there is none."""
    _, *tracebacks = RANK.sub("", output).split(BEGINS)
    own = [text for text in tracebacks if LAUNCHERS not in text]
    return (own or tracebacks or [""])[-1]


def last_words(output: str) -> str:
    """The line that names the error, else the last that is not empty."""
    for line in last_traceback(output).splitlines()[1:]:
        if NAMED.match(line):
            return line.strip()
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    return lines[-1] if lines else ""
