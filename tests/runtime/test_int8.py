"""8-bit arithmetic: near float32, equal to a simulation, on both engines; what stays in float32; errors."""

from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from PIL import Image

import windfall
from tests.lowering.ml_program.test_states import accumulator
from tests.programs import (
    DATA_TYPES,
    ArrayType,
    Name,
    Output,
    add_input,
    add_operation,
    new_program,
    set_type,
    set_value,
)
from tests.support import fill, layer_spec
from windfall.quantization.activations import calibrating
from windfall.quantization.activations.calibrating import Plan
from windfall.quantization.activations.layers import layers
from windfall.quantization.activations.ranges import LEVELS
from windfall.runtime import cache
from windfall.runtime.openvino import has_openvino
from windfall.runtime.openvino.gaps import first_gap
from windfall.runtime.serialize import serialize

RNG = np.random.default_rng(0)
X = RNG.normal(size=(1, 8, 12, 12)).astype(np.float32)
SAMPLES = [{"x0": RNG.normal(size=X.shape).astype(np.float32)} for _ in range(4)]
ENGINES = ["onnxruntime", *(["openvino"] if has_openvino() else [])]


def convolution(inputs: int, outputs: int, size: int = 3) -> dict[str, Any]:
    return {
        "outputChannels": outputs,
        "kernelChannels": inputs,
        "nGroups": 1,
        "kernelSize": [size, size],
        "stride": [1, 1],
        "hasBias": True,
        "same": {},
        "weights": RNG.normal(size=(outputs, inputs, size, size)).astype(np.float32) / np.sqrt(inputs * size**2),
        "bias": RNG.normal(size=outputs).astype(np.float32),
    }


def product(inputs: int, outputs: int) -> dict[str, Any]:
    weights = RNG.normal(size=(outputs, inputs)).astype(np.float32) / np.sqrt(inputs)
    bias = RNG.normal(size=outputs).astype(np.float32)
    return {"inputChannels": inputs, "outputChannels": outputs, "hasBias": True, "weights": weights, "bias": bias}


def network(x: np.ndarray, *added: tuple[str, dict[str, Any]]) -> Any:
    """Return a network of layers in a row, from input x0 to output y0."""
    (first, fields), *others = added
    spec = layer_spec(first, x, **fields)
    for number, (kind, fields) in enumerate(others, 1):
        before = spec.neuralNetwork.layers[-1]
        before.output[:] = [f"v{number}"]
        layer = spec.neuralNetwork.layers.add(name=f"layer{number}", input=[f"v{number}"], output=["y0"])
        getattr(layer, kind).SetInParent()
        fill(getattr(layer, kind), fields)
    return spec


RELU = ("activation", {"ReLU": {}})
SPEC = network(X, ("convolution", convolution(8, 16)), RELU, ("convolution", convolution(16, 4)))


def decibels(reference: np.ndarray, result: np.ndarray) -> float:
    return float(10 * np.log10(np.mean(np.square(reference)) / np.mean(np.square(reference - result))))


def int8(spec: Any, samples: Any = SAMPLES, **options: Any) -> windfall.Model:
    return windfall.load(spec, arithmetic="int8", calibration=samples, threads=1, **options)


@pytest.mark.parametrize("engine", ENGINES)
def test_convolutions_in_8_bits_are_near_float32(engine):
    model = int8(SPEC, engine=engine)
    assert model.compiled.program.engine == engine
    result = model.predict({"x0": X})["y0"]
    assert 30 < decibels(windfall.load(SPEC).predict({"x0": X})["y0"], result) < 60


@pytest.mark.parametrize("engine", ENGINES)
def test_products_in_8_bits_are_near_float32(engine):
    x = RNG.normal(size=(1, 64)).astype(np.float32)
    samples = [{"x0": RNG.normal(size=x.shape).astype(np.float32)} for _ in range(20)]
    spec = network(x, ("innerProduct", product(64, 128)), RELU, ("innerProduct", product(128, 10)))
    result = int8(spec, samples, engine=engine).predict({"x0": x})["y0"]
    assert 25 < decibels(windfall.load(spec).predict({"x0": x})["y0"], result) < 60


def nodes_by_output(graph: onnx.GraphProto) -> dict[str, onnx.NodeProto]:
    return {name: node for node in graph.node for name in node.output}


