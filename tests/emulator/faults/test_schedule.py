"""What a schedule may say, and what it is told where it says something else."""

from pathlib import Path

import pytest

from cordee.core.errors import UsageError
from cordee.emulator.faults import KINDS, ChipLost, LinkFlapping, LinkSlow, Slow, WrongResult
from cordee.emulator.faults.fault import as_row, from_row
from cordee.emulator.faults.schedule import read

ROWS = (
    {"kind": "chip-lost", "chip": 3, "at_step": 100},
    {"kind": "memory", "chip": 1, "allocation": 2, "report": "uce", "after_s": 1.5},
    {"kind": "hang", "chip": 0, "for_s": 3},
    {"kind": "slow", "chip": 0, "factor": 2.5},
    {"kind": "wrong-result", "chip": 2, "operator": "aten::mm", "bit": 30},
    {"kind": "link-down", "between": [0, 3], "for_s": 1},
    {"kind": "link-slow", "between": [0, 3], "factor": 10},
    {"kind": "link-lossy", "between": [0, 3], "fraction": 0.01},
    {"kind": "link-flapping", "between": [0, 3], "up_s": 1, "down_s": 0.5},
    {"kind": "partition", "nodes": [0, 1]},
    {"kind": "host-lost", "node": 1},
)


def schedule(folder: Path, text: str) -> Path:
    path = folder / "faults.toml"
    path.write_text(text)
    return path


def test_every_kind_can_be_written_down() -> None:
    assert {row["kind"] for row in ROWS} == set(KINDS)
    for row in ROWS:
        written = {
            key: list(v) if isinstance(v, tuple) else v for key, v in as_row(from_row(row)).items()
        }
        assert written.items() >= row.items()


def test_a_schedule_is_read_in_its_order(tmp_path: Path) -> None:
    path = schedule(
        tmp_path,
        '[[fault]]\nkind = "chip-lost"\nchip = 3\nat_step = 100\n'
        '[[fault]]\nkind = "slow"\nchip = 0\nfactor = 3.0\nafter_s = 20\nfor_s = 5\n',
    )
    assert read(path) == [
        ChipLost(chip=3, at_step=100),
        Slow(chip=0, factor=3.0, after_s=20, for_s=5),
    ]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (
            '[[fault]]\nkind = "slow"\nchip = 0\nfactor = 2\nspeed = 1',
            "fault 1: slow: unknown key 'speed'",
        ),
        ('[[fault]]\nkind = "fire"\nchip = 0', "fault 1: kind = 'fire' is none of chip-lost"),
        ("[[fault]]\nchip = 0", "fault 1: kind = None"),
        ('[[fault]]\nkind = "slow"\nchip = 0', "slow: factor is missing"),
        (
            '[[fault]]\nkind = "slow"\nchip = "all"\nfactor = 2',
            "chip = 'all' is not a whole number",
        ),
        ('[[fault]]\nkind = "slow"\nchip = 0\nfactor = 0.5', "factor = 0.5 is not over 1"),
        (
            '[[fault]]\nkind = "hang"\nchip = 0\nat_step = 1\nafter_s = 1',
            "at_step or after_s, not both",
        ),
        ('[[fault]]\nkind = "chip-lost"\nchip = 0\nfor_s = 1', "takes no for_s"),
        ('[[fault]]\nkind = "link-down"\nbetween = [1, 1]', "two different numbers"),
        ('[[fault]]\nkind = "link-lossy"\nbetween = [0, 1]\nfraction = 2', "fraction = 2"),
        ('[[fault]]\nkind = "memory"\nchip = 0\nreport = "fire"', "neither 'ecc' nor 'uce'"),
        (
            '[[fault]]\nkind = "wrong-result"\nchip = 0\noperator = "mm"\nbit = 1',
            "such as 'aten::mm'",
        ),
        ("[[faults]]\nchip = 0", "[[fault]] rows and nothing else: faults"),
        ("[[fault]", "faults.toml: "),
    ],
)
def test_a_mistake_is_told_with_its_place(text: str, said: str, tmp_path: Path) -> None:
    path = schedule(tmp_path, text)
    with pytest.raises(UsageError) as told:
        read(path)
    assert str(path) in str(told.value)
    assert said in str(told.value)


def test_a_place_is_said_in_words() -> None:
    assert ChipLost(chip=3).place == "chip 3"
    assert LinkSlow(between=(0, 3), factor=2).place == "chips 0 - 3, x2"
    assert LinkFlapping(between=(0, 3), up_s=1, down_s=2).place == "chips 0 - 3, up 1 s, down 2 s"
    assert WrongResult(chip=2, operator="aten::mm", bit=3).place == "chip 2, bit 3 of aten::mm"
