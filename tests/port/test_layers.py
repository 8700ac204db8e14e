"""What the layers, losses and optimizers that a port copies compute, against their formulas."""

import itertools
import os
import subprocess
import sys
from importlib import import_module
from importlib.resources import files

import pytest

torch = pytest.importorskip("torch")
F = torch.nn.functional
SHIMS = files("cordee.port") / "shims"
shim = import_module


@pytest.fixture(autouse=True)
def beside_each_other(shims):
    """They import each other."""


@pytest.fixture(autouse=True)
def where_layers_are_made():
    """The chip if another test of this process has begun one, else the CPU."""
    with torch.device(torch.accelerator.current_accelerator(check_available=True) or "cpu"):
        yield


def test_gated_activations() -> None:
    x, y = torch.randn(2, 3, 8), torch.randn(2, 3, 8)
    out = shim("ascend_layers").swiglu(x, y)
    torch.testing.assert_close(out, x / (1 + torch.exp(-x)) * y)
    assert shim("ascend_layers").swiglu(x.half(), y.half()).dtype == torch.float16


@pytest.mark.parametrize("packed", [True, False])
@pytest.mark.parametrize("bias", [True, False])
def test_gated_layer_of_xformers(packed, bias) -> None:
    layer, x = (
        shim("ascend_xformers").SwiGLU(6, 5, 4, bias, _pack_weights=packed),
        torch.randn(2, 3, 6),
    )
    state = layer.state_dict()
    kinds = ("weight", "bias") if bias else ("weight",)
    names = ("w12", "w3") if packed else ("w1", "w2", "w3")
    assert set(state) == {f"{name}.{kind}" for name in names for kind in kinds}
    if packed:
        for kind in kinds:
            state[f"w1.{kind}"], state[f"w2.{kind}"] = state[f"w12.{kind}"].chunk(2)
    w1, w2, w3 = ([state[f"{name}.{kind}"] for kind in kinds] for name in ("w1", "w2", "w3"))
    hidden = F.silu(F.linear(x, *w1)) * F.linear(x, *w2)
    torch.testing.assert_close(layer(x), F.linear(hidden, *w3))


def normed(x, weight, bias, eps, centered, rms):
    """Norms a row at a time; weights of a centered one are one less."""
    rows = []
    for row in x.double().reshape(-1, x.shape[-1]):
        mean = 0.0 if rms else row.mean()
        root = ((row - mean) ** 2).mean().add(eps).sqrt()
        rows.append((row - mean) / root * (weight + centered) + bias)
    return torch.stack(rows).reshape(x.shape).float()


@pytest.mark.parametrize("centered", [False, True])
@pytest.mark.parametrize("rms", [False, True])
def test_norms_of_flash_attention(rms, centered) -> None:
    x, other, residual = (torch.randn(2, 3, 8) for _ in range(3))
    scale, weight, weight1, bias = torch.rand(2, 3), *(torch.randn(8) for _ in range(3))
    norm = shim("ascend_layers").layer_norm_fn
    chosen = {"eps": 1e-3, "zero_centered_weight": centered, "is_rms_norm": rms}
    out, kept = norm(x, weight, bias, residual, rowscale=scale, prenorm=True, **chosen)
    whole = x * scale[..., None] + residual
    expected = normed(whole, weight, bias, 1e-3, centered, rms)
    torch.testing.assert_close((out, kept), (expected, whole))
    out, out1 = norm(x, weight, None, x1=other, weight1=weight1, bias1=bias, **chosen)
    expected = normed(x + other, weight, 0, 1e-3, centered, rms)
    torch.testing.assert_close(out, expected)
    torch.testing.assert_close(out1, normed(x + other, weight1, bias, 1e-3, centered, rms))


def test_norms_of_flash_attention_keep_the_sum_as_it_is_asked_for() -> None:
    layers, half = shim("ascend_layers"), torch.randn(4, 8).half()
    layer = layers.RMSNorm(8, dtype=torch.float16)
    out, kept = layer(half, prenorm=True, residual_in_fp32=True)
    assert (out.dtype, kept.dtype) == (torch.float16, torch.float32)
    out, kept = layer(half, residual=half, prenorm=True, residual_in_fp32=True)
    assert kept.dtype == torch.float16
    torch.testing.assert_close(layers.rms_norm(half, layer.weight, 1e-5), layer(half))
    assert list(layer.state_dict()) == ["weight"]