def test_each_convolution_has_8_bit_numbers_around_it():
    graph = int8(SPEC).compiled.onnx.graph
    made = nodes_by_output(graph)
    convolutions = [node for node in graph.node if node.op_type == "Conv"]
    assert len(convolutions) == 2
    stored = {tensor.name: tensor.data_type for tensor in graph.initializer}
    for node in convolutions:
        x, weight, bias = (made[name] for name in node.input)
        assert {each.op_type for each in (x, weight, bias)} == {"DequantizeLinear"}
        assert made[x.input[0]].op_type == "QuantizeLinear"
        assert stored[weight.input[0]] == onnx.TensorProto.INT8
        assert stored[bias.input[0]] == onnx.TensorProto.INT32
    # The weights are there once.
    assert not [tensor for tensor in graph.initializer if tensor.data_type == 1 and np.prod(tensor.dims) > 64]


def test_onnx_runtime_fuses_all_of_it(tmp_path):
    settings = ort.SessionOptions()
    settings.optimized_model_filepath = str(tmp_path / "optimized.onnx")
    settings.log_severity_level = 4
    spec = network(X, *(("convolution", convolution(8, 8)), RELU) * 2, ("activation", {"sigmoid": {}}))
    proto = serialize(int8(spec).compiled.graph).proto
    ort.InferenceSession(proto, settings, providers=["CPUExecutionProvider"])
    kinds = [node.op_type for node in onnx.load(tmp_path / "optimized.onnx").graph.node]
    assert kinds.count("QLinearConv") == 2
    assert "Conv" not in kinds
    assert "Relu" not in kinds


def simulated(graph: onnx.GraphProto, x: np.ndarray) -> np.ndarray:
    """Compute a graph in float64, one node after another, as ONNX defines it."""
    values: dict[str, Any] = {tensor.name: onnx.numpy_helper.to_array(tensor) for tensor in graph.initializer}
    values |= {graph.input[0].name: x}
    for node in graph.node:
        given = [values[name] for name in node.input if name]
        values[node.output[0]] = SIMULATIONS[node.op_type](node, *given)
    return values[graph.output[0].name]


def quantized(_: Any, x: Any, scale: Any, zero: Any) -> Any:
    return np.clip(np.rint(x / np.float64(scale)) + zero, 0, LEVELS)


def dequantized(_: Any, x: Any, scale: Any, zero: Any) -> Any:
    wide = x.astype(np.float64) - zero.reshape(-1, *[1] * (x.ndim - 1) if zero.ndim else ())
    return wide * scale.astype(np.float64).reshape(-1, *[1] * (x.ndim - 1) if scale.ndim else ())


def convolved(node: onnx.NodeProto, x: Any, weights: Any, bias: Any) -> Any:
    assert {each.name: list(each.ints) for each in node.attribute}["pads"] == [1, 1, 1, 1]
    padded = np.pad(x, ((0, 0), (0, 0), (1, 1), (1, 1)))
    windows = np.lib.stride_tricks.sliding_window_view(padded, (3, 3), (2, 3))
    return np.einsum("nchwij,ocij->nohw", windows, weights) + bias.reshape(-1, 1, 1)


SIMULATIONS = {
    "QuantizeLinear": quantized,
    "DequantizeLinear": dequantized,
    "Conv": convolved,
    "Relu": lambda _, x: np.maximum(x, 0),
}


@pytest.mark.parametrize("engine", ENGINES)
def test_engines_compute_what_a_simulation_does(engine):
    model = int8(SPEC, engine=engine)
    expected = simulated(model.compiled.onnx.graph, X)
    result = model.predict({"x0": X})["y0"]
    # Where a sum lies between two steps, engines may take the other one.
    assert decibels(expected, result) > 45


def large_weights() -> Any:
    """Return a network whose products add up to far more than 16 bits hold, were they added in pairs at full width."""
    spec = network(X, ("convolution", convolution(8, 16)), RELU, ("convolution", convolution(16, 4)))
    for layer in spec.neuralNetwork.layers:
        if layer.WhichOneof("layer") == "convolution":
            values = layer.convolution.weights.floatValue
            values[:] = [1.0 + 0.01 * (index % 7) for index in range(len(values))]
    return spec


@pytest.mark.parametrize("engine", ENGINES)
def test_sums_are_not_cut_off(engine):
    samples = [{"x0": np.abs(sample["x0"]) + 2} for sample in SAMPLES]
    model = int8(large_weights(), samples, engine=engine)
    x = {"x0": np.abs(X) + 2}
    assert len(quantized_layers(model)) == 2
    assert decibels(windfall.load(large_weights()).predict(x)["y0"], model.predict(x)["y0"]) > 30


