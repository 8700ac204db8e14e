"""Writes the report as one HTML file that needs no network."""

import shlex
from collections.abc import Sequence
from pathlib import Path

import jinja2
from markupsafe import Markup

from cordee.core import pages
from cordee.emulator.machine import LinkState
from cordee.emulator.report import numbers
from cordee.emulator.report.digest import digest
from cordee.emulator.report.lane_plot import lane_plot
from cordee.emulator.report.plot import memory_plot
from cordee.emulator.report.ranks import describe
from cordee.emulator.report.summary import Outcome, summarise
from cordee.emulator.timeline import Timeline
from cordee.emulator.trace.records import Process, Support

MEMORY_PLOTS = 8  # ranks mostly look alike; the others are in the table


def write(
    processes: Sequence[Process],
    timeline: Timeline | None,
    links: Sequence[LinkState],
    outcome: Outcome,
    target: Path,
) -> str:
    """Write the report of a run to `target`, given its processes and the links of its machine.

    Gives what it says in one line. No process at all is a report too: of a program that never reached
    PyTorch. Raises `UsageError` where `target` cannot be written.
    """
    summary = summarise(processes)
    ranks = describe(timeline, links) if timeline else None
    page = (
        _environment()
        .get_template("page.html.j2")
        .render(
            outcome=outcome,
            summary=summary,
            ranks=ranks,
            Support=Support,
            plots=MEMORY_PLOTS,
            program=_program(outcome.command),
            command=shlex.join(outcome.command),
        )
    )
    pages.save(page, target)
    return digest(summary, ranks)


def _program(command: Sequence[str]) -> str:
    """What the reader calls the program: its script."""
    scripts = [Path(word).name for word in command if word.endswith(".py")]
    return scripts[0] if scripts else Path(command[0]).name


def _environment() -> jinja2.Environment:
    environment = pages.environment(__package__)
    environment.filters |= {
        "bytes": numbers.bytes_text,
        "duration": numbers.duration_text,
        "small": numbers.small_text,
        "seconds": numbers.seconds_text,
    }
    environment.globals |= {
        "memory_plot": lambda series: Markup(memory_plot(series)),
        "lane_plot": lambda *of: Markup(lane_plot(*of)),
    }
    return environment