def test_norms_of_flash_attention_drop_a_share() -> None:
    layers, x = shim("ascend_layers"), torch.rand(64, 64) + 1
    _, kept, mask, _ = layers.layer_norm_fn(
        x, torch.ones(64), None, dropout_p=0.25, prenorm=True, return_dropout_mask=True
    )
    torch.testing.assert_close(kept, torch.where(mask, x / 0.75, 0.0))
    assert 0.7 < mask.float().mean() < 0.8


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize("scale", [1.0, 0.5])
def test_cross_entropy_of_flash_attention(smoothing, scale) -> None:
    layers, logits = shim("ascend_layers"), torch.randn(5, 7, requires_grad=True)
    labels = torch.tensor([0, 3, -100, 6, 2])
    loss = layers.CrossEntropyLoss(label_smoothing=smoothing, logit_scale=scale)(logits, labels)
    expected = F.cross_entropy(logits * scale, labels, label_smoothing=smoothing)
    torch.testing.assert_close(loss, expected)
    ours, theirs = (torch.autograd.grad(each, logits)[0] for each in (loss, expected))
    torch.testing.assert_close(ours, theirs)
    kind = layers.CrossEntropyLoss(lse_square_scale=0.1, reduction="sum", return_z_loss=True)
    whole, extra = kind(logits, labels)
    squares = 0.1 * logits.logsumexp(1).square()[labels >= 0].sum()
    torch.testing.assert_close(extra, squares)
    torch.testing.assert_close(whole, F.cross_entropy(logits, labels, reduction="sum") + squares)


def test_classes_of_a_cross_entropy_are_shared_by_processes(tmp_path) -> None:
    program = tmp_path / "program.py"
    program.write_text(
        "import sys, torch, torch.distributed as dist\n"
        f"sys.path.insert(0, {str(SHIMS)!r})\n"
        "from ascend_layers import cross_entropy_loss\n"
        "dist.init_process_group('gloo')\n"
        "torch.manual_seed(1)\n"
        "whole, labels = torch.randn(5, 8, requires_grad=True), torch.tensor([0, 7, -100, 3, 4])\n"
        "part = whole.detach().chunk(2, 1)[dist.get_rank()].clone().requires_grad_()\n"
        "chosen = dict(label_smoothing=0.1, lse_square_scale=0.01)\n"
        "here, extra = cross_entropy_loss(part, labels, process_group=dist.group.WORLD, **chosen)\n"
        "alone, of_alone = cross_entropy_loss(whole, labels, **chosen)\n"
        "torch.testing.assert_close((here, extra), (alone, of_alone))\n"
        "here.sum().backward(), alone.sum().backward()\n"
        "torch.testing.assert_close(part.grad, whole.grad.chunk(2, 1)[dist.get_rank()])\n"
    )
    launch = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    command = [sys.executable, *launch, str(program)]
    environment = {**os.environ, "TORCH_DEVICE_BACKEND_AUTOLOAD": "0"}
    done = subprocess.run(command, capture_output=True, text=True, timeout=200, env=environment)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("centered", [False, True])
def test_norms_of_transformer_engine(centered) -> None:
    te, x = shim("ascend_transformer_engine"), torch.randn(3, 8)
    for kind, rms in ((te.LayerNorm, False), (te.RMSNorm, True)):
        layer = kind(8, eps=1e-3, zero_centered_gamma=centered)
        assert layer.weight.eq(0.0 if centered else 1.0).all()
        torch.nn.init.normal_(layer.weight)
        bias = 0 if rms else torch.nn.init.normal_(layer.bias)
        expected = normed(x, layer.weight.detach(), bias, 1e-3, centered, rms)
        torch.testing.assert_close(layer(x), expected)
        assert set(layer.state_dict()) == {"weight", "_extra_state", *([] if rms else ["bias"])}
        assert kind(8, params_dtype=torch.bfloat16)(x).dtype == torch.bfloat16