def quantized_layers(model: windfall.Model) -> list[str]:
    graph = model.compiled.onnx.graph
    made = nodes_by_output(graph)
    return [node.output[0] for node in graph.node if node.op_type == "Conv" and node.input[1] in made]


def test_the_noisiest_layer_stays_in_float32():
    spec = network(X, ("convolution", convolution(8, 16)), RELU, ("convolution", convolution(16, 4)))
    values = spec.neuralNetwork.layers[2].convolution.weights.floatValue
    # In each channel one weight that meets zeros alone is far larger than all others, which 8 bits round to nothing.
    values[:: 16 * 9] = [1e5] * 4
    first = spec.neuralNetwork.layers[0].convolution
    first.weights.floatValue[: 8 * 9] = [0.0] * (8 * 9)
    first.bias.floatValue[0] = -1.0
    model = int8(spec)
    assert len(quantized_layers(model)) == 1
    # The weights of the other are no numbers that a layer could be found by.
    assert [layer.node.name for layer in layers(model.compiled.graph.graph)] == ["layer2.Conv"]
    result = model.predict({"x0": X})["y0"]
    assert decibels(windfall.load(spec).predict({"x0": X})["y0"], result) > 20


def test_the_calibration_is_done_once(monkeypatch, tmp_path):
    made = []
    plan = calibrating.Trial.plan

    def counted(self: Any) -> Plan:
        made.append(self)
        return plan(self)

    monkeypatch.setattr(calibrating.Trial, "plan", counted)
    monkeypatch.setenv("WINDFALL_CACHE", str(tmp_path / "cache"))
    path = windfall.load(SPEC).save(tmp_path / "model.mlmodel")
    results = [int8(path).predict({"x0": X})["y0"] for _ in range(2)]
    np.testing.assert_array_equal(*results)
    assert len(made) == 1
    int8(path, SAMPLES[:2]).predict({"x0": X})
    assert len(made) == 2


def test_transposed_convolutions_stay_in_float32():
    weights = RNG.normal(size=(8, 16, 3, 3)).astype(np.float32) / 10
    fields = convolution(8, 16) | {"isDeconvolution": True, "kernelChannels": 8, "weights": weights}
    spec = network(X, ("convolution", fields), RELU, ("convolution", convolution(16, 4)))
    graph = int8(spec).compiled.onnx.graph
    made = nodes_by_output(graph)
    quantized = {node.op_type: node.input[1] in made for node in graph.node if "Conv" in node.op_type}
    assert quantized == {"ConvTranspose": False, "Conv": True}


def test_openvino_takes_the_steps_of_8_bit_arithmetic_alone():
    proto = int8(SPEC).compiled.onnx
    assert first_gap(proto) is None
    del proto.metadata_props[:]
    assert first_gap(proto) == (
        "operator QuantizeLinear: it computes with other steps, which only 8-bit arithmetic allows"
    )


def test_the_plan_tells_what_runs():
    shown = int8(SPEC).compiled.plan.to_dict()
    assert shown["engine"] == "onnxruntime"


def test_the_file_and_its_description_stay_as_they_are():
    model = int8(SPEC)
    _ = model.compiled
    assert model.spec == SPEC
    assert str(model.description) == str(windfall.load(SPEC).description)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"arithmetic": "int4"}, "arithmetic is 'int4', must be one of: float32, int8"),
        (
            {"arithmetic": "int8"},
            (
                "arithmetic is 'int8' without calibration, must have samples: dictionaries of inputs, pictures, or a "
                "folder of pictures"
            ),
        ),
        ({"calibration": SAMPLES}, "calibration is for arithmetic='int8', must not be given for 'float32'"),
        (
            {"arithmetic": "int8", "calibration": SAMPLES, "weights": "compressed"},
            "weights is 'compressed', must be 'expanded' for arithmetic='int8', which has its own",
        ),
    ],
)
def test_arguments_that_do_not_fit(options, message):
    with pytest.raises(windfall.UnsupportedError) as raised:
        windfall.load(SPEC, **options)
    assert str(raised.value) == message


def test_there_must_be_samples():
    with pytest.raises(windfall.FeatureError) as raised:
        _ = int8(SPEC, []).compiled
    assert str(raised.value) == "there are no samples to calibrate with, must be at least one"


