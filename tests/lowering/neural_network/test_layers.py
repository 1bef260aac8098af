"""The table of layers is complete; layers treat each element of a sequence and of a batch by itself."""

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

import windfall
from tests.lowering.neural_network.strategies import random
from tests.support import SPEC_LAYER_TYPES, fill, layer_spec
from windfall.lowering.neural_network.layers import LOWERINGS, NOT_LOWERED, Lowering, _merge
from windfall.lowering.neural_network.network import lower_network
from windfall.passes import optimize
from windfall.spec.modelfile import from_spec
from windfall.spec.proto import NeuralNetwork_pb2

NUMBERS = {
    field.name: field.number for field in NeuralNetwork_pb2.NeuralNetworkLayer.DESCRIPTOR.oneofs_by_name["layer"].fields
}
# "Following layers are available only after Core ML Specification version >= 4", says the comment before number 600.
CORE_ML_2 = [name for name in SPEC_LAYER_TYPES if NUMBERS[name] < 600 and name != "custom"]


def test_core_ml_2_has_38_layer_types() -> None:
    assert len(CORE_ML_2) == 38


@pytest.mark.parametrize("layer_type", SPEC_LAYER_TYPES)
def test_every_layer_is_lowered_or_says_why_not(layer_type: str) -> None:
    assert (layer_type in LOWERINGS) != (layer_type in NOT_LOWERED)


@pytest.mark.parametrize("layer_type", CORE_ML_2)
def test_every_layer_of_core_ml_2_is_lowered(layer_type: str) -> None:
    assert layer_type in LOWERINGS


def test_the_tables_name_no_unknown_layers() -> None:
    assert set(LOWERINGS) | set(NOT_LOWERED) == set(SPEC_LAYER_TYPES)


def test_reasons_name_the_version_that_added_the_layer() -> None:
    reasons = {NOT_LOWERED.get("gelu"), NOT_LOWERED.get("cumSum")} - {None}
    assert reasons <= {f"added in specification version {version}, not supported yet" for version in (4, 5)}


def test_two_lowerings_for_one_layer_are_refused() -> None:
    module = SimpleNamespace(LOWERINGS={"add": lambda ctx, x: x})
    with pytest.raises(ValueError, match="two lowerings for add"):
        _merge([module, module])  # type: ignore[list-item]


def test_a_signature_tells_the_number_of_inputs() -> None:
    assert Lowering.of(lambda ctx, x, y=None: x).most == 2
    assert Lowering.of(lambda ctx, x, *others: x).most is None
    assert Lowering.of(lambda ctx: None).least == 0


# Every layer without weights of its own shape that maps each [C, H, W] by itself; C, H, W = 4, 2, 6.
EACH_BY_ITSELF: list[tuple[str, dict[str, Any]]] = [
    ("activation", {"PReLU": {"alpha": np.array([0.1, 0.2, 0.3, 0.4])}}),
    ("activation", {"ReLU": {}}),
    ("add", {"alpha": 2}),
    (
        "batchnorm",
        {"channels": 4, "computeMeanVar": True, "instanceNormalization": True}
        | {name: np.array([1.0, 2, 3, 4]) for name in ("gamma", "beta")},
    ),
    ("bias", {"shape": [4, 2, 6], "bias": random(1, (4, 2, 6))}),
    ("clip", {"minVal": -1, "maxVal": 1}),
    ("flatten", {"mode": "CHANNEL_FIRST"}),
    ("flatten", {"mode": "CHANNEL_LAST"}),
    ("gelu", {"mode": "SIGMOID_APPROXIMATION"}),
    ("greaterThan", {"alpha": 0.5}),
    ("innerProduct", {"inputChannels": 48, "outputChannels": 3, "weights": random(1, (3, 48))}),
    ("l2normalize", {}),
    ("lrn", {"localSize": 3, "alpha": 1, "beta": 0.5}),
    ("lrn", {"localSize": 2, "alpha": 1, "beta": 0.5}),
    ("mvn", {"normalizeVariance": True}),
    ("permute", {"axis": [0, 3, 1, 2]}),
    ("reduce", {"axis": "CHW", "mode": "L2"}),
    ("reduce", {"axis": "C", "mode": "ARGMAX"}),
    ("reorganizeData", {"mode": "SPACE_TO_DEPTH", "blockSize": 2}),
    ("reshape", {"targetShape": [8, 3, 2], "mode": "CHANNEL_LAST"}),
    ("scale", {"shapeScale": [4], "scale": random(1, [4])}),
    ("slice", {"axis": "WIDTH_AXIS", "startIndex": 1, "endIndex": -1, "stride": 2}),
    ("softmax", {}),
    ("unary", {"type": "ABS"}),
]


