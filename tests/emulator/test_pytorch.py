"""What programs use of PyTorch besides operators, on the virtual chip."""

import io
from collections.abc import Callable
from types import ModuleType

import pytest
import torch
from torch import Tensor, nn

pytestmark = pytest.mark.usefixtures("chip")


def test_a_seed_repeats_its_numbers() -> None:
    torch.npu.manual_seed(1)
    first = torch.randn(8, device="npu")
    torch.npu.manual_seed(1)
    assert torch.equal(first, torch.randn(8, device="npu"))


def test_a_generator_goes_on_from_a_saved_state() -> None:
    generator = torch.Generator(device="npu").manual_seed(3)
    torch.rand(4, device="npu", generator=generator)
    state = generator.get_state()
    first = torch.rand(4, device="npu", generator=generator)
    generator.set_state(state)
    assert torch.equal(first, torch.rand(4, device="npu", generator=generator))


def test_numbers_drawn_one_after_the_other_differ() -> None:
    assert not torch.equal(torch.rand(8, device="npu"), torch.rand(8, device="npu"))


def test_numbers_of_the_chip_leave_those_of_the_host_alone() -> None:
    torch.manual_seed(7)
    expected = torch.rand(4)
    torch.manual_seed(7)
    nn.functional.dropout(torch.ones(100, device="npu"))
    assert torch.equal(expected, torch.rand(4))


def test_forking_the_generator_gives_its_state_back() -> None:
    torch.npu.manual_seed(5)
    with torch.random.fork_rng(devices=[0], device_type="npu"):
        torch.rand(3, device="npu")
    after = torch.rand(3, device="npu")
    torch.npu.manual_seed(5)
    assert torch.equal(after, torch.rand(3, device="npu"))


def test_dropout_hides_the_same_places_forward_and_backward() -> None:
    x = torch.ones(1000, device="npu", requires_grad=True)
    y = nn.functional.dropout(x, 0.3)
    y.sum().backward()
    assert x.grad is not None
    assert torch.equal(x.grad > 0, y > 0)


def test_mixed_precision_trains() -> None:
    model = nn.Linear(8, 8).npu()
    optimizer = torch.optim.AdamW(model.parameters(), fused=True)
    scaler = torch.amp.GradScaler("npu")
    x = torch.randn(4, 8, device="npu")
    losses = []
    for _ in range(5):
        with torch.autocast("npu", dtype=torch.float16):
            y = model(x)
        assert y.dtype == torch.float16
        loss = y.float().pow(2).mean()
        scaler.scale(loss).backward()
        scaler.step(optimizer)
        scaler.update()
        optimizer.zero_grad()
        losses.append(loss.item())
    assert losses[-1] < losses[0]


@pytest.mark.parametrize("foreach", [True, False])
@pytest.mark.parametrize("name", ["SGD", "Adam", "AdamW", "Adagrad", "RMSprop", "RAdam", "Adamax"])
def test_optimizers_step_as_on_the_cpu(name: str, foreach: bool) -> None:
    def trained(device: str) -> Tensor:
        torch.manual_seed(0)
        model, x = nn.Linear(6, 3), torch.randn(5, 6)
        model.to(device)
        optimizer = getattr(torch.optim, name)(model.parameters(), lr=0.05, foreach=foreach)
        for _ in range(3):
            optimizer.zero_grad()
            model(x.to(device)).pow(2).mean().backward()
            optimizer.step()
        return model.weight.detach().cpu()

    torch.testing.assert_close(trained("npu"), trained("cpu"))


def test_what_is_saved_on_the_chip_loads_on_the_cpu() -> None:
    x, file = torch.randn(5, device="npu"), io.BytesIO()
    torch.save({"x": x}, file)
    file.seek(0)
    loaded = torch.load(file, map_location="cpu")["x"]
    assert loaded.device.type == "cpu"
    assert torch.equal(loaded, x.cpu())


def test_what_is_saved_on_the_chip_loads_on_the_chip() -> None:
    x, file = torch.randn(5, device="npu"), io.BytesIO()
    torch.save(x, file)
    file.seek(0)
    assert torch.load(file).device.type == "npu"


def test_pinned_memory_goes_over_without_waiting() -> None:
    x = torch.randn(1 << 20).pin_memory()
    y = x.to("npu", non_blocking=True)
    assert torch.equal(y.cpu(), x)


def test_a_loader_with_workers_pins_its_batches() -> None:
    data = torch.utils.data.TensorDataset(torch.arange(16.0))
    loader = torch.utils.data.DataLoader(data, batch_size=4, num_workers=2, pin_memory=True)
    batches = [x for (x,) in loader]
    assert all(x.is_pinned() for x in batches)
    assert sum(x.npu(non_blocking=True).sum().item() for x in batches) == 120


