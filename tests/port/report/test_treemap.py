"""The map of a repository: whose area is what, and how much is drawn of a large one."""

import re

import pytest
from tests.port.report.made import assessment, finding

from cordee.port.assessment import Judged
from cordee.port.report.rectangles import Box, divided
from cordee.port.report.treemap import treemap
from cordee.port.ties import files


@pytest.mark.parametrize("sizes", [[1.0], [6, 6, 4, 3, 2, 2, 1], [1000, 1, 1], [1.0] * 500])
def test_areas_are_as_sizes_and_fill_the_whole(sizes: list[float]) -> None:
    whole = Box(10, 20, 600, 400)
    boxes = divided(whole, sizes)
    assert [box.area for box in boxes] == pytest.approx(
        [size / sum(sizes) * whole.area for size in sizes]
    )
    assert all(box.x >= 10 and box.x + box.width <= 610.001 for box in boxes)
    assert all(box.y >= 20 and box.y + box.height <= 420.001 for box in boxes)


def test_like_sizes_are_like_squares() -> None:
    for box in divided(Box(0, 0, 600, 400), [1.0] * 24):
        assert max(box.width / box.height, box.height / box.width) < 1.6


def test_only_files_with_ties_are_links() -> None:
    other = Judged("b & c.py", "python", 50)
    drawn = treemap(files(assessment(finding(path="a b.py"), files=(other,)), None), 400, 300)
    assert re.findall(r'href="([^"]*)"', drawn) == ["#path=a%20b.py"]
    assert "b &amp; c.py: 50 lines, no tie" in drawn


def test_a_large_repository_is_not_drawn_file_by_file() -> None:
    many = [finding(path=f"p{n % 40}/q{n % 7}/{n}.py") for n in range(10_000)]
    drawn = treemap(files(assessment(*many), None), 1200, 440)
    assert drawn.count("<rect") < 4000


def test_an_empty_box_holds_nothing() -> None:
    assert [box.area for box in divided(Box(0, 0, 0, 5), [2.0, 1.0])] == [0, 0]
