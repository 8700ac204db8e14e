"""Are the CPU's products right, and the same bits whatever makes them?"""

import numpy as np
import pytest
from numpy.typing import NDArray

from cordee.serve.engine.checkpoint import Tensor
from cordee.serve.engine.kernels.library import kernels
from cordee.serve.engine.operators.cpu import CpuOperators, Matrix

Floats = NDArray[np.float32]
SIZES = [(64, 64), (96, 40), (323, 104), (200, 1024), (72, 5000)]
WAYS = [True, False] if kernels().has_tiles else [False]
"""Of multiplying: with the matrix unit where there is one, and without."""
MOST_WRONG = {True: 4e-6, False: 1e-6}
"""Of the largest result: the matrix unit takes 17 bits of an activation, without it all 24 count."""


def drawn(*shape: int) -> Floats:
    return np.random.default_rng(len(shape) + sum(shape)).standard_normal(shape, np.float32)


def upper_halves(values: Floats) -> NDArray[np.uint16]:
    return (values.view(np.uint32) >> 16).astype(np.uint16)


def product(x: Floats, weights: Tensor, bias: Floats, kind: str, *, tiles: bool) -> Floats:
    operators = CpuOperators(2, kind, tiles=tiles)
    made = operators.linear_weights([weights], [Tensor("bias", "F32", bias)])
    return operators.linear(Matrix(np.ascontiguousarray(x)), made).array.copy()


@pytest.mark.parametrize("tiles", WAYS)
@pytest.mark.parametrize("dtype", ["F32", "BF16"])
@pytest.mark.parametrize(("outputs", "inputs"), SIZES)
def test_a_product_is_right_to_the_digits_that_activations_have(
    outputs: int, inputs: int, dtype: str, tiles: bool
) -> None:
    weights = Tensor("w", dtype, drawn(outputs, inputs))
    if dtype == "BF16":
        weights = Tensor("w", dtype, upper_halves(drawn(outputs, inputs)))
    x, bias = drawn(70, inputs) * np.float32(1000), drawn(outputs)
    exact = x.astype(np.float64) @ weights.floats().astype(np.float64).T + bias
    made = product(x, weights, bias, "", tiles=tiles)
    wrong = np.abs(made - exact).max() / np.abs(exact).max()
    assert wrong < MOST_WRONG[tiles and dtype == "BF16"]


@pytest.mark.parametrize("tiles", WAYS)
@pytest.mark.parametrize("kind", ["", "int8"])
@pytest.mark.parametrize(("outputs", "inputs"), SIZES)
def test_a_row_has_the_same_bits_among_any_number_of_others(
    outputs: int, inputs: int, kind: str, tiles: bool
) -> None:
    weights, bias = Tensor("w", "BF16", upper_halves(drawn(outputs, inputs))), drawn(outputs)
    x = drawn(150, inputs)
    together = product(x, weights, bias, kind, tiles=tiles)
    for first, last in ((0, 1), (3, 5), (10, 13), (60, 67), (100, 117), (5, 75)):
        assert np.array_equal(
            product(x[first:last], weights, bias, kind, tiles=tiles), together[first:last]
        )


@pytest.mark.skipif(not kernels().has_tiles, reason="this processor has no matrix unit")
@pytest.mark.parametrize(("outputs", "inputs"), SIZES)
def test_int8_has_the_same_bits_with_a_matrix_unit_and_without(outputs: int, inputs: int) -> None:
    weights, bias = Tensor("w", "BF16", upper_halves(drawn(outputs, inputs))), drawn(outputs)
    x = drawn(21, inputs)
    one, other = (product(x, weights, bias, "int8", tiles=way) for way in WAYS)
    assert np.array_equal(one, other)


@pytest.mark.parametrize("tiles", WAYS)
def test_with_int8_only_the_weights_lose_digits(tiles: bool) -> None:
    weights = np.round(drawn(64, 512) * 30).clip(-127, 127)
    weights[:, 0] = 127  # so that the weights are whole numbers already
    x, none = drawn(5, 512), np.zeros(64, np.float32)
    exact = x.astype(np.float64) @ weights.astype(np.float64).T
    made = product(x, Tensor("w", "F32", weights), none, "int8", tiles=tiles)
    assert np.abs(made - exact).max() < 1e-4 * np.abs(exact).max()


@pytest.mark.parametrize("tiles", WAYS)
def test_the_largest_numbers_do_not_overflow(tiles: bool) -> None:
    ones = np.ones((8, 10_000), np.float32)
    made = product(ones[:1], Tensor("w", "F32", ones), np.zeros(8, np.float32), "int8", tiles=tiles)
    np.testing.assert_allclose(made, 10_000, rtol=1e-4)
