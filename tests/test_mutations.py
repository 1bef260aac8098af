"""Damaged models give a result or a WindfallError: no crash, no hang, no gigabytes.

Small models are mutated at random in three ways: their bytes, single fields of their message, and single layers of
every type that is lowered, with random parameters. A process of its own with limited memory runs each group, so that
a crash is seen as one. To run some again: ``python -m tests.test_mutations GROUP FIRST LAST``.
"""

import json
import os
import random
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import windfall
from tests.support import fill, layer_spec
from windfall.lowering.neural_network import control_flow
from windfall.lowering.neural_network.layers import LOWERINGS
from windfall.spec.proto import Model_pb2

ROOT = Path(__file__).parents[1]
LAYER_TYPES = sorted(LOWERINGS)
BYTES_PER_BASE, FIELDS_PER_BASE, PER_LAYER_TYPE = 120, 140, 30
# Of the process's own time; loading, compiling and running a small model takes 0.02 s.
MOST_SECONDS = 1.0
# What a mutation may add to the process's peak.
MOST_MEMORY = 512 * 2**20
# A model that validly asks for more is compiled, but not run.
LARGEST_RUN = 64 * 2**20

EXTREMES = (
    0,
    1,
    2,
    3,
    7,
    255,
    2**16,
    2**31 - 1,
    2**31,
    2**32,
    2**63 - 1,
    2**63,
    2**64 - 1,
    -1,
    -2,
    -5,
    -(2**31),
    -(2**63),
)
FLOATS = (0.0, 1.0, -1.0, 0.5, 1e38, -1e38, 1e-45, float("inf"), float("-inf"), float("nan"))
SMALL = (0, 1, 1, 1, 2, 2, 3, 4, -1, -2)


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


def mutate_bytes(data: bytes, rng: random.Random) -> bytes:
    """Flip, delete, insert, repeat or cut off some bytes."""
    out = bytearray(data)
    for _ in range(rng.choice((1, 1, 2, 5))):
        at = rng.randrange(len(out)) if out else 0
        length = rng.choice((1, 1, 4, 16))
        kind = rng.randrange(6)
        if kind == 0 and out:
            out[at] ^= 1 << rng.randrange(8)
        elif kind == 1 and out:
            out[at] = rng.randrange(256)
        elif kind == 2:
            del out[at : at + length]
        elif kind == 3:
            out[at:at] = rng.randbytes(length)
        elif kind == 4:
            out[at:at] = out[at : at + 64]
        elif rng.random() < 0.3:
            del out[at:]
    return bytes(out)


def _messages(message: Any) -> Iterator[Any]:
    if message.DESCRIPTOR.fields:
        yield message
    for field, value in message.ListFields():
        if field.message_type is None or field.message_type.GetOptions().map_entry:
            continue
        for child in value if field.is_repeated else [value]:
            yield from _messages(child)


def mutate_field(message: Any, rng: random.Random, strings: list[str], numbers: tuple[int, ...] = EXTREMES) -> None:
    """Set a random field of a message to an extreme value, of the right type."""
    field = rng.choice(message.DESCRIPTOR.fields)
    if field.message_type is not None:
        _mutate_children(message, field, rng)
        return
    values = _values(field, rng, strings, numbers)
    if not field.is_repeated:
        setattr(message, field.name, values(getattr(message, field.name)))
        return
    items = getattr(message, field.name)
    kind = rng.randrange(4)
    if kind == 0 and len(items):
        items[rng.randrange(len(items))] = values(items[0])
    elif kind == 1 and len(items):
        del items[rng.randrange(len(items))]
    elif kind == 2:
        items.append(values(items[0] if len(items) else _zero(field)))
    else:
        del items[:]


def _mutate_children(message: Any, field: Any, rng: random.Random) -> None:
    if field.message_type.GetOptions().map_entry or rng.random() < 0.3:
        message.ClearField(field.name)
    elif field.is_repeated:
        children = getattr(message, field.name)
        if len(children) and rng.random() < 0.7:
            children.append(rng.choice(children))
        else:
            children.add()
    else:
        getattr(message, field.name).SetInParent()


