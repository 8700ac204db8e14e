"""What all pages share: how numbers are said, and how a page comes to its file."""

import re
from pathlib import Path

import pytest

from cordee.core import pages
from cordee.core.errors import UsageError
from cordee.core.pages.chart import Scale, uprights
from cordee.core.pages.files import served
from cordee.core.pages.numbers import count_text, plural, share_text


def test_a_share_is_never_nothing_or_all_unless_it_is() -> None:
    shares = [share_text(share) for share in (0, 1e-9, 0.5, 0.99999, 1)]
    assert shares == ["0 %", "< 0.1 %", "50 %", "> 99.9 %", "100 %"]


def test_counts_have_thin_spaces_and_words_their_number() -> None:
    assert count_text(1234567) == "1\u202f234\u202f567"
    assert [plural(number, "file") for number in (0, 1, 2)] == ["0 files", "1 file", "2 files"]


def test_a_page_is_written_whole_and_nothing_else(tmp_path: Path) -> None:
    pages.save("bytes that are no text: \udcff", tmp_path / "page.html")
    assert [path.name for path in tmp_path.iterdir()] == ["page.html"]
    assert (tmp_path / "page.html").read_text("utf-8") == "bytes that are no text: ?"


def test_where_a_page_cannot_be_written_its_name_is_told(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"none/page\.html"):
        pages.save("", tmp_path / "none/page.html")


@pytest.mark.parametrize(("part", "title"), [("serve", "service"), ("train", "training")])
def test_pages_that_follow_something_have_one_head_with_a_title_of_their_own(
    part: str, title: str
) -> None:
    found = served(f"cordee.{part}.page", ("page.css", "page.js"))
    page = found["/"][1].decode()
    assert page.startswith("<!doctype html>")
    assert f"<title>Cordée: {title}</title>" in page
    linked = re.findall(r'(?:src|href)="(/[^"]+)"', page)
    assert len(linked) == 4
    assert all(path in found for path in linked)


@pytest.mark.parametrize("places", [(20, 24), (1, 3), (20, 50), (54, 57), (20, 24, 57)])
def test_words_of_marks_are_never_upon_each_other(places: tuple[int, ...]) -> None:
    marks = [(place, "worker 4 comes", "come") for place in places]
    drawn = "".join(uprights(marks, Scale(60, 0, 1)))
    rows = set()
    for x, y, anchor in re.findall(
        r'<text class="come" x="(\S+)" y="(\S+)" text-anchor="(\w+)"', drawn
    ):
        begins = float(x) - (80 if anchor == "end" else 0)
        assert 50 < begins < 720 - 80
        assert not any(row == y and abs(begins - other) < 80 for row, other in rows)
        rows.add((y, begins))
    assert len(rows) == len(places)


def test_words_are_on_the_side_where_no_mark_crosses_them() -> None:
    drawn = "".join(uprights([(20, "chip 3 is lost", "lost"), (24, "", "come")], Scale(60, 0, 1)))
    assert 'text-anchor="end">chip 3 is lost' in drawn
