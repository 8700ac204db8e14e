"""A YAML text that is to say something else keeps its comments and its layout."""

import copy
from typing import Any

import pytest
import yaml
from hypothesis import example, given, settings
from hypothesis import strategies as st

from cordee.serve.deployment.yaml_text import rewritten

TEXT = """\
# what this is
services:
  llm:  # the server
    image: old:1   # pinned
    runtime: nvidia
    # its words
    command: >
      --model x
      --port 1
    environment:
      - A=1   # one
      - GONE=2
      # three
      - B=3

  web:
    image: "nginx"
# the end
"""


def changed(text: str, change: Any) -> str:
    documents = list(yaml.safe_load_all(text))
    after = copy.deepcopy(documents)
    change(after)
    out = rewritten(text, after)
    assert list(yaml.safe_load_all(out)) == after
    return out


def test_what_is_not_changed_stays_with_its_comments() -> None:
    def change(documents: list[Any]) -> None:
        llm = documents[0]["services"]["llm"]
        llm["image"] = "new:2"
        del llm["runtime"]
        llm["command"] = ["vllm", "serve"]
        llm["environment"] = ["A=1", "B=3", "C=4"]
        llm["devices"] = ["/dev/davinci0"]

    assert (
        changed(TEXT, change)
        == """\
# what this is
services:
  llm:  # the server
    image: new:2   # pinned
    # its words
    command:
      - vllm
      - serve
    environment:
      - A=1   # one
      # three
      - B=3
      - C=4
    devices:
      - /dev/davinci0

  web:
    image: "nginx"
# the end
"""
    )


@pytest.mark.parametrize(
    "text",
    [
        "a: {b: 1, c: [1, 2]}\n",
        "a: &x\n  b: 1\n  c: [1, 2]\nd: *x\n",
        "a:\n  b: 1\n  c:\n  - 1\n  - 2",
        "- a:\n    b: 1\n    c: [1, 2]\n- 2\n",
        "a:\r\n  b: 1\r\n  c: [1, 2]\r\n",
        '{"a": {"b": 1, "c": [1, 2]}}',
        "base: &base\n  b: 1\na:\n  <<: *base\n  c: [1, 2]\n",
        "--- # one\nx: 1\n---\na:\n  b: |\n    two\n    lines\n  c: [1, 2]\n...\n",
    ],
)
def test_it_says_what_it_is_to_say_in_any_layout(text: str) -> None:
    def change(documents: list[Any]) -> None:
        inner = documents[-1][0]["a"] if isinstance(documents[-1], list) else documents[-1]["a"]
        inner["b"], inner["new"] = "other\ntext", {"x": [{"y": 1}]}
        inner["c"] = [2, {"z": None}]

    changed(text, change)


KEYS = st.sampled_from(["a", "b", "image", "x-y", "nvidia.com/gpu"])
LEAVES = st.one_of(
    st.none(), st.booleans(), st.integers(0, 9), st.text(max_size=6), st.just("a\nb")
)
VALUES = st.recursive(
    LEAVES,
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(KEYS, inner, max_size=3)),
    max_leaves=10,
)
DOCUMENTS = st.dictionaries(KEYS, VALUES, max_size=4)


@settings(max_examples=300, deadline=None)
@example({"a": "b"}, {"a": "\x85", "b": "c\u2028d\n"}, False)
@example({"a": "b"}, {"a": "\x85", "b": "c\u2028d\n"}, True)
@given(DOCUMENTS, DOCUMENTS, st.booleans())
def test_any_document_becomes_any_other(old: object, new: object, flow: bool) -> None:
    text = yaml.safe_dump(old, default_flow_style=flow, sort_keys=False, allow_unicode=True)
    assert list(yaml.safe_load_all(rewritten(text, [new]))) == [new]
