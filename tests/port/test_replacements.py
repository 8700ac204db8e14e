"""What the modules that a port copies compute, against their formulas written out."""

import importlib.util
import itertools
import math
import subprocess
import sys
from importlib.resources import files

import pytest

from cordee.port.documents import document
from cordee.port.engine import findings
from cordee.port.python.replacements import replacements, shim_names
from cordee.port.setting import Project, Setting

torch = pytest.importorskip("torch")
SHIMS = files("cordee.port") / "shims"


def shim(name):
    spec = importlib.util.spec_from_file_location(name, SHIMS / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def attended(q, k, v, scale=None, causal=False, window=(-1, -1), softcap=0.0, slopes=None):
    """Attention of one sequence, a query and a key at a time; and the logarithms of the sums."""
    queries, heads = q.shape[:2]
    keys, shared = k.shape[0], heads // k.shape[1]
    left, right = window[0], 0 if causal else window[1]
    scale = q.shape[-1] ** -0.5 if scale is None else scale
    out, sums = torch.zeros(queries, heads, v.shape[-1]), torch.full((heads, queries), math.inf)
    for h, i in itertools.product(range(heads), range(queries)):
        at = i + keys - queries
        seen = [
            j
            for j in range(keys)
            if (left < 0 or j >= at - left) and (right < 0 or j <= at + right)
        ]
        if not seen:
            continue
        scores = torch.stack([q[i, h] @ k[j, h // shared] * scale for j in seen])
        if softcap:
            scores = softcap * torch.tanh(scores / softcap)
        if slopes is not None:
            scores = scores - slopes[h] * torch.tensor([abs(at - j) for j in seen])
        sums[h, i] = scores.logsumexp(0)
        out[i, h] = scores.softmax(0) @ torch.stack([v[j, h // shared] for j in seen])
    return out, sums


def tensors(*lengths, size=8):
    heads = (4, 2, 2)
    return [torch.randn(2, n, h, size) for n, h in zip(lengths, heads, strict=True)]


@pytest.mark.parametrize("lengths", [(5, 5), (3, 7), (7, 3), (1, 6)])
@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("window", [(-1, -1), (2, 0), (2, 1), (-1, 1), (3, -1)])
def test_flash_attention(lengths, causal, window) -> None:
    q, k, v = tensors(lengths[0], lengths[1], lengths[1])
    out = shim("ascend_attention").flash_attn_func(q, k, v, causal=causal, window_size=window)
    for b in range(2):
        expected, _ = attended(q[b], k[b], v[b], causal=causal, window=window)
        torch.testing.assert_close(out[b], expected)


@pytest.mark.parametrize("causal", [False, True])
def test_caps_slopes_and_sums(causal) -> None:
    q, k, v = tensors(4, 6, 6)
    slopes = torch.rand(4)
    out, sums, _ = shim("ascend_attention").flash_attn_func(
        q, k, v, 0.0, 0.5, causal, softcap=2.0, alibi_slopes=slopes, return_attn_probs=True
    )
    for b in range(2):
        expected = attended(q[b], k[b], v[b], 0.5, causal, softcap=2.0, slopes=slopes)
        torch.testing.assert_close((out[b], sums[b]), expected)


@pytest.mark.parametrize("causal", [False, True])
def test_sequences_side_by_side(causal) -> None:
    of_q, of_k = [3, 5, 1], [3, 7, 4]
    q, k, v = (torch.randn(sum(n), h, 8) for n, h in [(of_q, 4), (of_k, 2), (of_k, 2)])
    ends = [torch.tensor([0, *itertools.accumulate(n)], dtype=torch.int32) for n in (of_q, of_k)]
    out = shim("ascend_attention").flash_attn_varlen_func(q, k, v, *ends, 5, 7, causal=causal)
    parts = zip(q.split(of_q), k.split(of_k), v.split(of_k), strict=True)
    expected = torch.cat([attended(*part, causal=causal)[0] for part in parts])
    torch.testing.assert_close(out, expected)


def test_a_cache_of_pages_is_written_and_read() -> None:
    pages = torch.tensor([[5, 2], [0, 1]])
    keys, values = torch.full((2, 6, 4, 2, 8), torch.nan)  # until a sequence writes there
    q, k, v = tensors(2, 2, 2)
    held = torch.tensor([3, 5])
    for b, cache in itertools.product(range(2), (keys, values)):
        place = torch.arange(held[b])
        cache[pages[b, place // 4], place % 4] = torch.randn(len(place), 2, 8)
    whole = [
        [
            torch.cat([c[pages[b]].flatten(0, 1)[: held[b]], n[b]])
            for c, n in ((keys, k), (values, v))
        ]
        for b in range(2)
    ]
    out = shim("ascend_attention").flash_attn_with_kvcache(
        q, keys, values, k, v, cache_seqlens=held, block_table=pages, causal=True
    )
    for b in range(2):
        torch.testing.assert_close(out[b], attended(q[b], *whole[b], causal=True)[0])
        torch.testing.assert_close(keys[pages[b]].flatten(0, 1)[: held[b] + 2], whole[b][0])


@pytest.mark.parametrize("interleaved", [False, True])
def test_rotary_embedding(interleaved) -> None:
    x = torch.randn(2, 3, 4, 12)
    cos, sin = torch.rand(9, 4), torch.rand(9, 4)
    offsets = torch.tensor([1, 5])
    out = shim("ascend_rotary").apply_rotary_emb(x, cos, sin, interleaved, seqlen_offsets=offsets)
    expected = x.clone()
    for b, s, d in itertools.product(range(2), range(3), range(4)):
        i, j = (2 * d, 2 * d + 1) if interleaved else (d, d + 4)
        c, n = cos[offsets[b] + s, d], sin[offsets[b] + s, d]
        expected[b, s, :, i] = x[b, s, :, i] * c - x[b, s, :, j] * n
        expected[b, s, :, j] = x[b, s, :, j] * c + x[b, s, :, i] * n
    torch.testing.assert_close(out, expected)
    ends = torch.tensor([0, 3, 6])
    flat = shim("ascend_rotary").apply_rotary_emb(
        x.flatten(0, 1),
        cos,
        sin,
        interleaved,
        seqlen_offsets=offsets,
        cu_seqlens=ends,
        max_seqlen=3,
    )
    torch.testing.assert_close(flat, expected.flatten(0, 1))


@pytest.mark.parametrize("decay", [0.0, 0.1])
@pytest.mark.parametrize("apart", [True, False])
def test_adam_of_apex_is_that_of_torch(decay, apart) -> None:
    ours, theirs = (torch.nn.Parameter(torch.arange(6.0)) for _ in range(2))
    kind = torch.optim.AdamW if apart else torch.optim.Adam
    optimizers = (
        shim("ascend_apex").FusedAdam([ours], lr=0.1, adam_w_mode=apart, weight_decay=decay),
        kind([theirs], lr=0.1, weight_decay=decay),
    )
    for _ in range(4):
        gradient = torch.randn(6)
        ours.grad, theirs.grad = gradient.clone(), gradient.clone()
        for optimizer in optimizers:
            optimizer.step()
    torch.testing.assert_close(ours, theirs)


def test_lamb_of_apex() -> None:
    value, gradient = torch.randn(6), torch.randn(6)
    parameter = torch.nn.Parameter(value.clone())
    parameter.grad = gradient.clone()
    shim("ascend_apex").FusedLAMB([parameter], lr=0.1, weight_decay=0.01).step()
    clipped = gradient / max(1.0, gradient.norm().item())
    step = clipped / (clipped.abs() + 1e-6) + 0.01 * value
    torch.testing.assert_close(
        parameter.detach(), value - 0.1 * value.norm() / step.norm() * step, rtol=1e-4, atol=1e-5
    )


def test_norms_of_apex() -> None:
    apex, x = shim("ascend_apex"), torch.randn(3, 8)
    torch.testing.assert_close(apex.FusedLayerNorm(8)(x), torch.nn.LayerNorm(8)(x))
    torch.testing.assert_close(apex.FusedRMSNorm(8)(x), torch.nn.RMSNorm(8, eps=1e-5)(x))
    assert apex.MixedFusedRMSNorm(8)(x.half()).dtype == torch.float32


def test_attention_of_xformers() -> None:
    xformers, (q, k, v) = shim("ascend_xformers"), tensors(4, 4, 4)
    k, v = k.repeat_interleave(2, 2), v.repeat_interleave(2, 2)
    bias = xformers.LowerTriangularMask()
    out = xformers.memory_efficient_attention(q, k, v, attn_bias=bias, scale=0.5)
    for b in range(2):
        torch.testing.assert_close(out[b], attended(q[b], k[b], v[b], 0.5, causal=True)[0])


def test_where_flash_attn_is_installed_it_is_called_with_what_was_given(
    tmp_path, monkeypatch
) -> None:
    (tmp_path / "flash_attn.py").write_text(
        "def flash_attn_func(q, k, v, causal=False): return 'dense', causal\n"
        "def flash_attn_qkvpacked_func(qkv, causal=False): return 'packed', causal\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    ours = shim("ascend_attention")
    x = torch.empty(1, 2, 3, 4, 8, device="meta")  # a chip that is neither Ascend's nor the host
    assert ours.flash_attn_func(x[:, :, 0], x[:, :, 1], x[:, :, 2], causal=True) == ("dense", True)
    assert ours.flash_attn_qkvpacked_func(x) == ("packed", False)


def test_every_name_of_the_table_is_in_its_module(shims) -> None:
    for row in replacements():
        assert all(hasattr(shim(row.shim), name) for name in row.names), row.module


@pytest.mark.parametrize("name", sorted(shim_names()))
def test_nothing_is_found_in_what_a_port_copies(name) -> None:
    text = (SHIMS / f"{name}.py").read_text()
    opened = document(f"model/{name}.py", text.encode(), Setting())
    assert opened is not None
    assert findings(opened) == []


def home_of(path, *modules):
    setting = Setting(project=Project(modules=frozenset({path, *modules})))
    source = "from model.config import Config\nfrom flash_attn import flash_attn_func\n"
    opened = document(path, source.encode(), setting)
    (fix,) = [finding.fix for finding in findings(opened) if finding.fix]
    return fix.safety, fix.edits[0].text, fix.files[0].path


def test_a_module_goes_where_the_files_own_imports_are_found() -> None:
    found = home_of("src/model/train.py", "src/model/config.py")
    assert found == ("safe", "model.ascend_attention", "src/model/ascend_attention.py")


def test_a_repository_that_has_the_library_itself_is_left_alone() -> None:
    setting = Setting(project=Project(modules=frozenset({"flash_attn/__init__.py"})))
    opened = document("tests/t.py", b"from flash_attn import flash_attn_func\n", setting)
    assert findings(opened) == []


@pytest.mark.slow
def test_the_fused_operator_computes_the_same_on_a_virtual_chip(tmp_path, monkeypatch) -> None:
    monkeypatch.undo()  # the chip is compiled for minutes where its own cache is empty
    program = tmp_path / "program.py"
    program.write_text(
        "import itertools, sys, torch\n"
        f"sys.path.insert(0, {str(SHIMS)!r})\n"
        "from ascend_attention import flash_attn_func\n"
        "for lengths, causal, window in itertools.product(\n"
        "    [(5, 5), (3, 7), (7, 3)], [False, True], [(-1, -1), (2, 1), (-1, 1)]\n"
        "):\n"
        "    q, k, v = (torch.randn(2, n, h, 16).half() for n, h in zip(\n"
        "        (lengths[0], lengths[1], lengths[1]), (4, 2, 2)))\n"
        "    chosen = dict(causal=causal, window_size=window)\n"
        "    there = flash_attn_func(q.npu(), k.npu(), v.npu(), **chosen).cpu()\n"
        "    here = flash_attn_func(q, k, v, **chosen)\n"
        "    torch.testing.assert_close(there, here, rtol=1e-2, atol=4e-3)\n"
        "print('same')\n"
    )
    command = [sys.executable, "-m", "cordee", "run", "--", sys.executable, str(program)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=280)
    assert "same" in done.stdout, done.stderr