def _zero(field: Any) -> Any:
    kinds = {field.CPPTYPE_STRING: b"" if field.type == field.TYPE_BYTES else "", field.CPPTYPE_BOOL: False}
    return kinds.get(field.cpp_type, 0)


def _values(field: Any, rng: random.Random, strings: list[str], numbers: tuple[int, ...]) -> Callable[[Any], Any]:
    """Return a function from a field's old value to a new one."""
    if field.type == field.TYPE_BYTES:
        return lambda old: rng.choice((b"", old[:-1], old + b"\xff", bytes(5000), b"\x80" * 10))
    if field.cpp_type == field.CPPTYPE_STRING:
        return lambda old: rng.choice(("", "\n", "a" * 5000, "é\0", *strings))
    if field.cpp_type == field.CPPTYPE_BOOL:
        return lambda old: not old
    if field.cpp_type in (field.CPPTYPE_FLOAT, field.CPPTYPE_DOUBLE):
        return lambda old: rng.choice((*FLOATS, old * 2))
    if field.cpp_type == field.CPPTYPE_ENUM:
        return lambda old: rng.choice((*(value.number for value in field.enum_type.values), 99))
    bits = 64 if field.cpp_type in (field.CPPTYPE_INT64, field.CPPTYPE_UINT64) else 32
    unsigned = field.cpp_type in (field.CPPTYPE_UINT64, field.CPPTYPE_UINT32)
    low, high = (0, 2**bits - 1) if unsigned else (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1)
    allowed = [number for number in numbers if low <= number <= high]
    return lambda old: rng.choice((*allowed, max(low, min(high, old + 1)), max(low, min(high, old - 1))))


def mutated_fields(spec: Any, rng: random.Random) -> Any:
    """Return a model with one to three fields at any depth changed."""
    strings = [
        text for layer in getattr(spec, spec.WhichOneof("Type")).layers for text in (*layer.input, *layer.output)
    ]
    for _ in range(rng.choice((1, 1, 2, 3))):
        mutate_field(rng.choice(list(_messages(spec))), rng, strings)
    return spec


def fill_at_random(message: Any, rng: random.Random, depth: int = 0) -> None:
    """Set about half of a message's fields to small values; a weight gets some of the lengths that are often right."""
    if message.DESCRIPTOR.name == "WeightParams":
        message.floatValue.extend([0.5] * rng.choice((1, 2, 3, 4, 6, 8, 9, 12, 16, 18, 24, 36)))
        return
    for field in message.DESCRIPTOR.fields:
        is_map = field.message_type is not None and field.message_type.GetOptions().map_entry
        if is_map or rng.random() < 0.4 or (field.message_type is not None and depth > 3):
            continue
        if field.message_type is None:
            values = _values(field, rng, ["x0", "y0"], SMALL)
            if field.is_repeated:
                getattr(message, field.name).extend(values(_zero(field)) for _ in range(rng.choice((1, 2, 2, 3, 4))))
            else:
                setattr(message, field.name, values(_zero(field)))
        elif field.is_repeated:
            for _ in range(rng.choice((1, 2, 2, 3))):
                fill_at_random(getattr(message, field.name).add(), rng, depth + 1)
        else:
            getattr(message, field.name).SetInParent()
            fill_at_random(getattr(message, field.name), rng, depth + 1)


def random_layer(index: int, rng: random.Random) -> Any:
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
        messages = list(_messages(params))
        if messages:
            mutate_field(rng.choice(messages), rng, ["x0", "y0"])
    return spec


