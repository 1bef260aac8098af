"""Whole models quantized with samples: what comes out, what is said of it, what is refused."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

import windfall
from tests.support import fill, layer_spec
from windfall.quantization import Calibration, quantization_report, quantize_weights
from windfall.quantization.calibration import session
from windfall.quantization.networks import layers
from windfall.quantization.weight import values_of
from windfall.spec.proto import Model_pb2

Floats = NDArray[np.float32]
Samples = list[dict[str, Any]]
SIZE = 24
rng = np.random.default_rng(0)


def array(*shape: int) -> Floats:
    return rng.normal(size=shape).astype(np.float32)


def product(outputs: int = SIZE, inputs: int = SIZE) -> dict[str, Any]:
    sizes = {"outputChannels": outputs, "inputChannels": inputs}
    return {**sizes, "weights": array(outputs, inputs), "hasBias": True, "bias": array(outputs)}


def network() -> Any:
    """Three products with ReLU in between."""
    spec = layer_spec("innerProduct", array(SIZE), **product())
    first = spec.neuralNetwork.layers[0]
    first.name, first.output[0] = "fc1", "a"
    for name, source, target in (("fc2", "b", "c"), ("fc3", "d", "y0")):
        relu = spec.neuralNetwork.layers.add(name=f"relu {name}", input=["ac"[source == "d"]], output=[source])
        relu.activation.ReLU.SetInParent()
        layer = spec.neuralNetwork.layers.add(name=name, input=[source], output=[target])
        fill(layer.innerProduct, product())
    return spec


def samples(count: int = 60, seed: int = 1) -> Samples:
    """Inputs that go together, as those of real models do."""
    values = np.random.default_rng(seed).normal(size=(count, 5))
    mixed = values @ np.random.default_rng(99).normal(size=(5, SIZE)) + 0.5
    return [{"x0": x} for x in mixed.astype(np.float32)]


def outputs(model: windfall.Model, given: Samples, name: str = "y0") -> NDArray[np.float64]:
    return np.stack([model.predict(sample, outputs=[name])[name] for sample in given]).astype(np.float64)


def error(model: windfall.Model, small: windfall.Model, given: Samples, name: str = "y0") -> float:
    return float(((outputs(model, given, name) - outputs(small, given, name)) ** 2).mean())


@pytest.mark.parametrize("mode", ["kmeans", "linear", "linear_symmetric", "linear_lut"])
def test_outputs_for_held_out_samples_are_nearer(mode: str, tmp_path: Path) -> None:
    model = windfall.load(network())
    before = model.spec
    plain = quantize_weights(model, 3, mode)
    calibration = Calibration(samples())
    small = quantize_weights(model, 3, mode, calibration=calibration)
    assert model.spec == before
    assert error(model, small, samples(seed=2)) < 0.4 * error(model, plain, samples(seed=2))
    assert small._file.size == plain._file.size
    assert set(calibration.outcomes.values()) == {"calibrated"}
    again = windfall.load(small.save(tmp_path / "small.mlmodel"))
    np.testing.assert_array_equal(outputs(again, samples(3)), outputs(small, samples(3)))
    for one, other in zip(*(layers(m._file, m._file.spec) for m in (small, again)), strict=True):
        for first, second in zip(one.weights, other.weights, strict=True):
            np.testing.assert_array_equal(values_of(small._file, first), values_of(again._file, second))
    assert quantize_weights(model, 3, mode, calibration=samples()).spec == small.spec


@pytest.mark.parametrize("name", ["a", "c", "y0"])
@pytest.mark.parametrize("stages", [1, 64])
def test_the_mean_error_of_a_layer_with_a_bias_is_zero(name: str, stages: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(session, "_MOST_STAGES", stages)
    model, given = windfall.load(network()), samples()
    if stages == 1 and name != "a":
        return  # later layers are then fitted to inputs that they do not get
    for mode in ("kmeans", "linear"):
        small = quantize_weights(model, 2, mode, calibration=given)
        off = outputs(model, given, name) - outputs(small, given, name)
        np.testing.assert_allclose(off.mean(axis=0), 0, atol=1e-4 * np.abs(outputs(model, given, name)).max())


def test_biases_in_float16_stay_float16() -> None:
    model = quantize_weights(windfall.load(network()), 16)
    small = quantize_weights(model, 3, "kmeans", calibration=samples())
    assert all(layer.innerProduct.bias.float16Value for layer in small.message.neuralNetwork.layers[::2])
    assert (
        small.message.neuralNetwork.layers[0].innerProduct.bias
        != model.message.neuralNetwork.layers[0].innerProduct.bias
    )


def test_16_bits_and_layers_left_out_stay_as_they_are() -> None:
    model = windfall.load(network())
    assert quantize_weights(model, 16, calibration=samples()).spec == quantize_weights(model, 16).spec
    small = quantize_weights(model, 3, "kmeans", select="fc2", calibration=samples())
    for index in (0, 4):
        assert small.spec.neuralNetwork.layers[index] == model.spec.neuralNetwork.layers[index]


def test_a_layer_without_a_bias_gets_none() -> None:
    spec = layer_spec("innerProduct", array(SIZE), **(product() | {"hasBias": False}))
    del spec.neuralNetwork.layers[0].innerProduct.bias.floatValue[:]
    model = windfall.load(spec)
    small, plain = (quantize_weights(model, 3, "kmeans", calibration=c) for c in (samples(), None))
    assert not small.message.neuralNetwork.layers[0].innerProduct.hasBias
    assert error(model, small, samples()) < error(model, plain, samples())


def convolutions() -> Any:
    """A grouped convolution of a picture's channels, and a deconvolution."""
    spec = Model_pb2.Model(specificationVersion=4)
    picture = spec.description.input.add(name="photo").type.imageType
    picture.width, picture.height, picture.colorSpace = 16, 12, 20
    spec.description.output.add(name="y0").type.multiArrayType.dataType = 65568
    network = spec.neuralNetwork
    preprocessing = network.preprocessing.add(featureName="photo")
    preprocessing.scaler.channelScale = 1 / 255
    first = network.layers.add(name="conv", input=["photo"], output=["a"])
    kernel = {"kernelSize": [3, 3], "hasBias": True}
    fields = {"outputChannels": 24, "kernelChannels": 3, "nGroups": 1, "same": {}, "weights": array(24, 3, 3, 3)}
    fill(first.convolution, {**fields, **kernel, "bias": array(24)})
    second = network.layers.add(name="grouped", input=["a"], output=["b"])
    fields = {"outputChannels": 16, "kernelChannels": 12, "nGroups": 2, "valid": {}, "weights": array(16, 12, 3, 3)}
    fill(second.convolution, {**fields, **kernel, "bias": array(16)})
    third = network.layers.add(name="up", input=["b"], output=["y0"])
    fields = {"outputChannels": 8, "kernelChannels": 16, "nGroups": 2, "valid": {}, "stride": [2, 2]}
    fill(
        third.convolution,
        {**fields, **kernel, "isDeconvolution": True, "weights": array(16, 4, 3, 3), "bias": array(8)},
    )
    return spec


