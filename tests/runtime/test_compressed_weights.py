"""Quantized weights that stay as they are stored, in networks: the numbers, and what the graph holds."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import windfall
from tests.support import layer_spec
from windfall.errors import UnsupportedError
from windfall.runtime.serialize import serialize

RNG = np.random.default_rng(0)


def packed(codes, bits):
    """Pack numbers without gaps, most significant bit first, as ``WeightParams`` has them."""
    single = np.unpackbits(codes.reshape(-1, 1).astype(np.uint8), axis=1)[:, 8 - bits :]
    return np.packbits(single).tobytes()


def quantized(dims, bits, kind, *, channel_axis=0, seed=0):
    """Return a random weight: the fields of its ``WeightParams``, and its numbers by NumPy in float64."""
    rng = np.random.default_rng(seed)
    low, high = (-128, 128) if kind == "int8" else (0, 2**bits)
    codes = rng.integers(low, high, dims)
    fields = {"quantization": {"numberOfBits": bits}}
    data = codes.astype(np.int8).tobytes() if kind == "int8" else packed(codes, bits)
    fields["int8RawValue" if kind == "int8" else "rawValue"] = data
    if kind == "table":
        table = np.sort(rng.normal(size=2**bits)).astype(np.float32)
        fields["quantization"]["lookupTableQuantization"] = {"floatValue": table.tolist()}
        return fields, table.astype(np.float64)[codes]
    channels = 1 if kind == "per tensor" else dims[channel_axis]
    scale = rng.uniform(0.5, 1, channels).astype(np.float32) / 2**bits
    bias = -scale * np.float32(2**bits / 2 + 0.3) if kind != "symmetric" else -scale * np.float32(2 ** (bits - 1))
    fields["quantization"]["linearQuantization"] = {"scale": scale.tolist(), "bias": bias.tolist()}
    shape = [channels if axis == channel_axis else 1 for axis in range(len(dims))]
    return fields, codes * scale.astype(np.float64).reshape(shape) + bias.astype(np.float64).reshape(shape)


def both(spec, **inputs):
    """Predict with weights held in both ways; check that they agree, and return the result and the compressed graph."""
    expanded = windfall.load(spec).predict(inputs)
    model = windfall.load(spec, weights="compressed")
    found = model.predict(inputs)
    for name, array in expanded.items():
        largest = np.abs(array).max()
        np.testing.assert_allclose(found[name], array, rtol=2e-6, atol=2e-6 * largest)
    return found, model.compiled.graph


def float_sizes(graph):
    return [value.const_value.size for value in graph.graph.initializers.values() if value.dtype.name == "FLOAT"]


def operators(graph):
    return {node.op_type for node in graph.graph}


LINEAR = [(bits, kind) for bits in range(1, 9) for kind in ("per channel", "per tensor", "symmetric")]
ALL = [*LINEAR, (8, "int8"), *((bits, "table") for bits in range(1, 9))]


@pytest.mark.parametrize(("bits", "kind"), ALL)
def test_inner_products(bits, kind):
    fields, weight = quantized((48, 130), bits, kind)
    bias, x = RNG.normal(size=48).astype(np.float32), RNG.normal(size=(3, 130)).astype(np.float32)
    spec = layer_spec("innerProduct", x, inputChannels=130, outputChannels=48, hasBias=True, weights=fields, bias=bias)
    found, graph = both(spec, x0=x)
    expected = x @ weight.T + bias
    np.testing.assert_allclose(found["y0"], expected, rtol=1e-5, atol=1e-5 * np.abs(expected).max())
    assert max(float_sizes(graph)) < weight.size
    if kind != "table" or bits == 1:
        assert "MatMulNBits" in operators(graph)
    else:
        assert "GatherElements" in operators(graph)


@pytest.mark.parametrize("rows", [4, 5])
def test_codes_of_eight_bits_meet_few_rows_in_halves_and_many_expanded(rows):
    fields, weight = quantized((40, 64), 8, "per channel")
    x = RNG.normal(size=(rows, 64)).astype(np.float32)
    found, graph = both(layer_spec("innerProduct", x, inputChannels=64, outputChannels=40, weights=fields), x0=x)
    np.testing.assert_allclose(found["y0"], x @ weight.T, rtol=1e-5, atol=1e-4)
    assert ("MatMulNBits" in operators(graph)) == (rows == 4)
    assert ("DequantizeLinear" in operators(graph)) == (rows == 5)


@settings(max_examples=40, deadline=None)
@given(
    n=st.integers(1, 70),
    k=st.integers(16, 300),
    rows=st.integers(1, 6),
    bits=st.integers(1, 8),
    kind=st.sampled_from(["per channel", "per tensor", "table"]),
)
def test_products_of_any_size(n, k, rows, bits, kind):
    fields, weight = quantized((n, k), bits, kind, seed=n * k)
    x = np.random.default_rng(k).normal(size=(rows, k)).astype(np.float32)
    spec = layer_spec("batchedMatmul", x, weightMatrixFirstDimension=k, weightMatrixSecondDimension=n, weights=fields)
    found, _ = both(spec, x0=x)
    np.testing.assert_allclose(found["y0"], x @ weight.T, rtol=1e-5, atol=1e-5 * (np.abs(x) @ np.abs(weight.T)).max())


@pytest.mark.parametrize("size", [4, 12])  # the result has fewer elements than the weight, and more
@pytest.mark.parametrize(("bits", "kind"), [(8, "per channel"), (8, "int8"), (5, "per tensor"), (4, "table")])
def test_convolutions(bits, kind, size):
    import torch

    fields, weight = quantized((24, 16, 3, 3), bits, kind)
    bias, x = RNG.normal(size=24).astype(np.float32), RNG.normal(size=(1, 16, size, size)).astype(np.float32)
    spec = layer_spec("convolution", x, outputChannels=24, kernelChannels=16, kernelSize=[3, 3], stride=[2, 1],
                      same={}, hasBias=True, weights=fields, bias=bias)  # fmt: skip
    found, graph = both(spec, x0=x)
    before = (1, 1, *((0, 1) if size % 2 == 0 else (1, 1)))
    given_ = torch.nn.functional.pad(torch.from_numpy(x).double(), before)
    expected = torch.nn.functional.conv2d(given_, torch.from_numpy(weight), torch.from_numpy(bias).double(), (2, 1))
    np.testing.assert_allclose(found["y0"], expected.numpy(), rtol=1e-5, atol=1e-4)
    assert max(float_sizes(graph)) < weight.size
    assert "DequantizeLinear" in operators(graph)


def test_convolutions_of_single_pixels_add_the_rest_to_the_result():
    fields, weight = quantized((64, 48, 1, 1), 8, "per channel")
    x = RNG.normal(size=(1, 48, 5, 5)).astype(np.float32)
    spec = layer_spec("convolution", x, outputChannels=64, kernelChannels=48, kernelSize=[1, 1], valid={},
                      weights=fields)  # fmt: skip
    found, graph = both(spec, x0=x)
    np.testing.assert_allclose(found["y0"][0], np.tensordot(weight[:, :, 0, 0], x[0], 1), rtol=1e-5, atol=1e-4)
    assert "ReduceSum" in operators(graph)


@pytest.mark.parametrize("kind", ["per channel", "table"])
def test_grouped_and_transposed_convolutions(kind):
    import torch

    fields, weight = quantized((32, 8, 3, 3), 6, kind)
    x = RNG.normal(size=(1, 32, 7, 7)).astype(np.float32)
    spec = layer_spec("convolution", x, outputChannels=32, kernelChannels=8, nGroups=4, kernelSize=[3, 3], valid={},
                      weights=fields)  # fmt: skip
    found, graph = both(spec, x0=x)
    expected = torch.nn.functional.conv2d(torch.from_numpy(x).double(), torch.from_numpy(weight), groups=4)
    np.testing.assert_allclose(found["y0"], expected.numpy(), rtol=1e-5, atol=1e-4)
    assert max(float_sizes(graph)) < weight.size

    fields, weight = quantized((32, 12, 3, 3), 8, kind, channel_axis=1)
    spec = layer_spec("convolution", x, outputChannels=12, kernelChannels=32, kernelSize=[3, 3], valid={},
                      isDeconvolution=True, weights=fields)  # fmt: skip
    found, graph = both(spec, x0=x)
    expected = torch.nn.functional.conv_transpose2d(torch.from_numpy(x).double(), torch.from_numpy(weight))
    np.testing.assert_allclose(found["y0"], expected.numpy(), rtol=1e-5, atol=1e-4)
    assert max(float_sizes(graph)) < weight.size


@pytest.mark.parametrize(("bits", "kind"), [(4, "per channel"), (8, "per tensor"), (8, "int8"), (3, "table")])
def test_embeddings(bits, kind):
    fields, weight = quantized((20, 300), bits, kind)
    bias, x = RNG.normal(size=20).astype(np.float32), np.float32([[3], [299], [0], [3]])
    spec = layer_spec("embeddingND", x, vocabSize=300, embeddingSize=20, hasBias=True, weights=fields, bias=bias)
    found, graph = both(spec, x0=x)
    expected = weight.T[x[:, 0].astype(int)] + bias
    np.testing.assert_allclose(found["y0"], expected, rtol=1e-5, atol=1e-5)
    assert max(float_sizes(graph)) < weight.size
    spec = layer_spec("embedding", x[..., None, None], inputDim=300, outputChannels=20, hasBias=True, weights=fields,
                      bias=bias)  # fmt: skip
    found, graph = both(spec, x0=x[..., None, None])
    np.testing.assert_allclose(found["y0"][..., 0, 0], expected, rtol=1e-5, atol=1e-5)
    assert max(float_sizes(graph)) < weight.size


@pytest.mark.parametrize("kind", ["per channel", "table"])
def test_constants_that_any_layer_reads(kind):
    fields, weight = quantized((40, 50), 8, kind)
    x = RNG.normal(size=(40, 50)).astype(np.float32)
    spec = layer_spec("loadConstantND", x, shape=[40, 50], data=fields)
    layer = spec.neuralNetwork.layers[0]
    del layer.input[:]
    layer.output[0] = "c"
    spec.neuralNetwork.layers.add(name="add", input=["x0", "c"], output=["y0"]).addBroadcastable.SetInParent()
    found, graph = both(spec, x0=x)
    np.testing.assert_allclose(found["y0"], x + weight, rtol=1e-5, atol=1e-5)
    assert max(float_sizes(graph)) < weight.size


def test_large_matrices_are_expanded_in_parts():
    fields, weight = quantized((1100, 1030), 4, "table")
    x = RNG.normal(size=(2, 1030)).astype(np.float32)
    found, graph = both(layer_spec("innerProduct", x, inputChannels=1030, outputChannels=1100, weights=fields), x0=x)
    np.testing.assert_allclose(found["y0"], x @ weight.T, rtol=1e-4, atol=1e-3)
    assert sum(node.op_type == "Gemm" for node in graph.graph) == 2


@pytest.mark.parametrize(("bits", "kind"), [(4, "per channel"), (8, "per channel"), (4, "table")])
@pytest.mark.parametrize("layer_type", ["innerProduct", "convolution"])
def test_the_engine_does_not_expand_them_when_it_compiles_the_graph(bits, kind, layer_type, tmp_path):
    import onnx
    import onnxruntime as ort

    if layer_type == "convolution":
        fields, weight = quantized((64, 32, 3, 3), bits, kind)
        x = RNG.normal(size=(1, 32, 4, 4)).astype(np.float32)
        more = {"outputChannels": 64, "kernelChannels": 32, "kernelSize": [3, 3], "valid": {}}
    else:
        fields, weight = quantized((64, 300), bits, kind)
        x = RNG.normal(size=(7, 300)).astype(np.float32)
        more = {"outputChannels": 64, "inputChannels": 300}
    model = windfall.load(layer_spec(layer_type, x, weights=fields, **more), weights="compressed")
    options = ort.SessionOptions()
    options.optimized_model_filepath = str(tmp_path / "optimized.onnx")
    options.log_severity_level = 4
    proto = serialize(model.compiled.graph).proto
    ort.InferenceSession(proto, options, providers=["CPUExecutionProvider"])
    compiled = onnx.load(tmp_path / "optimized.onnx").graph
    sizes = [np.prod(t.dims) for t in compiled.initializer if t.data_type == onnx.TensorProto.FLOAT]
    assert max(sizes) < weight.size
    assert {"MatMulNBits", "DequantizeLinear"} & {node.op_type for node in compiled.node}


@pytest.mark.parametrize(("bits", "kind"), [(4, "per channel"), (8, "table")])
def test_weights_in_loops(bits, kind):
    fields, weight = quantized((64, 64), bits, kind)
    x = RNG.normal(size=(1, 64)).astype(np.float32)
    spec = layer_spec("copy", x)
    network = spec.neuralNetwork
    network.layers[0].output[0] = "y0"
    loop = network.layers.add(name="loop").loop
    loop.maxLoopIterations = 2
    inner = layer_spec("innerProduct", x, inputChannels=64, outputChannels=64, weights=fields).neuralNetwork.layers[0]
    inner.input[0], inner.output[0] = "y0", "z"
    loop.bodyNetwork.layers.add().CopyFrom(inner)
    loop.bodyNetwork.layers.add(name="again", input=["z"], output=["y0"]).copy.SetInParent()
    found, graph = both(spec, x0=x)
    np.testing.assert_allclose(found["y0"], x @ weight.T @ weight.T, rtol=1e-4, atol=1e-3)
    assert max(float_sizes(graph)) < weight.size
    assert ("GatherElements" in operators(graph)) == (kind == "table")  # expanded before the loop


@pytest.mark.parametrize("scale", [float("inf"), 1e30])
def test_scales_that_leave_float32_are_expanded(scale):
    fields, _ = quantized((40, 50), 4, "per channel")
    fields["quantization"]["linearQuantization"]["scale"][3] = scale
    x = RNG.normal(size=50).astype(np.float32)
    spec = layer_spec("innerProduct", x, inputChannels=50, outputChannels=40, weights=fields)
    model = windfall.load(spec, weights="compressed")
    assert "MatMulNBits" not in operators(model.compiled.graph)
    with np.errstate(invalid="ignore"):
        expected = windfall.load(spec).predict({"x0": x})["y0"]
    np.testing.assert_array_equal(model.predict({"x0": x})["y0"], expected)


def test_codes_of_eight_bits_stay_in_the_file(tmp_path):
    fields, weight = quantized((64, 32, 3, 3), 8, "per channel")
    x = RNG.normal(size=(1, 32, 4, 4)).astype(np.float32)
    spec = layer_spec("convolution", x, outputChannels=64, kernelChannels=32, kernelSize=[3, 3], valid={},
                      weights=fields)  # fmt: skip
    path = tmp_path / "eight.mlmodel"
    path.write_bytes(spec.SerializeToString())
    model = windfall.load(path, weights="compressed")
    expected = windfall.load(spec).predict({"x0": x})["y0"]
    np.testing.assert_allclose(model.predict({"x0": x})["y0"], expected, rtol=1e-5, atol=1e-5)
    serialized = serialize(model.compiled.graph)
    assert serialized.is_compressed
    assert serialized.folder == tmp_path
    assert len(serialized.proto) < weight.size


def test_the_cache_tells_the_two_from_each_other(tmp_path, monkeypatch):
    monkeypatch.setenv("WINDFALL_CACHE", str(tmp_path / "cache"))
    fields, _ = quantized((64, 100), 4, "per channel")
    x = RNG.normal(size=100).astype(np.float32)
    path = tmp_path / "four.mlmodel"
    path.write_bytes(
        layer_spec("innerProduct", x, inputChannels=100, outputChannels=64, weights=fields).SerializeToString()
    )
    for _ in range(2):  # into the cache, and out of it
        results = [windfall.load(path, weights=way).predict({"x0": x})["y0"] for way in ("expanded", "compressed")]
        np.testing.assert_allclose(*results, rtol=1e-5, atol=1e-5)
    held = [b"MatMulNBits" in entry.read_bytes() for entry in (tmp_path / "cache").glob("*.onnx")]
    assert sorted(held) == [False, True]


def test_a_model_without_quantized_weights_is_the_same():
    x = RNG.normal(size=50).astype(np.float32)
    weight = RNG.normal(size=(40, 50)).astype(np.float32)
    spec = layer_spec("innerProduct", x, inputChannels=50, outputChannels=40, weights=weight)
    models = [windfall.load(spec, weights=way) for way in ("expanded", "compressed")]
    first, second = (model.predict({"x0": x})["y0"] for model in models)
    np.testing.assert_array_equal(first, second)
    protos = [serialize(model.compiled.graph) for model in models]
    assert protos[0].proto == protos[1].proto
    assert not protos[1].is_compressed


def test_other_ways_to_hold_weights_are_refused():
    with pytest.raises(UnsupportedError) as error:
        windfall.load(layer_spec("softmax", np.zeros(3, np.float32)), weights="packed")
    assert str(error.value) == "weights is 'packed', must be one of: expanded, compressed"
