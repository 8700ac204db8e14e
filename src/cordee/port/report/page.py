"""Writes the report of an assessment as one HTML file that needs no network."""

import re
from pathlib import Path

from markupsafe import Markup, escape

from cordee import __version__
from cordee.core import pages
from cordee.port import score, ties
from cordee.port.assessment import Assessment
from cordee.port.finding import Effort
from cordee.port.hours import DAY_H, HOURS, LOOK_H, Hours, work_text
from cordee.port.report import charts
from cordee.port.report.blockers import blockers
from cordee.port.report.brought import brought
from cordee.port.report.evidence import (
    address,
    calls_text,
    difference_text,
    evidence,
    support_text,
)
from cordee.port.report.next_step import next_step
from cordee.port.report.records import records
from cordee.port.report.treemap import treemap
from cordee.port.ties import PortResult

SHOWN_BLOCKERS = 12  # the others are in the table of all findings


def write(assessment: Assessment, file: Path, result: PortResult | None = None) -> None:
    """Write the report to `file`: of what a port would do, or, given its result, of what it did.

    Raises `UsageError` where `file` cannot be written.
    """
    found = ties.files(assessment, result)
    figures = score.score(found)
    with_ties = [each for each in found if each.ties]
    environment = pages.environment(__package__)
    environment.filters["coded"] = _coded
    page = environment.get_template("page.html.j2").render(
        assessment=assessment,
        is_ported=result is not None,
        files=sorted(with_ties, key=lambda each: (-each.work.middle_h, each.judged.path)),
        problems=[each.judged for each in found if each.judged.problem],
        lines=sum(each.judged.lines for each in found),
        score=figures,
        step=next_step(found, figures, None if result is None else result.proof),
        shares=charts.shares(found, figures),
        kinds=charts.by_kind(found),
        families=charts.by_family(found),
        blockers=blockers(found),
        shown_blockers=SHOWN_BLOCKERS,
        maps=[treemap(found, 1200, 440), treemap(found, 400, 520)] if found else [],
        data=records(found),
        evidence=evidence(None if result is None else result.proof),
        brought=brought(found, None if result is None else result.new),
        address=address,
        calls_text=calls_text,
        difference_text=difference_text,
        support_text=support_text,
        version=__version__,
        work_text=work_text,
        efforts=[(effort, work_text(HOURS[effort])) for effort in Effort],
        look=work_text(Hours(LOOK_H, LOOK_H)),
        day_h=DAY_H,
        effort_words={"S": "minutes", "M": "hours", "L": "days"},
    )
    pages.save(page, file)


def _coded(text: str) -> Markup:
    """Words with what stands between backticks as code."""
    return Markup(re.sub("`([^`]+)`", r"<code>\1</code>", str(escape(text))))