def photos(folder: Path, count: int) -> Path:
    for index in range(count):
        pixels = np.kron(rng.integers(0, 256, (4, 5, 3)), np.ones((5, 5, 1))).astype(np.uint8)
        Image.fromarray(pixels).save(folder / f"{index}.png")
    return folder


@pytest.mark.parametrize("mode", ["kmeans", "linear"])
def test_convolutions_with_a_folder_of_photos(mode: str, tmp_path: Path) -> None:
    model = windfall.load(convolutions())
    given = photos(tmp_path, 6)
    calibration = Calibration(given)
    small = quantize_weights(model, 3, mode, calibration=calibration)
    plain = quantize_weights(model, 3, mode)
    kept = [{"photo": Image.open(path).resize((16, 12))} for path in sorted(given.iterdir())]
    assert error(model, small, kept) < 0.6 * error(model, plain, kept)
    assert calibration.outcomes == dict.fromkeys([(n, "weights") for n in ("conv", "grouped", "up")], "calibrated")


def test_what_cannot_be_calibrated_is_quantized_plainly_and_named() -> None:
    spec = network()
    model = windfall.load(spec)
    numbers = spec.neuralNetwork.layers.add(name="numbers", output=["n"])
    fill(numbers.loadConstantND, {"shape": [400], "data": array(400)})
    silent = spec.neuralNetwork.layers.add(name="silent", input=["zero"], output=["s"])
    fill(silent.innerProduct, product())
    zero = layer_spec("multiply", array(SIZE), alpha=0).neuralNetwork.layers[0]
    zero.name, zero.output[0] = "zero", "zero"
    spec.neuralNetwork.layers.insert(5, zero)
    model = windfall.load(spec)
    calibration = Calibration(samples())
    small = quantize_weights(model, 4, "kmeans", calibration=calibration)
    assert calibration.outcomes["numbers", "data"] == "is of a kind that has no calibration"
    assert calibration.outcomes["silent", "weights"] == "its input is always 0"
    plain = quantize_weights(model, 4, "kmeans")
    assert small.spec.neuralNetwork.layers[-2:] == plain.spec.neuralNetwork.layers[-2:]
    report = quantization_report(model, small, calibration=calibration)
    said = {layer.layer: layer.calibration for layer in report.layers}
    assert said["fc1"] == "calibrated"
    assert said["silent"] == "its input is always 0"


