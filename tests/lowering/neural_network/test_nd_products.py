"""Matrix products and table look-ups for tensors of any rank, against NumPy and PyTorch."""

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

import windfall
from tests.lowering.neural_network.strategies import few, random, seeds, tensors
from tests.lowering.neural_network.symbolic import run_symbolic
from tests.support import run_layer
from windfall.errors import EngineError


@few
@given(x=tensors(least_rank=1), c_out=st.integers(1, 5), has_bias=st.booleans(), seed=seeds)
def test_a_stored_matrix_multiplies_the_last_axis(x: NDArray[Any], c_out: int, has_bias: bool, seed: int) -> None:
    matrix, bias = random(seed, (x.shape[-1], c_out)), random(seed + 1, [c_out])
    fields: dict[str, Any] = {
        "weightMatrixFirstDimension": x.shape[-1],
        "weightMatrixSecondDimension": c_out,
        "weights": matrix.T,  # column by column
        "hasBias": has_bias,
        "bias": bias,
    }
    expected = x.astype(np.float64) @ matrix + (bias if has_bias else 0)
    np.testing.assert_allclose(run_layer("batchedMatmul", x, **fields), expected, rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(run_symbolic("batchedMatmul", x, **fields), expected, rtol=1e-4, atol=1e-4)


# From coremltools' test of the layer; a vector is a row on the left, a column on the right.
@pytest.mark.parametrize(
    ("a", "b", "expected"),
    [
        ((10,), (10,), (1, 1)),
        ((4, 10), (10,), (4, 1)),
        ((10,), (10, 3), (1, 3)),
        ((10,), (2, 10, 3), (2, 1, 3)),
        ((2, 3), (3, 4), (2, 4)),
        ((1, 3, 4), (3, 2, 4, 5), (3, 2, 3, 5)),
        ((2, 3, 1, 3, 4), (2, 1, 2, 4, 5), (2, 3, 2, 3, 5)),
    ],
)
@pytest.mark.parametrize("transposed", [False, True])
def test_matrices_multiply_in_batches(
    a: tuple[int, ...], b: tuple[int, ...], expected: tuple[int, ...], transposed: bool
) -> None:
    x, y = random(0, a), random(1, b)
    rows, columns = np.atleast_2d(x), y[:, None] if y.ndim == 1 else y
    product = rows @ columns
    assert product.shape == expected
    swap = transposed and min(x.ndim, y.ndim) > 1
    inputs = [np.swapaxes(x, -1, -2), np.swapaxes(y, -1, -2)] if swap else [x, y]
    result = run_layer("batchedMatmul", *inputs, transposeA=swap, transposeB=swap)
    np.testing.assert_allclose(result, product, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("scales", [[0.25], [0.25, 0.5, 2.0]])
def test_stored_matrices_may_be_quantized(scales: list[float]) -> None:
    stored = np.arange(12, dtype=np.uint8).reshape(3, 4)  # [columns, rows]
    quantization = {"numberOfBits": 8, "linearQuantization": {"scale": scales}}
    x = random(0, (2, 4))
    y = run_layer(
        "batchedMatmul",
        x,
        weightMatrixFirstDimension=4,
        weightMatrixSecondDimension=3,
        weights={"rawValue": stored.tobytes(), "quantization": quantization},
    )
    np.testing.assert_allclose(y, x @ (stored * np.reshape(scales, (-1, 1))).T, rtol=1e-5, atol=1e-5)


def test_a_product_quantized_at_run_time_is_computed_from_the_stored_weights() -> None:
    stored = np.arange(-6, 6, dtype=np.int8).reshape(3, 4)
    x = random(0, (2, 4))
    y = run_layer(
        "batchedMatmul",
        x,
        weightMatrixFirstDimension=4,
        weightMatrixSecondDimension=3,
        int8DynamicQuantize=True,
        weights={
            "int8RawValue": stored.tobytes(),
            "quantization": {"numberOfBits": 8, "linearQuantization": {"scale": [0.25]}},
        },
    )
    np.testing.assert_allclose(y, x @ (0.25 * stored.T.astype(np.float32)), rtol=1e-5, atol=1e-5)


@few
@given(dims=st.lists(st.integers(1, 4), min_size=1, max_size=4), has_bias=st.booleans(), seed=seeds)
def test_embedding_looks_up_a_column(dims: list[int], has_bias: bool, seed: int) -> None:
    words = np.random.default_rng(seed).integers(0, 7, (*dims, 1))
    weights, bias = random(seed, (3, 7)), random(seed + 1, [3])
    fields: dict[str, Any] = {"vocabSize": 7, "embeddingSize": 3, "hasBias": has_bias, "weights": weights, "bias": bias}
    table = torch.tensor(weights.T + (bias if has_bias else 0))
    expected = torch.nn.functional.embedding(torch.tensor(words[..., 0]), table).numpy()
    np.testing.assert_allclose(run_layer("embeddingND", words, **fields), expected, rtol=1e-6)
    np.testing.assert_allclose(run_symbolic("embeddingND", words, **fields), expected, rtol=1e-6)


@pytest.mark.parametrize("word", [-1, 7])
def test_an_index_outside_the_table_fails(word: int) -> None:
    with pytest.raises(EngineError, match="indices element out of data bounds"):
        run_layer("embeddingND", [[word]], vocabSize=7, embeddingSize=3, weights=np.ones(21))


@pytest.mark.parametrize(
    ("layer_type", "dims", "fields", "message"),
    [
        ("embeddingND", [(2, 2)], {}, r"input has shape \[2, 2\], must be \[\*batch, 1\] of rank 2 to 5"),
        ("embeddingND", [(1,)], {}, r"input has shape \[1\], must be \[\*batch, 1\] of rank 2 to 5"),
        (
            "batchedMatmul",
            [(2, 3)],
            {"weightMatrixFirstDimension": 4},
            r"weightMatrixFirstDimension is 4, must be the last size of the input's \[2, 3\]",
        ),
        ("batchedMatmul", [(2, 3), (3, 2)], {"hasBias": True}, "hasBias is True, must not be set for two inputs"),
        ("batchedMatmul", [(2, 3), (3, 2)], {"int8DynamicQuantize": True}, "int8DynamicQuantize is True, must not be"),
        ("batchedMatmul", [(2, 3), (2, 3)], {}, r"input is 'x0' \[2, 3\], 'x1' \[2, 3\], does not fit the layer"),
    ],
)
def test_what_does_not_fit_is_refused(
    layer_type: str, dims: list[tuple[int, ...]], fields: dict[str, Any], message: str
) -> None:
    with pytest.raises(windfall.LoweringError, match=message):
        run_layer(layer_type, *map(np.zeros, dims), **fields)
