"""Neural networks, damaged: their bytes, single fields of their message, and single layers of every type."""

import random
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from tests.mutations.harness import Group, Mutation
from tests.mutations.messages import fill_at_random, messages, mutate_bytes, mutate_field, mutate_message
from tests.support import fill, layer_spec
from windfall.lowering.neural_network.layers import LOWERINGS
from windfall.spec.proto import Model_pb2

LAYER_TYPES = sorted(LOWERINGS)
BYTES_PER_BASE, FIELDS_PER_BASE, PER_LAYER_TYPE = 120, 140, 30


def _weights(*shape: int) -> np.ndarray[Any, Any]:
    return np.linspace(-1, 1, int(np.prod(shape)), dtype=np.float32)


def _add_layers(network: Any, layers: list[tuple[str, list[str], list[str], dict[str, Any]]]) -> None:
    for index, (kind, inputs, outputs, fields) in enumerate(layers):
        layer = network.layers.add(name=f"{kind}_{index}", input=inputs, output=outputs)
        getattr(layer, kind).SetInParent()
        fill(getattr(layer, kind), fields)


def classifier() -> Any:
    """A picture through convolution, pooling and a dense layer to labels."""
    spec = Model_pb2.Model(specificationVersion=1)
    fill(spec.description.input.add(name="image"), {"type": {"imageType": {"width": 8, "height": 8, "colorSpace": 20}}})
    fill(spec.description.output.add(name="scores"), {"type": {"dictionaryType": {"stringKeyType": {}}}})
    fill(spec.description.output.add(name="label"), {"type": {"stringType": {}}})
    spec.description.predictedFeatureName = "label"
    spec.description.predictedProbabilitiesName = "scores"
    network = spec.neuralNetworkClassifier
    fill(network.preprocessing.add(), {"scaler": {"channelScale": 0.01, "redBias": -0.5}})
    conv = {
        "outputChannels": 4, "kernelChannels": 3, "kernelSize": [3, 3], "stride": [1, 1], "dilationFactor": [1, 1],
        "nGroups": 1, "same": {}, "hasBias": True, "weights": {"floatValue": _weights(4, 3, 3, 3)},
        "bias": {"floatValue": _weights(4)},
    }  # fmt: skip
    pooling = {"type": "MAX", "kernelSize": [2, 2], "stride": [2, 2], "valid": {}}
    dense = {
        "inputChannels": 64, "outputChannels": 3, "hasBias": True, "weights": {"floatValue": _weights(3, 64)},
        "bias": {"floatValue": _weights(3)},
    }  # fmt: skip
    _add_layers(
        network,
        [
            ("convolution", ["image"], ["c"], conv),
            ("activation", ["c"], ["r"], {"ReLU": {}}),
            ("pooling", ["r"], ["p"], pooling),
            ("flatten", ["p"], ["f"], {}),
            ("innerProduct", ["f"], ["d"], dense),
            ("softmax", ["d"], ["s"], {}),
        ],
    )
    network.stringClassLabels.vector.extend(["a", "b", "c"])
    return spec


def picture_to_picture() -> Any:
    """A picture through quantized weights, padding, enlarging and a crop to a picture."""
    spec = Model_pb2.Model(specificationVersion=3)
    size = {"width": 8, "height": 8, "colorSpace": "RGB"}
    fill(spec.description.input.add(name="image"), {"type": {"imageType": size}})
    fill(spec.description.output.add(name="stylized"), {"type": {"imageType": size}})
    quantization = {"numberOfBits": 4, "linearQuantization": {"scale": [0.1], "bias": [-0.7]}}
    conv = {
        "outputChannels": 3, "kernelChannels": 3, "kernelSize": [3, 3], "stride": [1, 1], "valid": {},
        "weights": {"rawValue": bytes(range(41)), "quantization": quantization},
    }  # fmt: skip
    edges = {"paddingAmounts": {"borderAmounts": [{"startEdgeSize": 1, "endEdgeSize": 1}] * 2}, "reflection": {}}
    crop = {"cropAmounts": {"borderAmounts": [{"startEdgeSize": 4, "endEdgeSize": 4}] * 2}}
    _add_layers(
        spec.neuralNetwork,
        [
            ("padding", ["image"], ["p"], edges),
            ("convolution", ["p"], ["c"], conv),
            ("batchnorm", ["c"], ["b"], {"channels": 3, "instanceNormalization": True, "computeMeanVar": True,
                                         "gamma": {"floatValue": _weights(3)}, "beta": {"floatValue": _weights(3)}}),
            ("upsample", ["b"], ["u"], {"scalingFactor": [2, 2], "mode": "NN"}),
            ("crop", ["u"], ["stylized"], crop),
        ],
    )  # fmt: skip
    return spec


