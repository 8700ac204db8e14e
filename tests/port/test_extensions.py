"""Extensions that are compiled for CUDA, where there is no compiler for it."""

import sys

import pytest

from cordee.port.documents import document
from cordee.port.engine import findings
from cordee.port.project import extensions
from cordee.port.python.extensions import formula, formulas
from cordee.port.python.replacements import KERNELS, brought
from cordee.port.setting import Project, Setting

torch = pytest.importorskip("torch")


def test_what_is_not_known_says_so_when_it_is_called(kernels) -> None:
    own = kernels.load("own_ops", sources=["own.cpp", "own_kernel.cu"], verbose=True)
    assert sys.modules["own_ops"] is own
    step = own.march_rays
    with pytest.raises(NotImplementedError, match=r"march_rays of the extension own_ops \(compiled from own.cpp, own_kernel.cu\).*Ascend C"):  # fmt: skip
        step(1, 2)
    with pytest.raises(NotImplementedError, match="own_ops"):
        own.Marcher.of(3)


def test_operators_are_found_in_torch_ops(kernels) -> None:
    assert kernels.load("own_flow", ["flow.cu"], is_python_module=False) is None
    with pytest.raises(NotImplementedError, match="forward of the extension own_flow"):
        torch.ops.own_flow.forward(torch.ones(2))


def test_sources_inside_of_a_program(kernels) -> None:
    made = kernels.load_inline("inline_ops", "", "__global__ void f() {}", functions=["f"])
    with pytest.raises(NotImplementedError, match="f of the extension inline_ops"):
        made.f()


@pytest.mark.parametrize(("gpu", "sources"), [(True, ["a.cu"]), (False, ["a.cpp"])])
def test_pytorch_compiles_what_it_can(kernels, monkeypatch, gpu, sources) -> None:
    import torch.utils.cpp_extension as builder

    seen = []
    monkeypatch.setattr(kernels, "compiles", lambda: gpu)
    monkeypatch.setattr(builder, "load", lambda *a, **k: seen.append((a, k)) or "compiled")
    assert kernels.load("own", sources, verbose=True) == "compiled"
    assert seen == [(("own", sources), {"verbose": True})]


def test_an_extension_that_is_installed_is_itself(kernels, tmp_path, monkeypatch) -> None:
    (tmp_path / "fused_thing_cuda.py").write_text("forward = 'compiled'\n")
    monkeypatch.syspath_prepend(tmp_path)
    assert kernels.fused_thing_cuda.forward == "compiled"
    monkeypatch.setattr(kernels, "served", lambda: True)
    with pytest.raises(ImportError):
        kernels.extension("other_thing_cuda")


def judged(text, **project):
    opened = document("ops.py", text.encode(), Setting(project=Project(**project)))
    return [(f.rule, f.fix and f.fix.edits[0].text) for f in findings(opened)]


def test_what_a_setup_builds_is_imported_through_the_stand_in() -> None:
    setup = b'from torch.utils.cpp_extension import CUDAExtension\nCUDAExtension(\n  name="own_cuda", sources=s)'
    assert extensions(setup) == ["own_cuda"]
    text = "import own_cuda as ops\n"
    assert judged(text) == [("NV609", None)]
    fixed = ("NV609", "from ascend_kernels import own_cuda as ops")
    assert judged(text, extensions=frozenset(extensions(setup))) == [fixed]
    tried = f"try:\n    {text}except ImportError:\n    ops = None\n"
    assert judged(tried, extensions=frozenset({"own_cuda"})) == [("NV609", None)]
    of_package = "import torch.cuda\nfrom own import _C\n"
    assert ("NV609", None) in judged(of_package, extensions=frozenset({"own._C"}))


def test_all_modules_that_stand_for_kernels_are_copied_together() -> None:
    opened = document("ops.py", b"import rotary_emb\n", Setting())
    (fix,) = [f.fix for f in findings(opened)]
    assert [new.path for new in fix.files] == [f"{name}.py" for name in brought(KERNELS)]


def test_every_extension_of_the_table_is_computed(kernels) -> None:
    names = ["upfirdn2d_plugin", "bias_act_plugin", "fused", "MultiScaleDeformableAttention"]
    names += ["upfirdn2d_cuda", "scaled_softmax_cuda", "wkv", "selective_scan_cuda"]
    names += ["causal_conv1d_cuda", "fused_layer_norm_cuda", "rotary_emb"]
    rows = {formula(name) for name in names}
    assert rows == set(formulas())
    assert all(kernels.formulas(name) for name in names)
