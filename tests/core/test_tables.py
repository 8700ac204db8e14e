"""Do tables of all parts keep what they show on the screen of a terminal?"""

import io

from rich.console import Console, RenderableType

from cordee.core.tables import side_by_side, table


def text(shown: RenderableType, width: int = 40) -> list[str]:
    console = Console(file=io.StringIO(), width=width)
    console.print(shown)
    assert isinstance(console.file, io.StringIO)
    return [line.rstrip() for line in console.file.getvalue().splitlines()]


def test_numbers_end_at_one_place() -> None:
    made = table(("name",), ("GiB",))
    made.add_row("a", "64")
    made.add_row("b", "1,024")
    assert text(made) == [" name    GiB", " a        64", " b     1,024"]


def test_only_what_may_be_broken_is_broken_where_room_is_short() -> None:
    made = table(("what it is called",), ("tokens/s",), ("why",))
    made.add_row("a name of four", "1,000,000", "a reason that is longer than the room for it")
    shown = text(made, 44)
    assert all(len(line) <= 44 for line in shown)
    assert "a name of four" in shown[1]
    assert "1,000,000" in shown[1]
    assert len(shown) > 3


def test_things_stand_beside_one_another_under_a_title() -> None:
    shown = text(side_by_side(("A100", "910B3"), [("chips", ["8", "16"])], "two chips"))
    assert shown == ["two chips", "        A100  910B3", " chips     8     16"]


def test_a_word_longer_than_its_column_goes_on_below() -> None:
    parts = "moe_act+layernorm+mla_up_proj+mlp_act"
    shown = text(side_by_side(("A100", "910B3"), [("layout", [parts, parts])]), 50)
    assert "…" not in " ".join(shown)
    assert parts[-3:] in shown[-1]
