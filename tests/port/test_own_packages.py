"""A package of the repository's own may be called like one of NVIDIA's."""

from cordee.port.documents import document
from cordee.port.engine import findings
from cordee.port.finding import Effort, Meaning
from cordee.port.setting import Project, Setting


def _codes(text: str, *modules: str, path: str = "run.py") -> list[str]:
    setting = Setting(project=Project(modules=frozenset({path, *modules})))
    opened = document(path, text.encode(), setting)
    assert opened is not None
    return [finding.rule for finding in findings(opened)]


def test_a_folder_called_nvidia_beside_a_program_is_its_own() -> None:
    text = "from nvidia.modeling import Bert\nmodel = Bert()\n"
    assert _codes(text, "nvidia/modeling.py") == []
    assert _codes(text) == ["NV451", "NV452"]


def test_a_folder_deep_in_a_package_is_not_a_library_of_the_same_name() -> None:
    text = "from triton.testing import do_bench_cudagraph\n"
    inside = ("pack/__init__.py", "pack/ops/__init__.py", "pack/ops/triton/__init__.py")
    assert _codes(text, *inside) == _codes(text) != []
    assert _codes(text, "vendored/triton/__init__.py") == []
    assert _codes(text, *inside, path="pack/ops/cute/run.py") == _codes(text)


def test_what_a_repository_itself_says_of_nccl_takes_nobody_hours_to_import() -> None:
    project = Project(modules=frozenset({"run.py", "pools.py"}))
    opened = document("run.py", b"from pools import nccl_pool\n", Setting(project=project))
    assert opened is not None
    (found,) = findings(opened)
    assert (found.rule, found.meaning, found.effort) == ("NV406", Meaning.RUNS, Effort.S)
