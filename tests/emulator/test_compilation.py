"""torch.compile on the virtual chip: what is compiled gives what the program itself gives."""

import subprocess
import sys
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention

pytestmark = [
    pytest.mark.slow,
    # PyTorch's compiler uses parts of PyTorch that are on their way out.
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
]

BACKENDS = ("inductor", "npugraphs", "npu", "npugraph_ex", "aot_eager")


@pytest.fixture(autouse=True)
def _fresh() -> None:
    torch._dynamo.reset()


def network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(8, 16), nn.GELU(), nn.LayerNorm(16), nn.Linear(16, 4)).npu()


def gradients(model: Callable[[Tensor], Tensor], parameters: nn.Module, x: Tensor) -> list[Tensor]:
    parameters.zero_grad()
    model(x).square().sum().backward()
    return [p.grad.cpu() for p in parameters.parameters() if p.grad is not None]


@pytest.mark.parametrize("backend", BACKENDS)
def test_forward_and_backward_are_those_of_the_program(backend: str) -> None:
    model, x = network(), torch.randn(5, 8).npu()
    wanted, wanted_gradients = model(x), gradients(model, model, x)
    compiled = torch.compile(model, backend=backend)
    torch.testing.assert_close(compiled(x), wanted)
    torch.testing.assert_close(gradients(compiled, model, x), wanted_gradients)


@pytest.mark.parametrize("mode", ["default", "reduce-overhead", "max-autotune"])
def test_every_mode_runs(mode: str) -> None:
    model, x = network(), torch.randn(5, 8).npu()
    torch.testing.assert_close(torch.compile(model, mode=mode)(x), model(x))


def test_a_program_without_graph_breaks_compiles_as_one_graph() -> None:
    model, x = network(), torch.randn(5, 8).npu()
    compiled = torch.compile(model, fullgraph=True)
    torch.testing.assert_close(compiled(x), model(x))


def test_a_graph_break_is_refused_where_one_graph_is_asked_for() -> None:
    @torch.compile(fullgraph=True)
    def broken(x: Tensor) -> Tensor:
        torch._dynamo.graph_break()
        return x + 1

    with pytest.raises(torch._dynamo.exc.Unsupported):
        broken(torch.ones(3).npu())


def test_dynamic_shapes_compile_once_for_all_sizes() -> None:
    counter = torch._dynamo.testing.CompileCounter()
    model = network()
    counted = torch.compile(model, backend=counter, dynamic=True)
    compiled = torch.compile(network(), dynamic=True)
    for rows in (3, 5, 9):
        x = torch.randn(rows, 8).npu()
        assert counted(x).shape == (rows, 4)
        assert compiled(x).shape == (rows, 4)
    assert counter.frame_count == 1


def test_an_operator_of_the_adapter_compiles() -> None:
    @torch.compile(fullgraph=True)
    def normalised(x: Tensor, weight: Tensor) -> Tensor:
        return torch.ops.npu.npu_rms_norm(x, weight)[0] * 2

    x = torch.randn(4, 16).npu()
    wanted = torch.nn.functional.rms_norm(x.cpu(), (16,), eps=1e-6) * 2
    torch.testing.assert_close(normalised(x, torch.ones(16).npu()).cpu(), wanted)


def test_a_graph_that_makes_its_own_tensors_runs_on_the_chip() -> None:
    @torch.compile
    def made() -> Tensor:
        return torch.ones(3, device="npu") + 1

    assert made().tolist() == [2, 2, 2]


def test_the_notice_comes_once_and_names_the_backend() -> None:
    program = (
        "import torch\n"
        "for size in (2, 3):\n"
        "    print(torch.compile(lambda x: x * size)(torch.ones(size).npu()).sum().item())"
    )
    command = [sys.executable, "-m", "cordee", "run", "--", "python", "-c", program]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["4.0", "9.0"]
    assert done.stderr.count('runs what backend "inductor" compiles operator by operator') == 1


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("dynamic", [False, True])
def test_attention_compiles_with_its_gradient(dtype: torch.dtype, dynamic: bool) -> None:
    def attention(x: Tensor, masked: bool = False) -> Tensor:
        mask = x.new_ones(x.shape[-2], x.shape[-2]).tril().bool() if masked else None
        return scaled_dot_product_attention(x, x, x, attn_mask=mask, is_causal=not masked)

    compiled = torch.compile(attention, dynamic=dynamic, fullgraph=True)
    for masked in (False, True):
        x = torch.randn(2, 3, 5, 8, dtype=dtype).npu().requires_grad_()
        wanted, found = attention(x, masked), compiled(x, masked)
        torch.testing.assert_close(found, wanted)
        (wanted_gradient,) = torch.autograd.grad(wanted.sum(), x)
        torch.testing.assert_close(torch.autograd.grad(found.sum(), x), (wanted_gradient,))


def test_the_references_of_the_chip_are_not_compiled() -> None:
    from torch._dynamo.testing import CompileCounter  # only once the chip is there

    counter = CompileCounter()
    model, x = nn.LSTM(4, 5).npu(), torch.randn(2, 3, 4).npu()  # dynamo compiles no nn.LSTM
    torch.testing.assert_close(torch.compile(model, backend=counter)(x), model(x))
    assert counter.frame_count == 0