def test_samples_must_fit_the_model():
    with pytest.raises(windfall.FeatureError, match=r"^sample 1 does not fit .*: the model has no input 'z'"):
        _ = int8(SPEC, [{"z": X}]).compiled


def test_a_model_without_layers_for_8_bits():
    spec = layer_spec("activation", X, ReLU={})
    with pytest.raises(windfall.UnsupportedError) as raised:
        _ = int8(spec).compiled
    assert str(raised.value) == (
        "the model has no convolutions or matrix products with constant weights and known shapes, which are what "
        "arithmetic='int8' is for; use 'float32'"
    )


def test_a_classifier_must_give_the_same_classes():
    x = RNG.normal(size=(1, 64)).astype(np.float32)
    spec = network(x, ("innerProduct", product(64, 128)), RELU, ("innerProduct", product(128, 10)))
    spec.neuralNetwork.layers[-1].output[:] = ["y0"]
    classifier = type(spec)(specificationVersion=5)
    classifier.description.input.extend(spec.description.input)
    classifier.neuralNetworkClassifier.layers.extend(spec.neuralNetwork.layers)
    classifier.neuralNetworkClassifier.arrayInputShapeMapping = 1
    classifier.neuralNetworkClassifier.int64ClassLabels.vector.extend(range(10))
    label = classifier.description.output.add(name="label")
    label.type.int64Type.SetInParent()
    classifier.description.predictedFeatureName = "label"
    samples = [{"x0": RNG.normal(size=x.shape).astype(np.float32)} for _ in range(50)]
    model, reference = int8(classifier, samples), windfall.load(classifier)
    assert "DequantizeLinear" in [node.op_type for node in model.compiled.graph.graph]
    same = [model.predict(each)["label"] == reference.predict(each)["label"] for each in samples]
    assert np.mean(same) >= 0.99


def test_plans_are_kept_beside_the_graphs(monkeypatch, tmp_path):
    monkeypatch.setenv("WINDFALL_CACHE", str(tmp_path / "cache"))
    path = windfall.load(SPEC).save(tmp_path / "model.mlmodel")
    first = int8(path)
    expected = first.predict({"x0": X})["y0"]
    (entry,) = (tmp_path / "cache").glob("*.int8")
    listed = {each.path: each.model for each in cache.CompileCache(tmp_path / "cache").entries()}
    assert listed[entry] == str(path)
    for graph in (tmp_path / "cache").glob("*.onnx"):
        graph.unlink()
    monkeypatch.setattr(calibrating.Trial, "plan", lambda _: pytest.fail("it was calibrated again"))
    np.testing.assert_array_equal(int8(path).predict({"x0": X})["y0"], expected)
    monkeypatch.undo()
    monkeypatch.setenv("WINDFALL_CACHE", str(tmp_path / "cache"))
    for graph in (tmp_path / "cache").glob("*.onnx"):
        graph.unlink()
    for damage in (b"", b"[]", b'{"ranges": {"x": [0, 3]}, "kept": [], "largest_weight": 127}', b"\xff"):
        entry.write_bytes(damage)
        np.testing.assert_array_equal(int8(path).predict({"x0": X})["y0"], expected)


def quantized_program() -> Any:
    """Return a program whose convolution has its own 8-bit numbers around it, and 8-bit weights."""
    spec, function, block = new_program(7)
    add_input(spec, function, "x", X, X.shape)
    weights = RNG.integers(-127, 128, size=(16, 8, 3, 3)).astype(np.int8)
    given = {"quantized_data": weights, "zero_point": np.int8(0), "scale": np.float32(0.001), "axis": np.int32(0)}
    operation = block.operations.add(type="constexpr_affine_dequantize")
    for name, value in given.items():
        set_value(operation.attributes[name], value)
    set_type(operation.outputs.add(name="w").type, DATA_TYPES[np.dtype(np.float32)], weights.shape)

    def rounded(name: str, scale: float, dims: tuple[int, ...]) -> str:
        steps = np.float32(scale)
        whole, back = Output(np.int8, dims), Output(np.float32, dims)
        add_operation(block, "quantize", {f"{name}q": whole}, input=Name(name), scale=steps, output_dtype="int8")
        add_operation(block, "dequantize", {f"{name}d": back}, input=Name(f"{name}q"), scale=steps)
        return f"{name}d"

    result = Output(np.float32, (1, 16, 12, 12))
    x = Name(rounded("x", 0.03, X.shape))
    settings = {"strides": [1, 1], "pad_type": "same", "pad": [0] * 4, "dilations": [1, 1], "groups": 1}
    add_operation(block, "conv", {"c": result}, x=x, weight=Name("w"), **settings)
    last = Name(rounded("c", 0.05, result.dims))
    add_operation(block, "sigmoid", {"y": result}, x=last)
    block.outputs.append("y")
    spec.description.output.add(name="y").type.multiArrayType.dataType = ArrayType.FLOAT32
    return spec


