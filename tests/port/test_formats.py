"""Each format says the same, in a form that its readers take."""

import json
import xml.etree.ElementTree as ET

import pytest
from trees import CUDA, cordee, tree

from cordee.port.assessment import Assessment
from cordee.port.engine import RULES
from cordee.port.formats import FORMATS, written
from cordee.port.survey import assess

FILES = {
    "a b/ü.py": CUDA,
    "bad.py": "print 'cuda | `x` <b>'\n",
    "c.py": "import torch\ntorch.cuda._sleep(\n1)\n",
}


@pytest.fixture
def assessment(tmp_path) -> Assessment:
    return assess(tree(tmp_path / "r", FILES))


def test_every_format_can_be_written_and_is_the_same_every_time(assessment) -> None:
    for name in FORMATS:
        if name != "html":
            assert written(assessment, name) == written(assessment, name) != b""


def test_json_holds_everything(assessment) -> None:
    found = json.loads(written(assessment, "json"))
    assert list(found) == [
        "version", "root", "revision", "style", "torch", "summary", "problems", "findings",
    ]  # fmt: skip
    findings = list(assessment.findings)
    assert len(found["findings"]) == found["summary"]["total"]["findings"] == len(findings)
    first = found["findings"][0]
    assert (first["path"], first["rule"], first["line"]) == ("a b/ü.py", "NV201", 4)
    text = FILES["a b/ü.py"]
    assert text[first["start"] : first["end"]] == '"cuda"'
    assert first["fix"]["safety"] == "safe"
    assert [problem["path"] for problem in found["problems"]] == ["bad.py"]


def test_sarif_places_results_where_they_are(assessment) -> None:
    log = json.loads(written(assessment, "sarif"))
    assert (log["version"], len(log["runs"])) == ("2.1.0", 1)
    (run,) = log["runs"]
    rules = run["tool"]["driver"]["rules"]
    assert {rule["id"] for rule in rules} == {"NV001", *RULES}
    for rule in rules:
        assert rule["help"]["text"]
        assert rule["defaultConfiguration"]["level"] in ("note", "warning", "error")
    for result, finding in zip(run["results"], assessment.findings, strict=True):
        assert rules[result["ruleIndex"]]["id"] == result["ruleId"] == finding.rule
        region = result["locations"][0]["physicalLocation"]["region"]
        assert (region["startLine"], region["endColumn"]) == (finding.line, finding.end_column)
    uri = run["results"][0]["locations"][0]["physicalLocation"]["artifactLocation"]["uri"]
    assert uri == "a%20b/%C3%BC.py"


def test_the_fixes_of_sarif_are_those_that_a_port_makes(assessment) -> None:
    (run,) = json.loads(written(assessment, "sarif"))["runs"]
    text = str(FILES["a b/ü.py"])
    for result in reversed(run["results"]):
        for fix in result.get("fixes", []):
            for change in fix["artifactChanges"][0]["replacements"]:
                start = change["deletedRegion"]["charOffset"]
                end = start + change["deletedRegion"]["charLength"]
                if "%C3%BC" in fix["artifactChanges"][0]["artifactLocation"]["uri"]:
                    text = text[:start] + change["insertedContent"]["text"] + text[end:]
    assert "cuda" not in text


def test_junit_has_a_case_for_every_file(assessment) -> None:
    suite = ET.fromstring(written(assessment, "junit")).find("testsuite")
    assert suite is not None
    assert suite.attrib | {"tests": "3", "failures": "2", "errors": "1"} == suite.attrib
    kinds = {case.get("name"): [child.tag for child in case] for case in suite}
    assert kinds == {"a b/ü.py": ["failure"], "bad.py": ["error"], "c.py": ["failure"]}


def test_markdown_shows_code_and_is_no_markup(assessment) -> None:
    text = written(assessment, "markdown").decode()
    assert text.startswith("## r: ")
    assert "`torch.cuda.synchronize` is" in text
    assert "<b>" not in text


def test_a_report_goes_to_a_file(tmp_path) -> None:
    root = tree(tmp_path / "r", FILES)
    done = cordee("assess", root, "--format", "sarif", "--output", tmp_path / "out.sarif")
    assert (done.returncode, done.stdout) == (1, b"")
    assert json.loads((tmp_path / "out.sarif").read_text())["version"] == "2.1.0"
    done = cordee("assess", root, "--json", "--output", tmp_path / "none" / "out.json")
    assert (done.returncode, done.stderr.startswith(b"error: ")) == (2, True)


def test_every_rule_is_explained() -> None:
    listed = cordee("explain").stdout.decode()
    for code in ("NV001", *RULES):
        assert code in listed
    shown = cordee("explain", "nv101").stdout.decode()
    assert "a name of torch.cuda has a counterpart" in shown
    assert "torch.accelerator.synchronize()" in shown
    assert cordee("explain", "NV999").returncode == 2