def test_networks_inside_of_layers() -> None:
    spec = layer_spec("branch", np.ones(1), array(SIZE))
    branch = spec.neuralNetwork.layers[0]
    del branch.input[1:], branch.output[:]
    for field in ("ifBranch", "elseBranch"):
        layer = getattr(branch.branch, field).layers.add(name="fc", input=["x1"], output=["y0"])
        fill(layer.innerProduct, product())
    calibration = Calibration([{"x0": np.ones(1), "x1": array(SIZE)}])
    quantize_weights(windfall.load(spec), 4, calibration=calibration)
    assert set(calibration.outcomes.values()) == {"lies in a branch or a loop, whose values cannot be seen"}


def test_a_member_of_a_pipeline_equals_the_network_alone() -> None:
    spec, doubled = network(), layer_spec("activation", array(SIZE), linear={"alpha": 2})
    doubled.description.output[0].name = doubled.neuralNetwork.layers[0].output[0] = "x0 twice"
    spec.description.input[0].name = spec.neuralNetwork.layers[0].input[0] = "x0 twice"
    doubled.description.output[0].type.multiArrayType.shape.append(SIZE)
    pipeline = Model_pb2.Model(specificationVersion=5)
    pipeline.description.input.extend(doubled.description.input)
    pipeline.description.output.extend(spec.description.output)
    pipeline.pipeline.models.extend([doubled, spec])
    pipeline.pipeline.names.extend(["double", "net"])
    small = quantize_weights(windfall.load(pipeline), 3, "kmeans", calibration=samples())
    twice = [{"x0 twice": 2 * sample["x0"]} for sample in samples()]
    alone = quantize_weights(windfall.load(spec), 3, "kmeans", calibration=twice)
    assert small.spec.pipeline.models[1].neuralNetwork == alone.spec.neuralNetwork


def test_recurrent_layers() -> None:
    gates = ("inputGate", "forgetGate", "blockInput", "outputGate")
    weights = {f"{gate}WeightMatrix": array(18, SIZE) for gate in gates}
    weights |= {f"{gate}RecursionMatrix": array(18, 18) for gate in gates} | {
        f"{g}BiasVector": array(18) for g in gates
    }
    fields = {
        "inputVectorSize": SIZE,
        "outputVectorSize": 18,
        "params": {"hasBiasVectors": True, "sequenceOutput": True},
    }
    states = [np.zeros((18, 1, 1), np.float32)] * 2
    activations: list[dict[str, Any]] = [{"sigmoid": {}}, {"tanh": {}}, {"tanh": {}}]
    spec = layer_spec(
        "uniDirectionalLSTM", array(SIZE, 1, 1), *states, rank5=True, outputs=3,
        **fields, activations=activations, weightParams=weights,
    )  # fmt: skip
    model = windfall.load(spec)
    given = [{"x0": x["x0"].reshape(1, 1, SIZE, 1, 1), "x1": states[0], "x2": states[1]} for x in samples()]
    calibration = Calibration(given)
    small = quantize_weights(model, 3, "kmeans", select=lambda w: "WeightMatrix" in w.field, calibration=calibration)
    plain = quantize_weights(model, 3, "kmeans", select=lambda w: "WeightMatrix" in w.field)
    assert set(calibration.outcomes.values()) == {"calibrated"}
    assert error(model, small, given) < 0.5 * error(model, plain, given)
    quantize_weights(model, 3, "kmeans", calibration=calibration)
    said = {field: outcome for (_, field), outcome in calibration.outcomes.items()}
    assert said["weightParams.inputGateRecursionMatrix"] == "is of a kind that has no calibration"


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ([], "there are no samples to calibrate with, must be at least one"),
        ([{"x0": np.ones(7)}], "sample 1 does not fit the model: input 'x0'"),
        ([{"x0": np.ones(SIZE)}, {}], "sample 2 does not fit the model: input 'x0' is missing"),
        (5, "the samples are of type int, must be a list of dictionaries or pictures, or a folder"),
        (
            [{"x0": np.full(SIZE, np.float32(3e38))}],
            "sample 1 makes the value 'x0' of the model larger than 1e+15, infinite or not a number; leave that sample",
        ),
    ],
)
def test_samples_that_will_not_do(given: Any, message: str) -> None:
    model = windfall.load(network())
    before = model.spec
    with pytest.raises(windfall.FeatureError) as raised:
        quantize_weights(model, 4, calibration=given)
    assert str(raised.value).startswith(message)
    assert model.spec == before


@pytest.mark.parametrize("mode", ["dequantize", "custom_lut"])
def test_modes_without_calibration(mode: str) -> None:
    function = (lambda _bits, weight: (weight, weight)) if mode == "custom_lut" else None
    with pytest.raises(windfall.UnsupportedError) as raised:
        quantize_weights(windfall.load(network()), 4, mode, function=function, calibration=samples())
    assert str(raised.value) == (
        f"calibration is for the modes linear, linear_symmetric, linear_lut, kmeans, mode is {mode!r}; leave it out"
    )
