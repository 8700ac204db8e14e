"""Whatever is given, the answer is a report or one line: never a traceback."""

from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.serve.deployment.asking import Answer, asked

from cordee.serve.deployment.flags import flags, keys

NAMES = sorted({name for flag in flags() for name in (flag.name, *flag.aliases)})
PIECES = [
    "vllm serve", "docker run", "vllm/vllm-openai", "python -m vllm.entrypoints.openai.api_server",
    "sglang.launch_server", "trtllm-serve", "bash -c", "export", "env", "CUDA_VISIBLE_DEVICES=",
    "{", "}", '{"a": ', "[", "]", "'", '"', "\\", "\n", "$", "${X", "$(", "`", "<<E", ">", "|", "&&", "#",
    "=", "--", "-O", "-O.", "--no-", "--config", "services:", "- ", ": ", "&a", "*a", "FROM ", "CMD ",
    "\ud800", "²", "9" * 5000, "{" * 900, "\x00", "command:", "image:", "args:",
]  # fmt: skip
FRAGMENTS = st.one_of(
    st.sampled_from(PIECES),
    st.sampled_from(NAMES),
    st.sampled_from(sorted(keys())),
    st.text(max_size=6),
)
quick = settings(
    max_examples=120, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


def fine(answer: Answer) -> None:
    assert answer.code in (0, 1, 2)
    assert (answer.code == 2) == answer.text.startswith("error: ")


@quick
@given(st.lists(FRAGMENTS, max_size=12), st.sampled_from(["", " "]))
def test_of_any_words(pieces: list[str], between: str) -> None:
    fine(asked("--", "vllm serve x " + between.join(pieces)))


@quick
@given(st.lists(FRAGMENTS, max_size=8), st.sampled_from(["Ascend910B3", "Ascend310P3"]))
def test_of_any_options(words: list[str], chip: str) -> None:
    fine(asked("--chip", chip, "--json", "--", "vllm", "serve", "x", *words))


@quick
@given(
    text=st.lists(FRAGMENTS, max_size=15).map(" ".join),
    name=st.sampled_from(["a.sh", "a.yaml", "Dockerfile", "a"]),
)
def test_of_any_file(tmp_path: Path, text: str, name: str) -> None:
    (tmp_path / name).write_bytes(text.encode("utf-8", "surrogatepass"))
    fine(asked("--file", str(tmp_path / name)))


values = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.text(max_size=5), st.sampled_from(PIECES)),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.dictionaries(
            st.sampled_from(["image", "command", "args", "env", "environment", "services", "resources", "limits",
                             "nvidia.com/gpu", "deploy", "devices", "entrypoint", "name", "value"]),
            inner,
            max_size=4,
        ),
    ),
    max_leaves=12,
)  # fmt: skip


@quick
@given(values)
def test_of_any_manifest(tmp_path: Path, value: object) -> None:
    import yaml

    path = tmp_path / "m.yaml"
    path.write_text(yaml.safe_dump({"services": value, "spec": value}), "utf-8", "replace")
    fine(asked("--file", str(path)))


def test_anchors_that_multiply_are_walked_once(tmp_path: Path) -> None:
    lines = ["a0: &a0 [x, x]"]
    lines += [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]" for i in range(1, 30)]
    (tmp_path / "laughs.yaml").write_text("\n".join(lines))
    assert asked("--file", str(tmp_path / "laughs.yaml")).code == 2


@pytest.mark.parametrize("word", ["a\udce9b", "--port=\udce9"])
def test_bytes_that_are_no_text_are_answered(word: str) -> None:
    fine(asked("--", "vllm", "serve", "x", word))
