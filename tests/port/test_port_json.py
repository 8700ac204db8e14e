"""What a port says to machines."""

import json
import math

from trees import CUDA, PLAIN, cordee, tree

from cordee.port.formats import of_port
from cordee.port.formats.ported import plain
from cordee.port.porting import Request, port, proven
from cordee.port.prove.losses import LossComparison
from cordee.port.prove.proof import Blame, Proof, Run

KEYS = [
    "version", "root", "revision", "style", "torch", "folder", "patch", "report", "summary",
    "problems", "changed", "new", "made", "left", "proof",
]  # fmt: skip
KERNEL = "import torch\ntorch.cuda.nccl.version()\n"
FAILED = Run("chip", 1, 1.0, "Traceback", "RuntimeError: none")


def test_it_says_what_was_made_and_what_is_left_and_nothing_else(tmp_path) -> None:
    root = tree(tmp_path / "r", {"a.py": CUDA, "b.py": KERNEL, "c.py": PLAIN})
    done = cordee("port", root, "--json")
    assert (done.returncode, done.stderr) == (0, b"")
    found = json.loads(done.stdout)
    assert list(found) == KEYS
    assert found["folder"] == str(tmp_path / "r-ascend")
    assert found["changed"] == [{"path": "a.py", "made": 2, "left": 0}]
    assert [(each["path"], each["rule"]) for each in found["made"]] == [
        ("a.py", "NV201"),
        ("a.py", "NV101"),
    ]
    (left,) = found["left"]
    assert (left["path"], left["rule"], left["state"], left["why"]) == ("b.py", "NV103", "left", "")
    assert left["hours"] == [1, 4]
    total = found["summary"]["total"]
    assert (total["findings"], total["fixed"], total["left"]) == (3, 2, {"M": 1})
    assert found["proof"] is None


def test_with_a_diff_nothing_is_written_and_the_rest_is_said(tmp_path) -> None:
    root = tree(tmp_path / "r", {"a.py": CUDA})
    found = json.loads(cordee("port", root, "--diff", "--json").stdout)
    assert (found["folder"], found["patch"], found["report"]) == (None, None, None)
    assert len(found["made"]) == 2
    assert [path.name for path in tmp_path.iterdir()] == ["r"]


def test_a_proof_is_in_it_and_in_the_report(tmp_path) -> None:
    root = tree(tmp_path / "r", {"a.py": CUDA, "b.py": KERNEL})
    done = port(Request(path=root), of_port)
    before = (tmp_path / "r-ascend" / done.report).read_text("utf-8")
    (kernel,) = (left.finding for left in done.left)
    loss = LossComparison("loss", (2.0, math.nan), (2.0, 1.0))
    proof = Proof(
        command="python b.py",
        chip=FAILED,
        cpu=Run("cpu", 0, 1.0, ""),
        losses=(loss,),
        blames=(Blame("b.py", 2, "torch.cuda.nccl.version()", (kernel,)),),
    )
    done = proven(done, proof, of_port)
    after = (tmp_path / "r-ascend" / done.report).read_text("utf-8")
    assert ("Not proven" in before, "Not proven" in after) == (False, True)
    assert "#path=b.py&amp;at=2:1" in after
    found = json.loads(json.dumps(plain(done), allow_nan=False))["proof"]
    assert (found["holds"], found["chip"]["exit_code"]) == (False, 1)
    assert found["losses"][0]["chip"] == [2.0, "nan"]
    assert found["losses"][0]["difference"] == "inf"
    assert found["blames"][0]["findings"][0]["rule"] == "NV103"


def test_a_port_in_place_that_changes_nothing_gets_no_report(tmp_path) -> None:
    root = tree(tmp_path / "r", {"c.py": PLAIN})
    found = json.loads(cordee("port", root, "--in-place", "--json").stdout)
    assert (found["patch"], found["report"]) == (None, None)
    assert [path.name for path in root.iterdir()] == ["c.py"]