def test_a_linear_layer_of_transformer_engine() -> None:
    te, x = shim("ascend_transformer_engine"), torch.randn(3, 6)
    layer = te.Linear(6, 4, init_method=torch.nn.init.ones_, return_bias=True)
    out, bias = layer(x, is_first_microbatch=True)
    torch.testing.assert_close((out, bias), (x.sum(1)[:, None].expand(3, 4), torch.zeros(4)))
    plain = te.Linear(64, 64, bias=False)
    torch.testing.assert_close(plain(x @ torch.ones(6, 64)), x @ torch.ones(6, 64) @ plain.weight.T)
    assert 0.02 < plain.weight.std() < 0.026
    late = te.Linear(6, 4, device="meta")
    late.reset_parameters()
    late.load_state_dict(layer.state_dict())
    torch.testing.assert_close(late(x), out)
    with pytest.raises(NotImplementedError):
        te.Linear(6, 4, parameters_split=("q", "k"))


@pytest.mark.parametrize("interleaved", [False, True])
@pytest.mark.parametrize("fused", [False, True])
def test_rotary_embedding_of_transformer_engine(interleaved, fused) -> None:
    te, chosen = shim("ascend_transformer_engine"), {"interleaved": interleaved, "fused": fused}
    freqs = te.RotaryPositionEmbedding(8, interleaved=interleaved)(12)
    x, starts = torch.randn(5, 2, 3, 10), torch.tensor([0, 4])
    expected = x.clone()
    for s, b, d in itertools.product(range(5), range(2), range(4)):
        i, j = (2 * d, 2 * d + 1) if interleaved else (d, d + 4)
        angle = (s + starts[b]) / 10000 ** (2 * d / 8)
        expected[s, b, :, i] = x[s, b, :, i] * angle.cos() - x[s, b, :, j] * angle.sin()
        expected[s, b, :, j] = x[s, b, :, j] * angle.cos() + x[s, b, :, i] * angle.sin()
    turned = te.apply_rotary_pos_emb
    torch.testing.assert_close(turned(x, freqs, start_positions=starts, **chosen), expected)
    torch.testing.assert_close(turned(x, freqs, **chosen)[:, 0], expected[:, 0])
    batched = turned(x.transpose(0, 1), freqs, "bshd", start_positions=starts, **chosen)
    torch.testing.assert_close(batched, expected.transpose(0, 1))
    ends = torch.tensor([0, 5, 10], dtype=torch.int32)
    flat = x.transpose(0, 1).flatten(0, 1)
    flat = turned(flat, freqs, "thd", start_positions=starts, cu_seqlens=ends, **chosen)
    torch.testing.assert_close(flat, expected.transpose(0, 1).flatten(0, 1))


def test_rotary_embedding_of_transformer_engine_on_pieces_of_a_sequence() -> None:
    te, x = shim("ascend_transformer_engine"), torch.randn(8, 1, 1, 4)
    freqs = te.RotaryPositionEmbedding(4, seq_len_interpolation_factor=2,
                                       pretrained_max_position_embeddings=4)(8)  # fmt: skip
    torch.testing.assert_close(freqs[:, 0, 0, 0], torch.arange(8) / 2)
    whole = te.apply_rotary_pos_emb(x, freqs)
    quarters, of_whole = x.split(2), whole.split(2)
    for rank in range(2):
        given = torch.cat((quarters[rank], quarters[3 - rank]))
        piece = te.apply_rotary_pos_emb(given, freqs, cp_size=2, cp_rank=rank)
        torch.testing.assert_close(piece, torch.cat((of_whole[rank], of_whole[3 - rank])))
    with pytest.raises(TypeError):
        te.apply_rotary_pos_emb(x, freqs, "sbhd", True)  # as versions before 2.2 ask for fused


