"""The table of torch.cuda's names against the tables of what the wheels offer."""

import pytest

from cordee.port.documents import document
from cordee.port.engine import findings
from cordee.port.finding import Safety, agreeing
from cordee.port.names import covered, offered
from cordee.port.rules.cuda_names import names
from cordee.port.setting import Setting, Style


@pytest.mark.parametrize("row", names().values(), ids=lambda row: row.name)
def test_every_counterpart_exists(row) -> None:
    for name in filter(None, (row.native, row.neutral)):
        assert offered(name, "2.13") or not covered(name)


def test_every_name_without_a_counterpart_says_what_to_do() -> None:
    for row in names().values():
        assert row.native or row.advice or row.last.startswith("_") or "_" in row.name[:1]


def _ported(source: str, torch: str, style: Style = Style.PORTABLE) -> str:
    opened = document("a.py", source.encode(), Setting(style=style, torch=torch))
    assert opened is not None
    fixes = [f.fix for f in findings(opened) if f.fix and f.fix.safety is Safety.SAFE]
    return opened.source.fixed(agreeing(fixes)[0]).decode()


def test_a_name_that_an_older_version_lacks_is_reached_another_way() -> None:
    source = "import torch\nif torch.cuda.is_available():\n    torch.cuda.empty_cache()\n"
    assert "torch.accelerator.empty_cache()" in _ported(source, "2.13")
    assert "torch.get_device_module().empty_cache()" in _ported(source, "2.6")


def test_nothing_is_written_that_no_version_offers() -> None:
    source = "import torch\ns = torch.cuda.ExternalStream(1)\n"
    assert _ported(source, "2.9", Style.NATIVE) == source
    assert "torch.npu.ExternalStream" in _ported(source, "2.13", Style.NATIVE)
