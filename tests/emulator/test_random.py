"""Random numbers of the chip follow from the adapter's generator: its seed, its state, its forks."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

pytestmark = [
    pytest.mark.usefixtures("chip"),
    # The adapter says so once a process, where it allocates for some of its kernels.
    pytest.mark.filterwarnings("ignore:Cannot create tensor with internal format"),
]

Draw = Callable[[torch.Generator | None], Tensor]


def weights() -> Tensor:
    return torch.ones(1000, device="npu")


DRAWS: dict[str, Draw] = {
    "rand": lambda g: torch.rand(1000, device="npu", generator=g),
    "randn": lambda g: torch.randn(1000, device="npu", generator=g),
    "randint": lambda g: torch.randint(1 << 20, (1000,), device="npu", generator=g),
    "randperm": lambda g: torch.randperm(1000, device="npu", generator=g),
    "normal": lambda g: torch.normal(weights(), weights(), generator=g),
    "bernoulli": lambda g: torch.bernoulli(weights() / 2, generator=g),
    "multinomial": lambda g: torch.multinomial(weights(), 50, generator=g),
    "uniform_": lambda g: weights().uniform_(generator=g),
    "normal_": lambda g: weights().normal_(generator=g),
    "exponential_": lambda g: weights().exponential_(generator=g),
    "bernoulli_": lambda g: weights().bernoulli_(0.5, generator=g),
    "random_": lambda g: weights().random_(generator=g),
}
# These take no generator.
DROPOUTS: dict[str, Callable[[Tensor], Tensor]] = {
    "dropout": nn.functional.dropout,
    "alpha_dropout": lambda x: nn.functional.alpha_dropout(x, training=True),
    "dropout1d": lambda x: nn.functional.dropout1d(x.view(1, -1, 1)),
    "rrelu": lambda x: nn.functional.rrelu(-x, training=True),
    "native_dropout": lambda x: torch.native_dropout(x, 0.5, True)[0],
    "attention": lambda x: nn.functional.scaled_dot_product_attention(
        *[x.view(1, 1, 100, 10)] * 3, dropout_p=0.5
    ),
}
FROM_DEFAULT: dict[str, Callable[[], Tensor]] = {
    **{name: lambda draw=draw: draw(None) for name, draw in DRAWS.items()},
    **{name: lambda drop=drop: drop(weights()) for name, drop in DROPOUTS.items()},
}


@pytest.mark.parametrize("name", FROM_DEFAULT)
def test_a_seed_repeats_what_is_drawn_and_the_next_draw_differs(name: str) -> None:
    draw = FROM_DEFAULT[name]
    torch.npu.manual_seed(1)
    first, second = draw(), draw()
    torch.npu.manual_seed(1)
    assert torch.equal(first, draw())
    assert not torch.equal(first, second)


@pytest.mark.parametrize("name", FROM_DEFAULT)
def test_a_saved_state_of_the_chip_repeats_what_is_drawn(name: str) -> None:
    draw = FROM_DEFAULT[name]
    state = torch.npu.get_rng_state()
    first = draw()
    torch.npu.set_rng_state(state)
    assert torch.equal(first, draw())


@pytest.mark.parametrize("name", FROM_DEFAULT)
def test_drawing_in_a_fork_leaves_the_generator_as_it_was(name: str) -> None:
    before = torch.npu.get_rng_state()
    with torch.random.fork_rng(devices=[0], device_type="npu"):
        FROM_DEFAULT[name]()
        assert not torch.equal(before, torch.npu.get_rng_state())
    assert torch.equal(before, torch.npu.get_rng_state())


@pytest.mark.parametrize("name", FROM_DEFAULT)
def test_drawing_on_the_chip_leaves_the_host_alone(name: str) -> None:
    before = torch.get_rng_state()
    FROM_DEFAULT[name]()
    assert torch.equal(before, torch.get_rng_state())


@pytest.mark.parametrize("name", DRAWS)
def test_a_generator_of_its_own_leaves_the_default_alone(name: str) -> None:
    before = torch.npu.get_rng_state()
    generator = torch.Generator(device="npu").manual_seed(7)
    first = DRAWS[name](generator)
    assert torch.equal(before, torch.npu.get_rng_state())
    assert not torch.equal(first, DRAWS[name](generator))
    assert torch.equal(first, DRAWS[name](generator.manual_seed(7)))


@pytest.mark.parametrize("name", DRAWS)
def test_a_generator_of_the_host_is_refused(name: str) -> None:
    with pytest.raises(RuntimeError, match="generator"):
        DRAWS[name](torch.Generator())


def test_a_seed_given_to_pytorch_is_the_seed_of_the_chip() -> None:
    torch.manual_seed(11)
    assert torch.npu.initial_seed() == 11
    first = torch.rand(8, device="npu")
    torch.manual_seed(11)
    assert torch.equal(first, torch.rand(8, device="npu"))


def test_recomputing_a_block_hides_the_places_it_hid_before() -> None:
    block = nn.Sequential(nn.Linear(64, 64), nn.Dropout(0.5), nn.Linear(64, 64)).npu()
    x = torch.randn(8, 64, device="npu", requires_grad=True)

    def gradient(recompute: bool) -> Tensor:
        torch.npu.manual_seed(2)
        y = checkpoint(block, x, use_reentrant=False) if recompute else block(x)
        return torch.autograd.grad(y.sum(), x)[0]

    assert torch.equal(gradient(True), gradient(False))


def test_dropout_keeps_about_as_many_as_it_says_and_scales_them() -> None:
    y = nn.functional.dropout(torch.ones(100_000, device="npu"), 0.3)
    kept = y[y != 0]
    assert abs(len(kept) / 100_000 - 0.7) < 0.01
    torch.testing.assert_close(kept, torch.full_like(kept, 1 / 0.7))