def test_a_program_keeps_the_8_bit_numbers_that_it_has():
    spec = quantized_program()
    model = int8(spec, [{"x": X}], engine="onnxruntime")
    kinds = [node.op_type for node in model.compiled.onnx.graph.node]
    assert kinds.count("QuantizeLinear") == 2
    assert kinds.count("DequantizeLinear") == 3
    result = model.predict({"x": X})["y"]
    # Weights have 7 bits on processors without dot products.
    assert decibels(windfall.load(spec).predict({"x": X})["y"], result) > 28


def test_samples_must_be_of_one_size():
    spec = network(X, ("convolution", convolution(8, 4)))
    sizes = spec.description.input[0].type.multiArrayType.shapeRange.sizeRanges
    for low, high in ((1, 1), (8, 8), (8, 16), (8, 16)):
        sizes.add(lowerBound=low, upperBound=high)
    with pytest.raises(windfall.FeatureError) as raised:
        _ = int8(spec, [SAMPLES[0], {"x0": X[..., :9]}]).compiled
    assert str(raised.value) == "sample 2 is of another size than the samples before, must be of the same"


def test_what_samples_of_one_size_found_serves_others():
    spec = network(X, ("convolution", convolution(8, 16)), RELU, ("convolution", convolution(16, 4)))
    sizes = spec.description.input[0].type.multiArrayType.shapeRange.sizeRanges
    for low, high in ((1, 1), (8, 8), (8, 16), (8, 16)):
        sizes.add(lowerBound=low, upperBound=high)
    x = {"x0": X[..., :9]}
    assert decibels(windfall.load(spec).predict(x)["y0"], int8(spec).predict(x)["y0"]) > 30


def test_no_layer_may_be_left():
    spec = network(X, ("convolution", convolution(8, 4)))
    values = spec.neuralNetwork.layers[0].convolution.weights.floatValue
    values[:] = [1e-4 * value for value in values]
    values[0] = values[72] = values[144] = values[216] = 1e3
    samples = [{"x0": np.concatenate([np.full_like(X[:, :1], 1e-9), X[:, 1:]], 1)}]
    with pytest.raises(windfall.UnsupportedError) as raised:
        _ = int8(spec, samples).compiled
    assert str(raised.value) == (
        "in 8 bits no layer of the model leaves its outputs as near to float32 as they must be; use "
        "arithmetic='float32'"
    )


def test_models_with_custom_layers_are_refused():
    spec = layer_spec("custom", X, className="Mine")
    with pytest.raises(windfall.UnsupportedError) as raised:
        int8(spec)
    assert str(raised.value) == "arithmetic='int8' is not for models with custom layers or models; use 'float32'"


def test_pictures_calibrate_a_model_of_an_image(tmp_path):
    spec = network(X[:, :3], ("convolution", convolution(3, 8)), RELU, ("convolution", convolution(8, 4)))
    picture = spec.description.input[0].type.imageType
    picture.width, picture.height, picture.colorSpace = 12, 12, 20  # RGB
    for index in range(4):
        pixels = RNG.integers(0, 256, size=(20, 30, 3)).astype(np.uint8)
        Image.fromarray(pixels).save(tmp_path / f"{index}.png")
    image = {"x0": Image.fromarray(RNG.integers(0, 256, size=(12, 12, 3)).astype(np.uint8))}
    result = int8(spec, tmp_path).predict(image)["y0"]
    # The least ratio that calibration keeps to is that of the peak to the noise.
    assert decibels(windfall.load(spec).predict(image)["y0"], result) > 20


def test_models_with_states_are_refused():
    with pytest.raises(windfall.UnsupportedError) as raised:
        int8(accumulator())
    assert str(raised.value) == "arithmetic='int8' is not for models that keep states; use 'float32'"
