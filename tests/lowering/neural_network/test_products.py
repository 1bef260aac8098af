"""Products with stored matrices against NumPy and PyTorch."""

from collections import Counter
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

import windfall
from tests.lowering.neural_network.strategies import few, random, seeds, tensors
from tests.support import fill, layer_spec, run_layer
from windfall.errors import EngineError, LoweringError


def product(x: NDArray[Any], weights: NDArray[Any], bias: NDArray[Any] | float) -> NDArray[Any]:
    """Compute the layer as the proto's table of ranks describes it."""
    if x.ndim <= 3:
        return x @ weights.T + bias
    rows = x.reshape(*x.shape[:-3], -1) @ weights.T + bias
    return rows[..., None, None]


@few
@given(x=tensors(least_rank=1), c_out=st.integers(1, 5), has_bias=st.booleans(), seed=seeds)
def test_inner_product_takes_rank_1_to_5(x: NDArray[Any], c_out: int, has_bias: bool, seed: int) -> None:
    c_in = int(np.prod(x.shape[-3:] if x.ndim > 3 else x.shape[-1:]))
    weights, bias = random(seed, (c_out, c_in)), random(seed + 1, [c_out])
    y = run_layer(
        "innerProduct",
        x,
        inputChannels=c_in,
        outputChannels=c_out,
        hasBias=has_bias,
        weights=weights,
        bias=bias,
    )
    expected = product(x.astype(np.float64), weights, bias if has_bias else 0)
    assert y.shape == expected.shape
    np.testing.assert_allclose(y, expected, rtol=1e-4, atol=1e-4)


@few
@given(seq=st.integers(1, 3), batch=st.integers(1, 3), seed=seeds)
def test_inner_product_in_a_network_of_rank_5(seq: int, batch: int, seed: int) -> None:
    x, weights = random(seed, (seq, batch, 2, 3, 4)), random(seed + 1, (5, 24))
    y = run_layer("innerProduct", x, rank5=True, inputChannels=24, outputChannels=5, weights=weights)
    expected = product(x.astype(np.float64), weights, 0)
    np.testing.assert_allclose(y, expected.reshape(y.shape), rtol=1e-4, atol=1e-4)


def test_inner_product_quantized_at_run_time_is_computed_from_the_stored_weights() -> None:
    quantized = np.arange(-6, 6, dtype=np.int8).reshape(3, 4)
    x = random(0, (2, 4))
    linear = {"numberOfBits": 8, "linearQuantization": {"scale": [0.25]}}
    y = run_layer(
        "innerProduct",
        x,
        inputChannels=4,
        outputChannels=3,
        int8DynamicQuantize=True,
        weights={"int8RawValue": quantized.tobytes(), "quantization": linear},
    )
    np.testing.assert_allclose(y, x @ (0.25 * quantized.T.astype(np.float32)), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    ("dims", "message"),
    [
        ((2, 3), r"inputChannels is 4, must be the product of \[3\], the input's last sizes"),
        ((2, 1, 1, 3), r"inputChannels is 4, must be the product of \[1, 1, 3\], the input's last sizes"),
        ((1, 1, 1, 1, 1, 4), "input has rank 6, must have rank 1 to 5"),
    ],
)
def test_an_input_of_another_size_is_refused(dims: tuple[int, ...], message: str) -> None:
    with pytest.raises(LoweringError, match=message):
        run_layer("innerProduct", np.ones(dims), inputChannels=4, outputChannels=1, weights=np.ones(4))


def test_weights_of_another_size_are_refused() -> None:
    with pytest.raises(LoweringError, match=r"weights has 5 values in 20 bytes, must have 8 \(2 x 4\) in 32 bytes"):
        run_layer("innerProduct", np.ones(4), inputChannels=4, outputChannels=2, weights=np.ones(5))


def network_of_rank_5(x: NDArray[Any]) -> Any:
    """Return flatten, two dense layers with a ReLU between them, and softmax."""
    spec = layer_spec("flatten", x, rank5=True)
    layers = spec.neuralNetwork.layers
    layers[0].output[0] = "flat"
    dense = {"inputChannels": x.size, "outputChannels": 4, "hasBias": True}
    chain = [
        ("dense", "innerProduct", dense | {"weights": random(1, (4, x.size)), "bias": random(2, [4])}),
        ("relu", "activation", {"ReLU": {}}),
        ("scores", "innerProduct", {"inputChannels": 4, "outputChannels": 3, "weights": random(3, (3, 4))}),
        ("y0", "softmax", {}),
    ]
    for name, kind, fields in chain:
        layer = layers.add(name=name, input=[layers[-1].output[0]], output=[name])
        getattr(layer, kind).SetInParent()
        fill(getattr(layer, kind), fields)
    return spec


