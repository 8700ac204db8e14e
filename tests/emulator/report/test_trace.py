"""A trace holds what the program did, where in the program, and how it ended."""

import json
from pathlib import Path

import pytest
from tests.emulator.report.conftest import PROGRAM, Left

from cordee.core.errors import UsageError
from cordee.emulator.trace.reading import read
from cordee.emulator.trace.records import Call, Phase, Process, Support


@pytest.fixture(scope="module")
def process(left: Left) -> Process:
    (only,) = read(left.trace)
    return only


def calls(process: Process, operator: str) -> list[Call]:
    return [call for call in process.calls if call.signature.operator == operator]


def line_of(text: str) -> str:
    lines = PROGRAM.read_text().splitlines()
    number = next(n for n, line in enumerate(lines, start=1) if text in line)
    return f"program.py:{number}"


def test_every_operator_is_counted(process: Process) -> None:
    assert len(calls(process, "aten::relu")) == 3
    assert len(calls(process, "aten::threshold_backward")) == 3


def test_an_operator_has_its_shapes_and_dtypes(process: Process) -> None:
    (x,) = calls(process, "aten::relu")[0].signature.inputs
    assert (x.dtype, x.shape, x.device) == ("float16", (5, 16), "npu")


def test_a_call_knows_its_module_and_its_line(process: Process) -> None:
    place = calls(process, "aten::addmm")[0].place
    assert place.module == "Net.up"
    assert calls(process, "aten::relu")[0].place.site.endswith(line_of("torch.relu"))


def test_a_call_knows_when_it_ran_and_for_how_long(process: Process) -> None:
    before, after = calls(process, "aten::addmm")[:2]
    assert 0 < before.time_s < before.time_s + before.took_s <= after.time_s
    assert 0 <= before.waited_s <= before.took_s


def test_the_backward_is_placed_where_its_forward_was(process: Process) -> None:
    place = calls(process, "aten::threshold_backward")[0].place
    assert place.phase is Phase.BACKWARD
    assert place.site.endswith(line_of("torch.relu"))


def test_an_update_belongs_to_the_optimizer(process: Process) -> None:
    (step, *_) = calls(process, "aten::_foreach_add_.List")
    assert step.place.phase is Phase.OPTIMIZER


def test_a_fallback_to_the_host_names_the_copies_it_makes(process: Process) -> None:
    (fallback,) = calls(process, "aten::geometric_")
    assert fallback.signature.support is Support.HOST
    assert [call for call in process.calls if call.within == fallback.number]


def test_a_failed_call_says_why(process: Process) -> None:
    (failed,) = calls(process, "npu::attention_worker_scheduler")
    assert failed.signature.support is Support.NOT_EMULATED
    assert "is not emulated" in (failed.failed or "")


def test_half_precision_is_compared_with_float32(process: Process) -> None:
    difference = calls(process, "aten::addmm")[0].difference
    assert difference is not None
    assert 0 <= difference.absolute < 0.01
    assert difference.lost == 0


def test_the_end_of_the_program_is_told(process: Process, left: Left) -> None:
    assert process.finished
    assert process.failure is not None
    assert (process.failure.kind, process.failure.message) == ("ValueError", "this is how it ends")
    assert process.failure.site.endswith(line_of("raise ValueError"))
    assert left.exit_code == 1


def test_a_line_that_was_cut_off_is_left_out(left: Left, tmp_path: Path) -> None:
    cut = tmp_path / "cut.jsonl"
    cut.write_bytes(left.trace.read_bytes()[:-5])
    (process,) = read(cut)
    assert not process.finished


def test_a_file_that_is_no_trace_is_refused_by_name(tmp_path: Path) -> None:
    other = tmp_path / "other.jsonl"
    other.write_text(json.dumps({"hello": 1}) + "\n")
    with pytest.raises(UsageError, match=r"other\.jsonl: not a trace"):
        read(other)


def test_a_trace_of_another_version_is_refused(tmp_path: Path) -> None:
    newer = tmp_path / "newer.jsonl"
    newer.write_text(json.dumps({"trace": 99}) + "\n")
    with pytest.raises(UsageError, match="version 99, not 2"):
        read(newer)
