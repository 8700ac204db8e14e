"""A whole YAML file with its servers on Ascend, and what is said of all around them."""

from collections.abc import Sequence
from dataclasses import replace

import yaml

from cordee.serve.deployment import charts, compose, pods
from cordee.serve.deployment.moved import script_of
from cordee.serve.deployment.report import Report
from cordee.serve.deployment.surroundings import Surroundings
from cordee.serve.deployment.trees import Path
from cordee.serve.deployment.yaml_text import rewritten

KINDS = {"compose": compose.moved, "kubernetes": pods.moved, "helm": charts.moved}


def is_whole(reports: Sequence[Report]) -> bool:
    """Whether the servers are of a file that is written as a whole."""
    return all(report.launch.kind in KINDS for report in reports)


def whole(text: str, reports: Sequence[Report]) -> tuple[str, list[Report]]:
    """The new file, and the reports with what is said of resources, devices, nodes and mounts."""
    documents = list(yaml.safe_load_all(text))
    made: dict[int, Report] = {}
    scripts: dict[Path, str] = {}
    # Of several servers in one script the last comes first, so that places in front of it stay.
    order = sorted(range(len(reports)), key=lambda n: _begins(reports[n]), reverse=True)
    for number in order:
        report, around = reports[number], Surroundings(reports[number].target)
        script, place = report.launch.script, report.launch.place
        if script is not None:
            now = replace(script, text=scripts.get(place, script.text))
            report = replace(report, launch=replace(report.launch, script=now))
            scripts[place] = script_of(report)
        documents = KINDS[report.launch.kind](documents, report, around)
        made[number] = replace(report, findings=(*report.findings, *around.findings))
    after = [made[number] for number in range(len(reports))]
    rest = Surroundings(after[0].target)
    for kind, module in (("compose", compose), ("kubernetes", pods)):
        own = [report for report in after if report.launch.kind == kind]
        if own:
            module.others(documents, own, rest)
    after[0] = replace(after[0], findings=(*after[0].findings, *rest.findings))
    return rewritten(text, documents), after


def _begins(report: Report) -> int:
    script = report.launch.script
    return script.span[0] if script is not None and script.span else 0
