"""Every fact the rules rest on names a page that a reader can open, and every advice reads well."""

import re
import tomllib
from collections import Counter
from importlib.resources import files
from typing import Any

import pytest

from cordee.port.finding import Confidence, Effort, Meaning
from cordee.port.report.sources import link
from cordee.port.rules import FAMILIES

TABLES = sorted(
    entry.name for entry in files("cordee.port.rules").iterdir() if entry.name.endswith(".toml")
)
REPOSITORY = re.compile(r"github\.com/[\w.-]+/[\w.-]+(?:@\w+)?[ :][^ ].*")
PAGE = re.compile(r"https://([\w.-]+)/\S*")
HOSTS = {
    "anaconda.org", "catboost.ai", "docs.jax.dev", "docs.nvidia.com", "docs.python.org", "docs.pytorch.org",
    "docs.rapids.ai", "docs.ray.io", "docs.sglang.io", "github.com", "gitcode.com", "gitee.com",
    "lightgbm.readthedocs.io", "onnxruntime.ai", "pypi.org", "pytorch-geometric.readthedocs.io",
    "slurm.schedmd.com", "www.hiascend.com", "xgboost.readthedocs.io",
}  # fmt: skip
OWN = ("inferred: ", "read by ", "the words ")  # what a rule knows without a page, and says so
NAMES = (
    "module", "name", "names", "old", "torch", "group", "pattern", "arguments", "tag", "keyword",
    "values", "file", "key", "value",
)  # fmt: skip
TEXTS = ("advice", "says", "what", "instead", "remark")


def rows(table: str) -> list[tuple[str, dict[str, Any]]]:
    text = (files("cordee.port.rules") / table).read_text("utf-8")
    return [(kind, row) for kind, found in tomllib.loads(text).items() for row in found]


def is_openable(source: str) -> bool:
    """Whether each part of a source, without what is said in brackets, is a page or a path."""
    parts = (re.sub(r" \([^()]*\)$", "", part) for part in source.split("; "))
    return all(
        REPOSITORY.fullmatch(part) or ((page := PAGE.fullmatch(part)) and page[1] in HOSTS)
        for part in parts
    )


def is_whole(text: str) -> bool:
    """Whether a text can be joined with others: no blank, stop or bracket is left over."""
    pairs = all(text.count(a) == text.count(b) for a, b in ("()", "[]", "{}"))
    return text == text.strip() and text[-1] not in ".,;:" and pairs and text.count("`") % 2 == 0


@pytest.mark.parametrize("table", TABLES)
def test_a_row_says_where_it_comes_from(table: str) -> None:
    wrong = {row["source"] for _, row in rows(table) if not is_openable(row["source"])}
    assert not wrong


@pytest.mark.parametrize("table", TABLES)
def test_a_source_becomes_a_link(table: str) -> None:
    assert all(link(row["source"]).address for _, row in rows(table))


@pytest.mark.parametrize("table", TABLES)
def test_nothing_is_said_twice(table: str) -> None:
    told = Counter((kind, *(str(row.get(name)) for name in NAMES)) for kind, row in rows(table))
    assert not [name for name, times in told.items() if times > 1]


@pytest.mark.parametrize("table", TABLES)
def test_a_text_is_whole(table: str) -> None:
    texts = [row[name] for _, row in rows(table) for name in TEXTS if row.get(name)]
    assert not [text for text in texts if not is_whole(text)]


@pytest.mark.parametrize("table", TABLES)
def test_a_row_speaks_of_what_there_is(table: str) -> None:
    meanings = {*Meaning, *Meaning.__members__}
    for _, row in rows(table):
        assert row.get("meaning", Meaning.RUNS) in meanings
        assert row.get("effort", Effort.S) in set(Effort)
        assert row.get("confidence", Confidence.CERTAIN) in set(Confidence)


def test_a_rule_says_where_it_comes_from() -> None:
    sources = {rule.source for family in FAMILIES for rule in family.rules if rule.source}
    assert not {s for s in sources if not is_openable(s) and not s.startswith(OWN)}


def test_a_code_is_one_rules() -> None:
    codes = Counter(rule.code for family in FAMILIES for rule in family.rules)
    assert all(re.fullmatch(r"NV\d{3}", code) and times == 1 for code, times in codes.items())


@pytest.mark.parametrize(
    "source", ["README", "README.md", "github.com/Ascend/pytorch", "hiascend.com CANN", "a wheel"]
)
def test_a_name_is_no_page(source: str) -> None:
    assert not is_openable(source)