def sequence() -> Any:
    """An LSTM with its states as optional inputs."""
    spec = Model_pb2.Model(specificationVersion=1)
    for name, size in (("x", 2), ("h", 3), ("c", 3)):
        feature = spec.description.input.add(name=name)
        feature.type.isOptional = name != "x"
        fill(feature.type.multiArrayType, {"shape": [size], "dataType": "FLOAT32"})
    for name in ("y", "h_out", "c_out"):
        fill(spec.description.output.add(name=name), {"type": {"multiArrayType": {"shape": [3], "dataType": "DOUBLE"}}})
    gates = ("inputGate", "forgetGate", "blockInput", "outputGate")
    weights = {f"{gate}WeightMatrix": {"floatValue": _weights(3, 2)} for gate in gates}
    weights |= {f"{gate}RecursionMatrix": {"floatValue": _weights(3, 3)} for gate in gates}
    activations = [{"sigmoid": {}}, {"tanh": {}}, {"tanh": {}}]
    params = {"sequenceOutput": True, "forgetBias": True}
    fields = {
        "inputVectorSize": 2, "outputVectorSize": 3, "activations": activations, "params": params,
        "weightParams": weights,
    }  # fmt: skip
    lstm = ("uniDirectionalLSTM", ["x", "h", "c"], ["y", "h_out", "c_out"], fields)
    _add_layers(spec.neuralNetwork, [lstm])
    return spec


def planes() -> Any:
    """Layers without weights, or with few, on a tensor of an exact shape."""
    spec = Model_pb2.Model(specificationVersion=4)
    spec.neuralNetwork.arrayInputShapeMapping = 1
    fill(
        spec.description.input.add(name="x"), {"type": {"multiArrayType": {"shape": [2, 3, 4], "dataType": "FLOAT32"}}}
    )
    fill(spec.description.output.add(name="y"), {"type": {"multiArrayType": {"dataType": "FLOAT32"}}})
    scale = {"shapeScale": [2, 3, 4], "scale": {"floatValue": _weights(24)}, "hasBias": True, "shapeBias": [1],
             "bias": {"floatValue": _weights(1)}}  # fmt: skip
    _add_layers(
        spec.neuralNetwork,
        [
            ("scale", ["x"], ["a"], scale),
            ("split", ["a"], ["b", "c"], {"nOutputs": 2}),
            ("unary", ["b"], ["d"], {"type": "EXP", "scale": 1, "shift": 0.5}),
            ("concat", ["d", "c"], ["e"], {}),
            ("slice", ["e"], ["f"], {"startIndex": 1, "endIndex": -1, "stride": 1, "axis": "WIDTH_AXIS"}),
            ("mvn", ["f"], ["g"], {"acrossChannels": True, "normalizeVariance": True, "epsilon": 1e-3}),
            ("reduce", ["e"], ["h"], {"mode": "SUM", "axis": "W"}),
            ("add", ["g", "h"], ["i"], {}),
            ("lrn", ["i"], ["j"], {"alpha": 1, "beta": 0.5, "localSize": 3, "k": 1}),
            ("l2normalize", ["x"], ["k"], {"epsilon": 1e-3}),
            ("max", ["k", "e"], ["l"], {}),
            ("reshapeStatic", ["j"], ["m"], {"targetShape": [4, 3]}),
            ("softmaxND", ["m"], ["y"], {"axis": -1}),
        ],
    )
    return spec