@pytest.mark.parametrize("apart", [True, False])
def test_optimizers_of_transformer_engine_are_those_of_torch(apart) -> None:
    te = shim("ascend_transformer_engine")
    ours, theirs = (torch.nn.Parameter(torch.arange(6.0)) for _ in range(2))
    kind = torch.optim.AdamW if apart else torch.optim.Adam
    pairs = (
        te.FusedAdam([ours], 0.1, (0.9, 0.99), 1e-6, 0.1, adam_w_mode=apart),
        kind([theirs], 0.1, (0.9, 0.99), 1e-6, 0.1),
    )
    for _ in range(4):
        ours.grad, theirs.grad = (torch.cos(x.detach()) for x in (ours, theirs))
        for optimizer in pairs:
            optimizer.step()
    torch.testing.assert_close(ours, theirs)
    assert set(pairs[0].state[ours]) == {"exp_avg", "exp_avg_sq"}
    with pytest.raises(RuntimeError):
        te.FusedAdam([ours], master_weights=True)
    te.FusedSGD([ours], lr=0.1, momentum=0.9).step()


@pytest.mark.parametrize("reduced", [True, False])
def test_cross_entropy_of_transformer_engine(reduced) -> None:
    te, logits = shim("ascend_transformer_engine"), torch.randn(2, 3, 7).bfloat16()
    target = torch.tensor([[1, 2, -100], [0, 6, 3]])
    loss = te.parallel_cross_entropy(logits, target, 0.1, reduced)
    each = F.cross_entropy(
        logits.float().flatten(0, 1), target.flatten(), label_smoothing=0.1,
        reduction="mean" if reduced else "none",
    )  # fmt: skip
    torch.testing.assert_close(loss, each if reduced else each.view(2, 3))


@pytest.mark.slow
def test_layers_compute_the_same_on_a_virtual_chip(tmp_path, monkeypatch) -> None:
    monkeypatch.undo()  # the chip is compiled for minutes where its own cache is empty
    program = tmp_path / "program.py"
    program.write_text(
        "import sys, torch\n"
        f"sys.path.insert(0, {str(SHIMS)!r})\n"
        "import ascend_layers as layers, ascend_transformer_engine as te, ascend_xformers as xops\n"
        "def same(function, *given):\n"
        "    results = [torch.utils._pytree.tree_map(torch.Tensor.cpu, function(*(\n"
        "        x.to(chip) for x in given))) for chip in ('npu', 'cpu')]\n"
        "    torch.testing.assert_close(*results, rtol=2e-3, atol=1e-3)\n"
        "def layer(made):\n"
        "    return lambda x: made.to(x.device)(x)\n"
        "x, y, w = torch.randn(4, 3, 16), torch.randn(4, 3, 16), torch.randn(16)\n"
        "same(layers.swiglu, x, y)\n"
        "same(lambda x, w: layers.rms_norm(x, w, 1e-5), x, w)\n"
        "same(lambda x, w, y: layers.rms_norm_fn(x, w, None, y, prenorm=True), x, w, y)\n"
        "same(lambda x, w, y: layers.layer_norm_fn(x, w, w, y, prenorm=True), x, w, y)\n"
        "same(layers.cross_entropy_loss, x.flatten(0, 1), torch.randint(16, (12,)))\n"
        "same(te.parallel_cross_entropy, x, torch.randint(16, (4, 3)))\n"
        "same(layer(xops.SwiGLU(16, 8)), x)\n"
        "same(layer(xops.RMSNorm(16)), x)\n"
        "for made in (te.LayerNorm(16), te.RMSNorm(16), te.RMSNorm(16, zero_centered_gamma=True),\n"
        "             te.Linear(16, 8)):\n"
        "    assert made.weight.device.type == 'npu'\n"
        "    same(layer(made), x)\n"
        "freqs = te.RotaryPositionEmbedding(16)(4).cpu()\n"
        "same(lambda x, f: te.apply_rotary_pos_emb(x[:, None], f, fused=True), x, freqs)\n"
        "p = torch.nn.Parameter(torch.ones(8, device='npu'))\n"
        "p.grad = torch.ones_like(p)\n"
        "te.FusedAdam([p], lr=0.1).step()\n"
        "torch.testing.assert_close(p.detach().cpu(), torch.full((8,), 0.9))\n"
        "loss = te.RMSNorm(16)(x.npu().requires_grad_()).sum()\n"
        "loss.backward()\n"
        "print('same')\n"
    )
    command = [sys.executable, "-m", "cordee", "run", "--", sys.executable, str(program)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=280)
    assert "same" in done.stdout, done.stderr
