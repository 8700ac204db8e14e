"""What does a trace say about the operators of a run?"""

import json
from pathlib import Path

from cordee.port.prove.operators import operators
from cordee.port.prove.proof import Draw, Fallback, Ran

LINES = (
    {"trace": 1},
    {"signature": 0, "operator": "aten::mm", "support": "native", "inputs": []},
    {"signature": 1, "operator": "aten::eig", "support": "host", "inputs": []},
    {"signature": 2, "operator": "aten::normal_", "support": "native", "inputs": []},
    {"place": 0, "site": "/port/train.py:7"},
    *({"call": number, "of": of, "at": 0} for number, of in enumerate((1, 0, 0, 2, 0))),
)


def test_all_are_counted_and_those_that_a_chip_lacks_have_a_place(tmp_path: Path) -> None:
    trace = tmp_path / "trace.jsonl"
    trace.write_text("\n".join(json.dumps(line) for line in LINES) + '\n{"call": 5, "o')
    found = operators(trace, Path("/port"))
    assert found.calls == 5
    assert found.ran == (
        Ran("aten::mm", "native", 3),
        Ran("aten::eig", "host", 1),
        Ran("aten::normal_", "native", 1),
    )
    assert found.fallbacks == (Fallback("aten::eig", "host", 1, ("train.py:7",)),)
    assert found.draws == (Draw("aten::normal_", 1, ("train.py:7",)),)
