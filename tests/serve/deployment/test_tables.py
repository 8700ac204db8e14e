"""The tables name what exists, and the program that writes two of them reads vLLM's declarations."""

import subprocess
import sys
import tomllib
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import pytest

from cordee.hw.chip import chips
from cordee.serve.deployment.chips import families, family_of
from cordee.serve.deployment.flags import flags, keys, named, release, releases
from cordee.serve.deployment.judgement import Row, Verdict, row_for, table
from cordee.serve.deployment.model import matrix
from cordee.serve.deployment.others import counterparts

ROOT = Path(__file__).parents[3]
EXISTING = (
    {flag.name for flag in flags()} | {name for f in flags() for name in f.aliases} | set(keys())
)
# Values of any keys: what the platform or the model takes.
FREE = ("--additional-config.", "--hf-overrides.")
JUDGEMENTS = [*table("judgements.toml"), *table("former.toml")]


@pytest.mark.parametrize("pattern", sorted({p for row in JUDGEMENTS for p in row.flags}))
def test_a_judgement_is_about_a_flag_that_exists(pattern: str) -> None:
    assert pattern.startswith(FREE) or any(fnmatchcase(name, pattern) for name in EXISTING)


@pytest.mark.parametrize(
    "row", [r for r in JUDGEMENTS if r.change.startswith(("flag ", "as "))], ids=lambda r: r.change
)
def test_what_is_written_instead_exists_in_the_newest_release(row: Row) -> None:
    name = row.change.split()[1]
    flag = keys().get(name) or named(name.partition(".")[0], release(None).vllm)
    assert flag is not None
    assert flag.there(release(None).vllm)


@pytest.mark.parametrize(
    "row", [r for r in table("former.toml") if "." not in r.flags[0]], ids=lambda r: r.flags[0]
)
def test_what_is_called_former_is_gone_from_the_newest_release(row: Row) -> None:
    for name in row.flags:
        flag = keys().get(name) or named(name, release(None).vllm)
        assert flag is not None
        assert not flag.there(release(None).vllm), name


def test_families_are_known_and_every_chip_has_one() -> None:
    known = {family.name for family in families()}
    rows = [*JUDGEMENTS, *table("quantization.toml"), *table("environment.toml")]
    assert {name for row in rows for name in row.families} <= known
    assert {name for row in matrix() for name in row.families} <= known
    assert {family_of(chip.soc_name)[1].name for chip in chips()} <= known


def test_counterparts_are_flags_of_vllm() -> None:
    for engine in ("sglang", "tensorrt-llm"):
        for row in counterparts(engine).values():
            name = row.to.split()[0].partition(".")[0] if row.to else ""
            if name and name != "MODEL":
                positive = "--" + name.removeprefix("--no-").removeprefix("--")
                assert named(positive, release(None).vllm), row.to


def test_most_flags_of_the_newest_release_are_judged() -> None:
    version = release(None).vllm
    there = [flag for flag in flags() if flag.there(version)]
    unsaid = [
        f.name for f in there if row_for(f.name, "", "A2") is None and f.name != "--quantization"
    ]
    values_only = {row_flag for row in table("judgements.toml") for row_flag in row.flags}
    unsaid = [name for name in unsaid if name not in values_only]
    assert len(there) > 250
    assert len(unsaid) / len(there) < 0.25, unsaid


def test_releases_are_versions_of_vllm_whose_flags_are_known() -> None:
    assert releases()[0].vllm == "0.23.0"
    assert all(any(flag.there(known.vllm) for flag in flags()) for known in releases())


def test_verdicts_that_change_nothing_say_what_to_do() -> None:
    for row in [*JUDGEMENTS, *table("environment.toml"), *table("quantization.toml")]:
        if row.verdict in (Verdict.ABSENT, Verdict.OTHERWISE):
            assert row.instead or row.change, row


DECLARATIONS = """
class EngineArgs:
    @staticmethod
    def add_cli_args(parser):
        model_kwargs = get_kwargs(ModelConfig)
        group = parser.add_argument_group(title="ModelConfig")
        group.add_argument("--quant", "-q", **model_kwargs["quant"])
        group.add_argument("--eager", **{**model_kwargs["eager"], "default": None})
        group.add_argument("--names", **model_kwargs["names"])
        group.add_argument("--inner-config", "-ic", **model_kwargs["inner"])
        group.add_argument("--bare", action="store_true")
        group.add_argument("--width", type=int, help="a number")
"""
CONFIGURATION = """
from dataclasses import dataclass
from typing import Literal
Quant = Literal["awq", "gptq"]
@dataclass
class InnerConfig:
    depth: int = 1
@dataclass
class ModelConfig:
    quant: Quant | None = None
    eager: bool = False
    names: list[str] | None = None
    inner: InnerConfig | None = None
"""
FRONT_END = """
class FrontendArgs:
    host: str | None = None
    ssl: bool = False
"""


def vllm_at(folder: Path, version: str, declarations: str) -> None:
    root = folder / version / "vllm"
    for name, text in {
        "engine/arg_utils.py": declarations,
        "config/model.py": CONFIGURATION,
        "entrypoints/openai/cli_args.py": FRONT_END,
        "envs.py": "environment_variables = {'VLLM_HOST_IP': None, 'VLLM_PORT': None}",
    }.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)


def test_the_program_reads_flags_from_declarations(tmp_path: Path) -> None:
    vllm_at(tmp_path / "in", "0.1.0", DECLARATIONS)
    vllm_at(tmp_path / "in", "0.2.0", DECLARATIONS.replace("--bare", "--new"))
    out = tmp_path / "out"
    out.mkdir()
    tool = ROOT / "tools" / "vllm_flags.py"
    subprocess.run([sys.executable, tool, "--versions", tmp_path / "in", out], check=True)

    def read(name: str) -> dict[str, dict[str, Any]]:
        rows = tomllib.loads((out / name).read_text())["row"]
        return {row.pop("name"): row for row in rows}

    found = read("flags.toml")
    assert {name: row["kind"] for name, row in found.items()} == {
        "--quant": "value", "--eager": "flag", "--names": "many", "--inner-config": "json",
        "--bare": "switch", "--new": "switch", "--width": "value", "--host": "value", "--ssl": "flag",
    }  # fmt: skip
    assert found["--quant"]["choices"] == ["awq", "gptq"]
    assert found["--quant"]["aliases"] == ["-q"]
    assert (found["--bare"]["since"], found["--bare"]["until"]) == ("0.1.0", "0.1.0")
    assert found["--new"]["since"] == "0.2.0"
    assert "until" not in found["--new"]
    assert set(read("keys.toml")) == {"--inner-config.depth"}
    assert set(read("variables.toml")) == {"VLLM_HOST_IP", "VLLM_PORT"}
