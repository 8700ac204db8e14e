"""The report as JUnit XML: a test case per file, which fails where there is a tie to NVIDIA."""

import re
import xml.etree.ElementTree as ET
from typing import IO

from cordee.port.assessment import Assessment, Judged

# What XML 1.0 cannot hold (www.w3.org/TR/xml, production Char).
FORBIDDEN = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def write(assessment: Assessment, file: IO[bytes]) -> None:
    """The report."""
    failing = [judged for judged in assessment.files if judged.findings]
    broken = list(assessment.problems)
    suite = ET.Element(
        "testsuite",
        name=_clean(f"cordee assess {assessment.root}"),
        tests=str(len(assessment.files)),
        failures=str(len([judged for judged in failing if not judged.problem])),
        errors=str(len(broken)),
        skipped="0",
        time="0",
    )
    for judged in assessment.files:
        suite.append(_case(judged))
    root = ET.Element("testsuites")
    root.append(suite)
    file.write(ET.tostring(root, encoding="utf-8", xml_declaration=True) + b"\n")


def _case(judged: Judged) -> ET.Element:
    case = ET.Element(
        "testcase", classname=f"cordee.{judged.kind}", name=_clean(judged.path), time="0"
    )
    lines = "\n".join(f"{f.path}:{f.line}:{f.column}: {f.rule} {f.says}" for f in judged.findings)
    if judged.problem:
        shown = ET.SubElement(case, "error", type="problem", message=_clean(judged.problem))
        shown.text = _clean(lines)
    elif judged.findings:
        rules = ", ".join(sorted({finding.rule for finding in judged.findings}))
        found = len(judged.findings)
        count = f"{found} tie{'' if found == 1 else 's'} to NVIDIA"
        ET.SubElement(case, "failure", type=rules, message=count).text = _clean(lines)
    return case


def _clean(text: str) -> str:
    return FORBIDDEN.sub("�", text)