def test_work_of_another_stream_is_waited_for() -> None:
    stream = torch.npu.Stream()
    source = torch.arange(1 << 20, dtype=torch.float32).pin_memory()
    with torch.npu.stream(stream):
        x = source.to("npu", non_blocking=True)
    torch.npu.current_stream().wait_stream(stream)
    assert x.sum().item() == source.sum().item()


def test_running_out_of_memory_is_pytorchs_own_error() -> None:
    with pytest.raises(torch.OutOfMemoryError, match=r"Tried to allocate 1024\.00 GiB"):
        torch.empty(1 << 40, dtype=torch.uint8, device="npu")


def test_memory_that_is_freed_is_not_counted() -> None:
    before = torch.npu.memory_allocated()
    x = torch.empty(1 << 20, device="npu")
    assert torch.npu.memory_allocated() == before + x.nbytes + 512  # the adapter pads by 32 bytes
    del x
    assert torch.npu.memory_allocated() == before


def test_an_output_given_too_small_grows() -> None:
    x, out = torch.arange(6.0, device="npu"), torch.empty(0, device="npu")
    torch.add(x, x, out=out)
    assert out.tolist() == [0, 2, 4, 6, 8, 10]


def test_views_share_their_memory() -> None:
    x = torch.zeros(4, 4, device="npu")
    x.t()[1].fill_(3)
    x[x > 2] += 1
    assert x[:, 1].tolist() == [4, 4, 4, 4]


def test_an_operator_the_adapter_lacks_runs_on_the_host() -> None:
    x = torch.eye(3, device="npu") * 2
    torch.testing.assert_close(torch.linalg.inv(x).cpu(), torch.eye(3) / 2)


def test_the_accelerator_api_finds_the_chip() -> None:
    assert torch.accelerator.is_available()
    assert str(torch.accelerator.current_accelerator()) == "npu"


def test_inference_mode_makes_inference_tensors() -> None:
    with torch.inference_mode():
        assert (torch.ones(2, device="npu") * 2).is_inference()


@pytest.mark.parametrize("kind", [nn.LSTM, nn.GRU, nn.RNN])
def test_recurrent_layers_compute_as_on_the_cpu(kind: type[nn.RNNBase]) -> None:
    torch.manual_seed(0)
    layer, x = kind(4, 5, 2, batch_first=True), torch.randn(2, 3, 4)
    expected, _ = layer(x)
    found, _ = layer.npu()(x.npu())
    torch.testing.assert_close(found.cpu(), expected)


def test_half_precision_sums_in_float32(chip: ModuleType) -> None:
    del chip
    a = torch.full((1, 4096), 0.01, dtype=torch.float16)
    b = torch.ones(4096, 1, dtype=torch.float16)
    torch.testing.assert_close(
        (a.npu() @ b.npu()).cpu().float(), a.float() @ b.float(), rtol=1e-3, atol=0
    )


def test_sequences_of_several_lengths_go_through_an_lstm() -> None:
    torch.manual_seed(0)
    x, lengths = torch.randn(3, 5, 4), torch.tensor([5, 3, 1])
    model = nn.LSTM(4, 6, batch_first=True, bidirectional=True)

    def outputs(device: str) -> Tensor:
        packed = nn.utils.rnn.pack_padded_sequence(x.to(device), lengths, batch_first=True)
        assert packed.batch_sizes.device.type == "cpu"
        return nn.utils.rnn.pad_packed_sequence(model.to(device)(packed)[0])[0].cpu()

    torch.testing.assert_close(outputs("npu"), outputs("cpu"))


def test_targets_may_be_int32() -> None:
    x, target = torch.randn(4, 5), torch.randint(5, (4,))

    def gradient(device: str, dtype: torch.dtype) -> Tensor:
        leaf = x.to(device).requires_grad_()
        nn.functional.cross_entropy(leaf, target.to(device, dtype)).backward()
        assert leaf.grad is not None
        return leaf.grad.cpu()

    torch.testing.assert_close(gradient("npu", torch.int32), gradient("cpu", torch.int64))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("softmax", [torch.softmax, torch.log_softmax])
def test_softmax_widens_half_precision_on_its_way(
    softmax: Callable[..., Tensor], dtype: torch.dtype
) -> None:
    x = torch.randn(4, 7, dtype=dtype)
    leaf, widened = x.npu().requires_grad_(), x.float().requires_grad_()
    y, expected = softmax(leaf, -1, dtype=torch.float32), softmax(widened, -1)
    torch.testing.assert_close(y.cpu(), expected)
    weights = torch.randn(4, 7)
    (y * weights.npu()).sum().backward()
    (expected * weights).sum().backward()
    assert leaf.grad is not None
    assert widened.grad is not None
    torch.testing.assert_close(leaf.grad.cpu(), widened.grad.to(dtype))
