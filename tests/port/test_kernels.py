"""What stands for extensions that are compiled for CUDA, against formulas written out."""

import itertools
import math
import os
import subprocess
import sys
from importlib.resources import files

import pytest

torch = pytest.importorskip("torch")
F = torch.nn.functional
SHIMS = files("cordee.port") / "shims"


def filtered(x, f, up, down, pads, flip, gain):
    """upfirdn2d of one map, an output at a time."""
    (upx, upy), (downx, downy), (left, right, top, bottom) = up, down, pads
    height, width = x.shape
    spread = torch.zeros(height * upy, width * upx)
    spread[::upy, ::upx] = x
    tall, wide = height * upy + top + bottom, width * upx + left + right
    out = torch.zeros((tall - f.shape[0]) // downy + 1, (wide - f.shape[1]) // downx + 1)
    for i, j in itertools.product(range(out.shape[0]), range(out.shape[1])):
        for a, b in itertools.product(range(f.shape[0]), range(f.shape[1])):
            row, column = i * downy + a - top, j * downx + b - left
            tap = f[a, b] if flip else f[f.shape[0] - 1 - a, f.shape[1] - 1 - b]
            if 0 <= row < spread.shape[0] and 0 <= column < spread.shape[1]:
                out[i, j] += spread[row, column] * tap * gain
    return out


@pytest.mark.parametrize("flip", [False, True])
@pytest.mark.parametrize("pads", [(1, 2, 0, 3), (-1, 2, 3, -2), (2, 2, 2, 2)])
@pytest.mark.parametrize(("up", "down"), [((2, 1), (1, 3)), ((1, 1), (1, 1)), ((3, 2), (2, 2))])
def test_filters_of_stylegan3(kernels, up, down, pads, flip) -> None:
    x, f = torch.randn(2, 3, 5, 4), torch.randn(3, 2)
    plugin = kernels.load("upfirdn2d_plugin", ["upfirdn2d.cpp", "upfirdn2d.cu"])
    out = plugin.upfirdn2d(x, f, *up, *down, *pads, flip, 1.5)
    for b, c in itertools.product(range(2), range(3)):
        torch.testing.assert_close(out[b, c], filtered(x[b, c], f, up, down, pads, flip, 1.5))


def test_filters_of_stylegan2_have_channels_last(kernels) -> None:
    x, f = torch.randn(2, 5, 4, 1), torch.randn(3, 3)
    plugin = kernels.load(name="upfirdn2d", sources=["upfirdn2d_kernel.cu"])
    out = plugin.upfirdn2d(x, f, 2, 2, 1, 1, 1, 1, 0, 2)
    expected = filtered(x[0, :, :, 0], f, (2, 2), (1, 1), (1, 1, 0, 2), False, 1)
    torch.testing.assert_close(out[0, :, :, 0], expected)


def test_bias_and_leaky_relu_of_stylegan2(kernels) -> None:
    fused, none = kernels.load("fused", ["fused_bias_act_kernel.cu"]), torch.empty(0)
    x, bias, after = torch.randn(2, 3, 4), torch.randn(3), torch.randn(2, 3, 4)
    out = fused.fused_bias_act(x, bias, none, 3, 0, 0.2, 2**0.5)
    torch.testing.assert_close(out, F.leaky_relu(x + bias[:, None], 0.2) * 2**0.5)
    back = fused.fused_bias_act(x, none, after, 3, 1, 0.2, 2**0.5)
    torch.testing.assert_close(back, torch.where(after > 0, x, x * 0.2) * 2**0.5)
    assert not fused.fused_bias_act(x, none, after, 3, 2, 0.2, 1.0).any()


ACTIVATIONS = {
    1: lambda x: x, 2: F.relu, 3: lambda x: F.leaky_relu(x, 0.2), 4: torch.tanh, 5: torch.sigmoid,
    6: F.elu, 7: F.selu, 8: F.softplus, 9: F.silu,
}  # fmt: skip


@pytest.mark.parametrize("act", ACTIVATIONS)
@pytest.mark.parametrize("clamp", [-1.0, 0.8])
def test_bias_and_activation_of_stylegan3(kernels, act, clamp) -> None:
    plugin, none = kernels.load("bias_act_plugin", ["bias_act.cu"]), torch.empty(0)
    x, bias, gain = torch.randn(4, 3, 5), torch.randn(3), 1.3
    start = x.clone().requires_grad_()
    expected = ACTIVATIONS[act](start + bias[:, None]) * gain
    expected = expected.clamp(-clamp, clamp) if clamp >= 0 else expected
    out = plugin.bias_act(x, bias, none, none, none, 0, 1, act, 0.2, gain, clamp)
    torch.testing.assert_close(out, expected)
    flow, second = torch.randn_like(x), torch.randn_like(x)
    (back,) = torch.autograd.grad(expected, start, flow, create_graph=True)
    saved = (x, none) if act == 9 else (none, out)
    b = bias if act == 9 else none
    once = plugin.bias_act(flow, b, *saved, none, 1, 1, act, 0.2, gain, clamp)
    torch.testing.assert_close(once, back)
    twice = plugin.bias_act(second, b, *saved, flow, 2, 1, act, 0.2, gain, clamp)
    if back.requires_grad and act > 3:
        torch.testing.assert_close(twice, torch.autograd.grad(back, start, second)[0])
    else:
        assert not twice.any()


def sampled(map_, x, y):
    """Bilinear, in pixels of which the first is at 0.5; nothing outside."""
    height, width = map_.shape[:2]
    x, y = x * width - 0.5, y * height - 0.5
    out = torch.zeros(map_.shape[2])
    for i, j in itertools.product((math.floor(y), math.floor(y) + 1), (math.floor(x), math.floor(x) + 1)):  # fmt: skip
        if 0 <= i < height and 0 <= j < width:
            out = out + map_[i, j] * (1 - abs(y - i)) * (1 - abs(x - j))
    return out


def test_deformable_attention_and_its_way_back(kernels) -> None:
    shapes, starts = torch.tensor([[4, 3], [2, 2]]), torch.tensor([0, 12])
    value = torch.randn(2, 16, 2, 3, requires_grad=True)
    places = (torch.rand(2, 5, 2, 2, 4, 2) * 1.4 - 0.2).requires_grad_()
    weights = torch.rand(2, 5, 2, 2, 4, requires_grad=True)
    msda = kernels.MultiScaleDeformableAttention
    given = (value, shapes, starts, places, weights)
    out = msda.ms_deform_attn_forward(*given, 64)
    expected = torch.zeros(2, 5, 2, 3)
    for n, q, m, level, p in itertools.product(range(2), range(5), range(2), range(2), range(4)):
        (height, width), start = shapes[level].tolist(), starts[level].item()
        map_ = value[n, start : start + height * width, m].reshape(height, width, 3)
        x, y = places[n, q, m, level, p].tolist()
        expected[n, q, m] += weights[n, q, m, level, p].detach() * sampled(map_.detach(), x, y)
    torch.testing.assert_close(out, expected.flatten(2))
    flow = torch.randn_like(out)
    by_hand = torch.autograd.grad(out, (value, places, weights), flow)
    with torch.no_grad():
        back = msda.ms_deform_attn_backward(*given, flow, 64)
    torch.testing.assert_close(tuple(back), by_hand)


@pytest.mark.parametrize("name", ["scaled_masked", "generic_scaled_masked", "scaled_upper_triang_masked", "scaled"])  # fmt: skip
def test_softmax_of_megatron(kernels, name) -> None:
    extension = getattr(kernels, f"{name}_softmax_cuda")
    x = torch.randn(2, 3, 4, 4, requires_grad=True)
    mask = torch.rand(2, 1, 4, 4) > 0.6
    mask[0, 0, 1] = True
    seen = {"scaled": torch.zeros(4, 4).bool(), "scaled_upper_triang_masked": torch.ones(4, 4).triu(1).bool()}.get(name, mask)  # fmt: skip
    top = (x * 0.5).exp() * ~seen
    expected = top / top.sum(-1, keepdim=True).clamp(min=1e-30)
    given = [mask.to(torch.uint8)] if seen is mask else []
    scale = torch.tensor([0.5])[0]
    out = extension.forward(x.detach(), *given, scale)
    torch.testing.assert_close(out, expected)
    flow = torch.randn_like(out)
    (back,) = torch.autograd.grad(expected, x, flow)
    torch.testing.assert_close(extension.backward(flow, out, scale), back)
    assert extension.forward(x.half(), *given, scale).dtype == torch.float16


def test_wkv_of_rwkv(kernels) -> None:
    batch, length, size = 2, 6, 3
    w, u = (torch.randn(size) for _ in range(2))
    k, v, flow = (torch.randn(batch, length, size) for _ in range(3))
    leaves = [x.clone().requires_grad_() for x in (w, u, k, v)]
    learned, first, key, value = leaves
    fade, out = -learned.exp(), []
    for t in range(length):
        past = [(fade * (t - 1 - i) + key[:, i]).exp() for i in range(t)]
        now = (first + key[:, t]).exp()
        above = sum(p * value[:, i] for i, p in enumerate(past)) + now * value[:, t]
        out.append(above / (sum(past) + now))
    expected = torch.stack(out, 1)
    expected.backward(flow)
    wkv = kernels.load(name="wkv", sources=["cuda/wkv_op.cpp", "cuda/wkv_cuda.cu"], verbose=True)
    y, fades = torch.empty(batch, length, size), -w.exp()
    assert wkv.forward(batch, length, size, fades, u, k, v, y) is None
    torch.testing.assert_close(y, expected.detach())
    gw, gu, gk, gv = (torch.zeros(s) for s in (*[(batch, size)] * 2, *[k.shape] * 2))
    wkv.backward(batch, length, size, fades, u, k, v, flow, gw, gu, gk, gv)
    found = (gw.sum(0), gu.sum(0), gk, gv)
    torch.testing.assert_close(found, tuple(leaf.grad for leaf in leaves), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("grouped", [False, True])
@pytest.mark.parametrize("gated", [False, True])
def test_selective_scan_of_mamba(kernels, grouped, gated) -> None:
    batch, size, states, length = 2, 4, 3, 5
    u, delta, z = (torch.randn(batch, size, length) for _ in range(3))
    a = -torch.rand(size, states)
    shape = (batch, 2, states, length) if grouped else (size, states)
    b, c = torch.randn(shape), torch.randn(shape)
    skip, bias = torch.randn(size), torch.randn(size)
    leaves = [x.requires_grad_() for x in (u, delta, a, b, c, skip, bias, z)]
    expected, last = torch.zeros(batch, size, length), torch.zeros(batch, size, states)
    for n, d in itertools.product(range(batch), range(size)):
        state, out = torch.zeros(states), []
        for t in range(length):
            step = (1 + (delta[n, d, t] + bias[d]).exp()).log()
            into, outof = (x[n, d // 2, :, t] if grouped else x[d] for x in (b, c))
            state = state * (step * a[d]).exp() + step * into * u[n, d, t]
            out.append(state @ outof + skip[d] * u[n, d, t])
        expected[n, d], last[n, d] = torch.stack(out), state
    gate = z if gated else None
    whole = expected * z / (1 + (-z).exp()) if gated else expected
    scan = kernels.selective_scan_cuda
    given = [x if x is None else x.detach() for x in (u, delta, a, b, c, skip, gate, bias)]
    out, kept, *rest = scan.fwd(*given, True)
    torch.testing.assert_close((out, kept[:, :, -1, 1::2]), (expected, last))
    assert [len(rest)] == [int(gated)]
    torch.testing.assert_close(rest[0] if gated else out, whole)
    flow = torch.randn_like(whole)
    wanted = leaves if gated else leaves[:-1]
    by_hand = torch.autograd.grad(whole, wanted, flow)
    back = scan.bwd(*given, flow, kept, out, None, True, False)
    torch.testing.assert_close(tuple(back), by_hand, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("silu", [False, True])
@pytest.mark.parametrize("packed", [False, True])
def test_causal_convolution_of_mamba(kernels, silu, packed) -> None:
    batch, size, length, width = 2, 3, 6, 3
    x = torch.randn(batch, size, length, requires_grad=True)
    weight = torch.randn(size, width, requires_grad=True)
    bias = torch.randn(size, requires_grad=True)
    initial = None if packed else torch.randn(batch, size, width - 1, requires_grad=True)
    of = (
        torch.tensor([[0, 0, 1, 1, 1, -1], [0, 1, 1, 2, 2, 2]], dtype=torch.int32)
        if packed
        else None
    )
    columns = []
    for t in range(length):
        total = bias[None].expand(batch, size).clone()
        for j in range(width):
            at = t - width + 1 + j
            value = (
                x[:, :, at]
                if at >= 0
                else torch.zeros(batch, size)
                if packed
                else initial[:, :, at]
            )
            if packed:
                same = of[:, at] == of[:, t] if at >= 0 else torch.zeros(batch).bool()
                value = value * same[:, None]
            total = total + weight[:, j] * value
        total = total * (of[:, t] >= 0)[:, None] if packed else total
        columns.append(F.silu(total) if silu else total)
    expected = torch.stack(columns, -1)
    conv, out, final = kernels.causal_conv1d_cuda, torch.empty_like(x), torch.empty(batch, size, 2)
    held = [each if each is None else each.detach() for each in (x, weight, bias)]
    states = None if packed else initial.detach()
    assert conv.causal_conv1d_fwd(*held, of, states, out, final, silu) is None
    torch.testing.assert_close((out, final), (expected.detach(), x.detach()[..., -2:]))
    flow = torch.randn_like(out)
    leaves = [each for each in (x, weight, bias, initial) if each is not None]
    by_hand = torch.autograd.grad(expected, leaves, flow)
    into = [torch.zeros_like(each) for each in leaves] + [None] * packed
    conv.causal_conv1d_bwd(*held, flow, of, states, None, *into, silu)
    torch.testing.assert_close(tuple(into[: len(leaves)]), by_hand)


@pytest.mark.parametrize("ring", [False, True])
def test_causal_convolution_goes_on_step_by_step(kernels, ring) -> None:
    x, weight = torch.randn(2, 3, 9), torch.randn(3, 3)
    out, held = torch.empty_like(x), torch.zeros(4, 3, 5)
    whole, rows = torch.empty_like(x), torch.tensor([3, 1], dtype=torch.int32)
    conv = kernels.causal_conv1d_cuda
    conv.causal_conv1d_fwd(x, weight, None, None, None, whole, None, True)
    for t in range(9):
        at = torch.full((2,), t, dtype=torch.int32) if ring else None
        step = torch.empty(2, 3)
        conv.causal_conv1d_update(x[:, :, t], held, weight, None, step, True, at, rows)
        out[:, :, t] = step
    torch.testing.assert_close(out, whole)


def test_norms_of_apex(kernels) -> None:
    norm, shape = kernels.fused_layer_norm_cuda, (3, 4)
    x, gamma, beta = (torch.randn(s, requires_grad=True) for s in ((5, 3, 4), shape, shape))
    for centred in (True, False):
        mean = x.mean((1, 2), keepdim=True) if centred else 0
        plain = (x - mean) / ((x - mean).square().mean((1, 2), keepdim=True) + 1e-5).sqrt()
        scaled = plain * gamma + beta if centred else plain * gamma
        of = [gamma, beta] if centred else [gamma]
        prefix = "" if centred else "rms_"
        out, *sums = getattr(norm, f"{prefix}forward_affine")(x.detach(), shape, *of, 1e-5)
        torch.testing.assert_close(out, scaled)
        flow = torch.randn_like(out)
        back = getattr(norm, f"{prefix}backward_affine")(flow, *sums, x, shape, *of, 1e-5)
        by_hand = torch.autograd.grad(scaled, (x, *of), flow, retain_graph=True)
        torch.testing.assert_close(tuple(back), by_hand)
        out, *sums = getattr(norm, f"{prefix}forward")(x, shape, 1e-5)
        back = getattr(norm, f"{prefix}backward")(flow, *sums, x, shape, 1e-5)
        torch.testing.assert_close((out, back), (plain, *torch.autograd.grad(plain, x, flow)))
        mixed = getattr(norm, f"{prefix}forward_affine_mixed_dtypes")(x.half(), shape, *of, 1e-5)
        assert [each.dtype for each in mixed] == [torch.float32] * (3 if centred else 2)


@pytest.mark.parametrize("conj", [False, True])
def test_rotary_embedding_of_flash_attn(kernels, conj) -> None:
    a, b, cos, sin = (torch.randn(2, 3, 4) for _ in range(4))
    first, second = torch.empty_like(a), torch.empty_like(b)
    kernels.rotary_emb.apply_rotary(a, b, cos, sin, first, second, conj)
    turned = torch.complex(a, b) * torch.complex(cos, -sin if conj else sin)
    torch.testing.assert_close((first, second), (turned.real, turned.imag))


@pytest.mark.slow
def test_the_formulas_compute_the_same_on_a_virtual_chip(tmp_path, monkeypatch) -> None:
    monkeypatch.undo()  # the chip is compiled for minutes where its own cache is empty
    program = tmp_path / "program.py"
    program.write_text(
        "import sys, torch\n"
        f"sys.path.insert(0, {os.fspath(SHIMS)!r})\n"
        "from ascend_kernels import MultiScaleDeformableAttention as msda, load\n"
        "from ascend_kernels import selective_scan_cuda, scaled_masked_softmax_cuda\n"
        "def both(function, *given):\n"
        "    npu = [x.npu() if isinstance(x, torch.Tensor) else x for x in given]\n"
        "    there, here = function(*npu), function(*given)\n"
        "    there = there if isinstance(there, list) else [there]\n"
        "    here = here if isinstance(here, list) else [here]\n"
        "    for one, other in zip(there, here, strict=True):\n"
        "        assert one.device.type == 'npu'\n"
        "        torch.testing.assert_close(one.cpu(), other, rtol=1e-3, atol=1e-3)\n"
        "r = torch.randn\n"
        "up = load('upfirdn2d_plugin', ['upfirdn2d.cu']).upfirdn2d\n"
        "both(up, r(2, 3, 8, 8), r(4, 4), 2, 2, 1, 1, 2, 1, 2, 1, False, 4.0)\n"
        "act, none = load('bias_act_plugin', ['b.cu']).bias_act, torch.empty(0)\n"
        "both(act, r(2, 3, 8), r(3), none, none, none, 0, 1, 3, 0.2, 1.4, -1.0)\n"
        "shapes, starts = torch.tensor([[4, 3], [2, 2]]), torch.tensor([0, 12])\n"
        "given = r(1, 16, 2, 4), shapes, starts, torch.rand(1, 5, 2, 2, 3, 2)\n"
        "both(msda.ms_deform_attn_forward, *given, torch.rand(1, 5, 2, 2, 3), 64)\n"
        "x, mask = r(2, 2, 4, 4).half(), (r(2, 1, 4, 4) > 0).to(torch.uint8)\n"
        "both(scaled_masked_softmax_cuda.forward, x, mask, 0.5)\n"
        "scan = r(1, 4, 5), r(1, 4, 5), -torch.rand(4, 3), r(4, 3), r(4, 3), r(4), r(1, 4, 5)\n"
        "both(selective_scan_cuda.fwd, *scan, r(4), True)\n"
        "print('same')\n"
    )
    command = [sys.executable, "-m", "cordee", "run", "--", sys.executable, str(program)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=280)
    assert "same" in done.stdout, done.stderr