def run(source: Any) -> str:
    """Load, describe and run a model on black pictures and zeros; says how it went."""
    try:
        model = windfall.load(source, threads=1)
        str(model.description)
        graph = model.compiled.graph.graph
        sizes = [
            np.prod([dim if isinstance(dim, int) else 1 for dim in value.shape], dtype=object)
            for node in graph for value in node.outputs if value.shape is not None
        ]  # fmt: skip
        if sum(sizes) * 4 > LARGEST_RUN:
            return "large"
        inputs = {
            value.name: Image.new({1: "L", 3: "RGB"}[value.shape[3]], (value.shape[2], value.shape[1]))
            if value.dtype.itemsize < 4
            else np.zeros([int(dim) for dim in value.shape], np.float32)
            for value in graph.inputs
        }
        model.predict(inputs)
    except windfall.WindfallError as error:
        message = str(error)
        assert message, "an error without a message"
        assert "\n" not in message, message
        return type(error).__name__
    return "result"


GROUPS = [f"{base.__name__}-{kind}" for base in BASES for kind in ("bytes", "fields")] + ["layers"]


def count_of(group: str) -> int:
    """Return how many mutations a group has."""
    if group == "layers":
        return PER_LAYER_TYPE * len(LAYER_TYPES)
    return BYTES_PER_BASE if group.endswith("bytes") else FIELDS_PER_BASE


def mutation(group: str, index: int, folder: Path) -> Any:
    """Return one mutated model: a message, or the path of a file."""
    rng = random.Random(f"{group} {index}")
    if group == "layers":
        return random_layer(index, rng)
    name, kind = group.split("-")
    spec = next(base for base in BASES if base.__name__ == name)()
    if kind == "fields":
        return mutated_fields(spec, rng)
    path = folder / "mutated.mlmodel"
    path.write_bytes(mutate_bytes(spec.SerializeToString(), rng))
    return path


def peak_memory() -> int:
    """Return the most memory that this process has had, in bytes; 0 where the system does not say."""
    try:
        import resource
    except ImportError:
        return 0
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def limit_memory() -> None:
    """Let the process have 6 GiB of addresses, where the system can limit that."""
    if sys.platform == "linux":
        import resource

        resource.setrlimit(resource.RLIMIT_AS, (6 * 2**30, 6 * 2**30))


def work(group: str, first: int, last: int) -> None:
    """Run some mutations of a group; prints a line of JSON for each, the index first."""
    limit_memory()
    # A loop that reaches the real limit takes longer than MOST_SECONDS.
    control_flow.MOST_ITERATIONS = 1000
    run(next(iter(BASES))())
    with tempfile.TemporaryDirectory() as folder:
        for index in range(first, last):
            sys.stdout.write(f"[{index}, ")
            sys.stdout.flush()
            source = mutation(group, index, Path(folder))
            began, memory = time.process_time(), peak_memory()
            try:
                outcome = run(source)
            except BaseException as error:  # noqa: BLE001  # whatever it is, the test shows it
                outcome = f"LEAK {type(error).__name__}: {error}"
            seconds, memory = time.process_time() - began, peak_memory() - memory
            sys.stdout.write(f"{json.dumps(outcome)}, {seconds:.3f}, {memory}]\n")


@pytest.mark.parametrize("group", GROUPS)
def test_mutated_models_give_a_result_or_a_windfall_error(group):
    count = count_of(group)
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join([str(ROOT), *sys.path])}
    command = [sys.executable, "-W", "error", "-m", "tests.test_mutations", group, "0", str(count)]
    done = subprocess.run(  # noqa: S603  # this very file
        command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=300, check=False
    )
    lines = done.stdout.splitlines()
    assert done.returncode == 0, f"{lines[-1:]} ended the process ({done.returncode}): {done.stderr[-1000:]}"
    results = [json.loads(line) for line in lines]
    assert len(results) == count
    bad = [
        result
        for result in results
        if result[1].startswith("LEAK") or result[2] > MOST_SECONDS or result[3] > MOST_MEMORY
    ]
    assert not bad
    outcomes = Counter(result[1] for result in results)
    assert outcomes["result"] > 0, outcomes
    assert len(outcomes) > 1, outcomes


if __name__ == "__main__":
    work(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