def program() -> Any:
    """A while loop with a branch and a break in it."""
    spec = Model_pb2.Model(specificationVersion=4)
    spec.neuralNetwork.arrayInputShapeMapping = 1
    for name in ("x", "n"):
        fill(spec.description.input.add(name=name), {"type": {"multiArrayType": {"shape": [1], "dataType": "FLOAT32"}}})
    fill(spec.description.output.add(name="x"), {"type": {"multiArrayType": {"dataType": "FLOAT32"}}})
    _add_layers(spec.neuralNetwork, [("loop", [], [], {"conditionVar": "c", "maxLoopIterations": 9})])
    loop = spec.neuralNetwork.layers[0].loop
    _add_layers(loop.conditionNetwork, [("lessThan", ["x"], ["c"], {"alpha": 9})])
    add = {"linear": {"alpha": 1, "beta": 1}}
    _add_layers(
        loop.bodyNetwork,
        [
            ("activation", ["x"], ["y"], add),
            ("branch", ["n"], [], {}),
            ("copy", ["z"], ["x"], {}),
            ("greaterThan", ["x"], ["large"], {"alpha": 5}),
            ("branch", ["large"], [], {}),
            ("activation", ["z"], ["w"], add),
            ("copy", ["w"], ["x"], {}),
        ],
    )
    _add_layers(loop.bodyNetwork.layers[1].branch.ifBranch, [("copy", ["y"], ["z"], {})])
    _add_layers(loop.bodyNetwork.layers[1].branch.elseBranch, [("activation", ["y"], ["z"], add)])
    _add_layers(loop.bodyNetwork.layers[4].branch.ifBranch, [("loopBreak", [], [], {})])
    return spec


BASES: tuple[Callable[[], Any], ...] = (classifier, picture_to_picture, sequence, planes, program)


def random_layer(index: int, rng: random.Random, _folder: Path) -> Mutation:
    """Return a model of one layer with random parameters and inputs, most of them small."""
    layer_type = LAYER_TYPES[index % len(LAYER_TYPES)]
    rank5 = rng.random() < 0.5
    rank = rng.choice((1, 3, 3)) if rank5 else rng.choice((1, 2, 3, 3, 4, 5))
    shapes = [[rng.choice((1, 2, 3, 4)) for _ in range(rank)] for _ in range(rng.choice((1, 1, 1, 2, 2, 3, 5)))]
    if rng.random() < 0.5:
        shapes = [shapes[0]] * len(shapes)
    inputs = [np.zeros(shape, np.float32) for shape in shapes]
    spec = layer_spec(layer_type, *inputs, outputs=rng.choice((1, 1, 1, 2, 3, 5)), rank5=rank5)
    params = getattr(spec.neuralNetwork.layers[0], layer_type)
    if rng.random() < 0.7:
        fill_at_random(params, rng)
    for _ in range(rng.choice((0, 0, 1, 2))):
        found = list(messages(params))
        if found:
            mutate_field(rng.choice(found), rng, ["x0", "y0"])
    return Mutation(spec)


def damaged_bytes(base: Callable[[], Any], _index: int, rng: random.Random, folder: Path) -> Mutation:
    """Return a model's file with some bytes changed."""
    path = folder / "mutated.mlmodel"
    path.write_bytes(mutate_bytes(base().SerializeToString(deterministic=True), rng))
    return Mutation(path)


def damaged_fields(base: Callable[[], Any], _index: int, rng: random.Random, _folder: Path) -> Mutation:
    """Return a model with one to three fields at any depth changed."""
    spec = base()
    layers = getattr(spec, spec.WhichOneof("Type")).layers
    mutate_message(spec, rng, [text for layer in layers for text in (*layer.input, *layer.output)])
    return Mutation(spec)


GROUPS: Mapping[str, Group] = {
    **{f"{base.__name__}-bytes": Group(BYTES_PER_BASE, partial(damaged_bytes, base)) for base in BASES},
    **{f"{base.__name__}-fields": Group(FIELDS_PER_BASE, partial(damaged_fields, base)) for base in BASES},
    "layers": Group(PER_LAYER_TYPE * len(LAYER_TYPES), random_layer),
}
