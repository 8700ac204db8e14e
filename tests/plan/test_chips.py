"""`cordee plan chips`, as a user calls it."""

import json
from pathlib import Path

from click.testing import CliRunner

from cordee.cli import cli


def shown(*arguments: str, columns: int = 200) -> str:
    done = CliRunner().invoke(cli, ["plan", "chips", *arguments], env={"COLUMNS": f"{columns}"})
    assert done.exit_code == 0, done.output
    return done.output


def test_every_chip_is_listed() -> None:
    lines = [line.strip() for line in shown().splitlines()]
    assert any(line.startswith("H100-SXM") for line in lines)
    assert any(line.startswith("910B3") for line in lines)


def test_no_figure_is_cut_in_a_narrow_terminal() -> None:
    output = shown(columns=80)
    assert "…" not in output
    assert all(len(line) <= 80 for line in output.splitlines()[:-1])


def test_two_chips_are_compared_figure_by_figure() -> None:
    output = shown("A100", "910B3")
    bf16 = next(line for line in output.splitlines() if "TFLOPS bf16" in line)
    assert bf16.split() == ["TFLOPS", "bf16", "312", "294.9", "x0.95"]
    assert "910B3: source:" in output


def test_where_sources_differ_both_figures_are_shown() -> None:
    assert "memory_bytes: also 192 GB" in shown("B200")


def test_a_machine_reads_chips_with_their_prices() -> None:
    (chip,) = json.loads(shown("H800", "--json"))
    assert chip["name"] == "H800-SXM"
    assert chip["prices"][0]["low_usd"] == 2.0


def test_a_file_of_the_users_own_is_shown_beside(tmp_path: Path) -> None:
    file = tmp_path / "mine.toml"
    file.write_text(
        '[[chip]]\nname = "Mine"\nmaker = "me"\nflops_per_s = { bf16 = 2e14 }\n'
        'memory_bytes = 34359738368\nchecked = "opened"\nsource = "measured"\n'
    )
    assert "200" in shown("Mine", "A100", "--chips-file", str(file))