def after_another_layer(x: NDArray[Any], layer_type: str, fields: dict[str, Any]) -> Any:
    """Return a network of rank 5 in which the layer reads what a layer that works on rank 4 views has made."""
    identity = {"channels": 4, "epsilon": 1e-30} | {
        name: np.full(4, value) for name, value in (("gamma", 1.0), ("beta", 0.0), ("mean", 0.0), ("variance", 1.0))
    }
    spec = layer_spec("batchnorm", x, rank5=True, **identity)
    first = spec.neuralNetwork.layers[0]
    first.output[0] = "inner"
    layer = spec.neuralNetwork.layers.add(name=layer_type, input=["inner"], output=["y0"])
    getattr(layer, layer_type).SetInParent()
    fill(getattr(layer, layer_type), fields)
    return spec


@pytest.mark.parametrize(("layer_type", "fields"), EACH_BY_ITSELF)
def test_elements_of_a_sequence_and_of_a_batch_do_not_meet(layer_type: str, fields: dict[str, Any]) -> None:
    x = random(0, (3, 2, 4, 2, 6))
    model = windfall.load(after_another_layer(x[0, 0], layer_type, fields), threads=1)
    alone = windfall.load(layer_spec(layer_type, x[0, 0], rank5=True, **fields), threads=1)
    together = model.predict({"x0": x})["y0"]
    for seq, batch in np.ndindex(3, 2):
        expected = alone.predict({"x0": x[seq, batch]})["y0"]
        np.testing.assert_allclose(together[seq, batch], expected, rtol=1e-4, atol=1e-5)
    # The same program takes another length.
    np.testing.assert_allclose(model.predict({"x0": x[:2]})["y0"], together[:2], rtol=1e-5, atol=1e-6)


def test_a_chain_of_layers_stays_in_rank_4_views() -> None:
    x = random(0, (3, 2, 4, 2, 6))
    spec = after_another_layer(x[0, 0], "softmax", {})
    layers = spec.neuralNetwork.layers
    layers[-1].output[0] = "soft"
    joined: list[tuple[str, list[str], str, dict[str, Any]]] = [
        ("add", ["inner", "soft"], "sum", {}),
        ("concat", ["sum", "soft"], "both", {}),
        ("reduce", ["both"], "y0", {"axis": "HW"}),
    ]
    for kind, inputs, output, fields in joined:
        layer = layers.add(name=kind, input=inputs, output=[output])
        getattr(layer, kind).SetInParent()
        fill(getattr(layer, kind), fields)
    model = windfall.load(spec, threads=1)
    soft = np.exp(x) / np.exp(x).sum(axis=2, keepdims=True)
    expected = np.concatenate([x + soft, soft], axis=2).sum(axis=(3, 4), keepdims=True)
    np.testing.assert_allclose(model.predict({"x0": x})["y0"], expected, rtol=1e-4, atol=1e-4)
    for lead in ((1, 1), ("Seq", "Batch")):
        lowered = lower_network(from_spec(spec), {"x0": (*lead, 4, 2, 6)})
        optimize(lowered)
        nodes = [node.op_type for node in lowered.graph]
        # One to rank 4, one back to rank 5.
        assert nodes.count("Reshape") == 2