def test_dense_layers_after_flatten_are_plain_matrix_products() -> None:
    x = random(0, (2, 3, 4))
    model = windfall.load(network_of_rank_5(x))
    hidden = torch.relu(torch.tensor(random(1, (4, 24)) @ x.ravel() + random(2, [4])))
    expected = torch.softmax(torch.tensor(random(3, (3, 4))) @ hidden, dim=0)
    np.testing.assert_allclose(model.predict({"x0": x})["y0"].ravel(), expected, rtol=1e-5)
    nodes = Counter(node.op_type for node in model.compiled.onnx.graph.node)
    assert nodes["Gemm"] == 2
    assert set(nodes) <= {"Gemm", "Relu", "Softmax", "Reshape", "Identity"}


indices = st.lists(st.integers(0, 6), min_size=1, max_size=5)


@few
@given(words=indices, rank=st.integers(4, 5), has_bias=st.booleans(), seed=seeds)
def test_embedding_looks_up_a_column(words: list[int], rank: int, has_bias: bool, seed: int) -> None:
    weights, bias = random(seed, (3, 7)), random(seed + 1, [3])
    x = np.array(words, np.float32).reshape([1] * (rank - 4) + [-1, 1, 1, 1])
    y = run_layer("embedding", x, inputDim=7, outputChannels=3, hasBias=has_bias, weights=weights, bias=bias)
    table = torch.tensor(weights.T + (bias if has_bias else 0))
    expected = torch.nn.functional.embedding(torch.tensor(words), table).numpy()
    np.testing.assert_allclose(y, expected.reshape(*x.shape[:-3], 3, 1, 1), rtol=1e-6)


def test_embedding_of_a_sequence_in_a_network_of_rank_5() -> None:
    weights = random(0, (3, 7))
    words = np.array([6, 0, 3, 3], np.float32).reshape(4, 1, 1, 1, 1)  # [Seq, Batch, C, H, W]
    y = run_layer("embedding", words, rank5=True, inputDim=7, outputChannels=3, weights=weights)
    assert y.shape == (4, 1, 3, 1, 1)
    np.testing.assert_array_equal(y[:, 0, :, 0, 0], weights.T[[6, 0, 3, 3]])


@pytest.mark.parametrize("word", [-1, 7])
def test_an_index_outside_the_table_fails(word: int) -> None:
    with pytest.raises(EngineError, match=r"indices element out of data bounds"):
        run_layer("embedding", np.full((1, 1, 1, 1), word), inputDim=7, outputChannels=3, weights=np.ones(21))


@pytest.mark.parametrize("dims", [(2, 1, 1), (2, 3, 1, 1)])
def test_embedding_takes_one_index_at_a_time(dims: tuple[int, ...]) -> None:
    with pytest.raises(LoweringError, match=r"input has shape .*, must be \[x1, 1, 1, 1\] or \[x1, x2, 1, 1, 1\]"):
        run_layer("embedding", np.ones(dims), inputDim=7, outputChannels=3, weights=np.ones(21))


@few
@given(dims=st.lists(st.integers(1, 4), min_size=1, max_size=3), cosine=st.booleans(), seed=seeds)
def test_dot_product(dims: list[int], cosine: bool, seed: int) -> None:
    x, y = random(seed, [*dims, 1, 1]), random(seed + 1, [*dims, 1, 1])
    result = run_layer("dot", x, y, cosineSimilarity=cosine)
    flat_x, flat_y = (torch.tensor(value[..., 0, 0]) for value in (x, y))
    expected = torch.cosine_similarity(flat_x, flat_y, dim=-1) if cosine else (flat_x * flat_y).sum(dim=-1)
    np.testing.assert_allclose(result, expected.numpy().reshape(*dims[:-1], 1, 1, 1), rtol=1e-4, atol=1e-4)


def test_the_cosine_of_a_vector_without_length_is_0() -> None:
    assert run_layer("dot", np.zeros((2, 1, 1)), np.ones((2, 1, 1)), cosineSimilarity=True).item() == 0


@pytest.mark.parametrize("dims", [(3, 1, 1), (2, 2, 1), (1, 2, 1, 1)])
def test_vectors_of_other_shapes_are_refused(dims: tuple[int, ...]) -> None:
    with pytest.raises(
        LoweringError, match=r"input has the shapes \[2, 1, 1\] and .*, must be two of \[\*batch, C, 1, 1\]"
    ):
        run_layer("dot", np.ones((2, 1, 1)), np.ones(dims))
