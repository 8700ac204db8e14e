"""What a program of the user's would take, from a trace of a run on virtual chips."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner
from tests.plan.commands import Command
from tests.plan.pages import needs_no_network, text_of
from tests.plan.traced.programs import PROGRAM, gpt, said_of

from cordee.cli import cli
from cordee.plan import program
from cordee.plan.layout import Job, Layout
from cordee.plan.model import model
from cordee.plan.training import model_flops

CONFIG = {
    "architectures": ["LlamaForCausalLM"],
    "model_type": "llama",
    "hidden_size": 128,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "num_key_value_heads": 2,
    "vocab_size": 63,
    "max_position_embeddings": 128,
    "rms_norm_eps": 1e-5,
    "tie_word_embeddings": True,
    "hidden_act": "silu",
}


def counted(trace: Path) -> int:
    """Trained parameters, as the trace says."""
    lines = map(json.loads, trace.read_text("utf-8").splitlines())
    return sum(line["trained"] for line in lines if "parameters" in line)


def test_a_trace_has_the_arithmetic_of_the_models_config(two_layers: Path, tmp_path: Path) -> None:
    columns = next(
        line["count"]
        for line in map(json.loads, two_layers.read_text("utf-8").splitlines())
        if line.get("parameters") == "GPT.blocks.0.mlp.down"
    )
    config = tmp_path / "config.json"
    config.write_text(json.dumps(CONFIG | {"intermediate_size": columns // 128}), "utf-8")
    known = model(str(config))
    job = Job(model=known, layout=Layout(chips=1, micro_batch=4), sequence=128, batch=4)
    pairs = 128 * 129 / 2
    attention = 2 * 4 * 2 * pairs * 4 * 64  # layers, sequences, heads; two products of 64 numbers
    found = said_of(two_layers, "--chip", "910B3")
    # A config counts attention three times forward, a trace 3.5 times: its kernel reckons scores again.
    assert found["flops"] == pytest.approx(model_flops(job) + attention / 2, rel=0.002)
    assert counted(two_layers) == known.parameters


def test_the_step_that_is_planned_is_a_usual_one(two_layers: Path) -> None:
    found = said_of(two_layers, "--chip", "A100", "--chip", "910B3")
    assert (found["trains"], found["steps_traced"], found["passes"]) == (True, 3, 1)
    first, second = found["outcomes"]
    assert (first["chip"], second["chip"]) == ("A100-80-SXM", "910B3")
    for one in (first, second):
        assert sum(one["parts_s"].values()) == pytest.approx(one["seconds"])
        assert one["seconds_low"] < one["seconds"] < one["seconds_high"]
        assert one["seconds_with_a_host_twice_as_quick"] < one["seconds"]
        assert one["seconds_with_kernels_fused"] < one["seconds"]
    assert PROGRAM.refused(str(two_layers), "--chip", "A100", "--step", "4") == (
        "--step 4: the run has steps 1 to 3"
    )


def test_two_traced_layers_tell_of_six(two_layers: Path, tmp_path: Path) -> None:
    six = said_of(gpt(tmp_path, 6), "--chip", "910B3")
    found = said_of(two_layers, "--chip", "910B3", "--layers", "6")
    assert found["flops"] == pytest.approx(six["flops"])
    told, counted_ = found["outcomes"][0], six["outcomes"][0]
    assert told["seconds"] == pytest.approx(counted_["seconds"], rel=0.05)
    assert told["memory_bytes"] == pytest.approx(counted_["memory_bytes"], rel=0.05)


def test_shapes_alone_tell_as_much(two_layers: Path, tmp_path: Path) -> None:
    done, left_out = (
        said_of(trace, "--chip", "910B3") for trace in (two_layers, gpt(tmp_path, 2, "--shapes"))
    )
    assert left_out["flops"] == done["flops"]
    for what in ("seconds", "memory_bytes"):
        assert left_out["outcomes"][0][what] == pytest.approx(done["outcomes"][0][what], rel=0.02)


def test_more_chips_run_copies_that_sum_up_gradients(two_layers: Path) -> None:
    alone = said_of(two_layers, "--chip", "910B3")
    many = said_of(two_layers, "--chip", "910B3", "--chips", "64")
    assert many["copies"] == 64
    assert "collectives" not in alone["outcomes"][0]["parts_s"]
    assert many["outcomes"][0]["parts_s"]["collectives"] > 0
    assert many["outcomes"][0]["seconds"] > alone["outcomes"][0]["seconds"]


def test_a_step_that_was_measured_here_tells_of_a_chip_elsewhere(two_layers: Path) -> None:
    plain = said_of(two_layers, "--chip", "A100", "--chip", "910B3")["outcomes"]
    longer = plain[0]["seconds"] * 1.25
    measured = ("--measured", f"A100={longer}")
    found = said_of(two_layers, "--chip", "A100", "--chip", "910B3", *measured)["outcomes"]
    assert found[0]["seconds"] == pytest.approx(longer)
    assert found[1]["seconds"] == pytest.approx(1.25 * plain[1]["seconds"])
    refused = PROGRAM.refused(str(two_layers), "--chip", "A100", "--measured", "A100=soon")
    assert refused == "--measured A100=soon: a chip and the seconds of a step, such as A100=0.041"


def test_stages_wait_for_each_other_and_copies_join_the_groups_that_sum(two_stages: Path) -> None:
    found = said_of(two_stages, "--chip", "910B3", "--launch-us", "1")
    assert (found["ranks"], found["passes"]) == (4, 4)
    assert found["outcomes"][0]["parts_s"]["waits for others"] > 0
    more = said_of(two_stages, "--chip", "910B3", "--chips", "16", "--launch-us", "1")
    assert any("join the groups" in remark for remark in more["remarks"])
    refused = PROGRAM.refused(str(two_stages), "--chip", "910B3", "--chips", "6")
    assert refused.endswith("traced on 4, and whole copies of it run: 4 would")


def test_a_person_reads_what_takes_most(two_layers: Path) -> None:
    done = PROGRAM.run(str(two_layers), "--chip", "A100", "--chip", "910B3", "--steps", "1e6")
    assert done.exit_code == 0
    assert "GPT.blocks.*.attn" in done.output
    assert "no price known" in done.output


def test_the_page_needs_no_network(two_layers: Path, tmp_path: Path) -> None:
    page = tmp_path / "plan.html"
    done = PROGRAM.run(str(two_layers), "--chip", "A100", "--report", str(page))
    assert done.exit_code == 0, done.output
    assert needs_no_network(page)
    assert "Which modules take most" in text_of(page)


def test_python_answers_as_the_command_does(two_layers: Path) -> None:
    found = program(two_layers, ["A100", "910B3"], layers=6, chips=8)
    words = ("--chip", "A100", "--chip", "910B3", "--layers", "6", "--chips", "8")
    assert json.loads(json.dumps(found.data())) == said_of(two_layers, *words)


def test_what_is_no_trace_is_refused_and_a_trace_is_no_model(
    two_layers: Path, tmp_path: Path
) -> None:
    other = tmp_path / "config.json"
    other.write_text('{\n "architectures": []\n}\n', "utf-8")
    assert "not a line of a trace" in PROGRAM.refused(str(other), "--chip", "A100")
    other.write_text('{"architectures": []}\n', "utf-8")
    assert "cordee run --trace" in PROGRAM.refused(str(other), "--chip", "A100")
    train = Command("train").refused(str(two_layers), "--chip", "A100", "--chips", "8")
    assert train == f"{two_layers} is a trace of a program: cordee plan program {two_layers}"


def test_what_is_left_out_cannot_be_compared() -> None:
    done = CliRunner().invoke(
        cli, ["run", "--shapes", "--compare", "cpu", "--report", "x.html", "--", "true"]
    )
    assert str(done.exception) == "--shapes leaves out what --compare compares: give one of them"
