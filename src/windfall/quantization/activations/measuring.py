"""Run a graph on samples: the ranges of its values, and what each layer would lose in 8 bits."""

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from windfall.graph.stored import StoredTensor
from windfall.passes.emitting import Emitter
from windfall.quantization.activations.layers import Layer, layers, origin
from windfall.quantization.activations.ranges import Range, best_range
from windfall.quantization.activations.rewriting import given_range, points, weight_scales, whole_weights
from windfall.runtime.engine import EngineOptions
from windfall.runtime.onnxruntime import OnnxRuntime
from windfall.runtime.serialize import serialize

Feeds = Mapping[str, NDArray[Any]]
_MOST_NUMBERS = 2**18
"""How many numbers of a value are looked at, of all samples together, besides the smallest and the largest."""
_LEAST, _MOST_OF_SAMPLE = 256, 2**14


def measured_ranges(model: ir.Model, samples: Sequence[Feeds]) -> dict[str, Range]:
    """Return the ranges of all values that layers may have quantized, by their names.

    Args:
        model: The graph, which is given further outputs.
        samples: Its inputs, for each sample.
    """
    found = [*layers(model.graph)]
    values = dict.fromkeys(origin(value) for layer in found for value in points(layer))
    count = min(max(_MOST_NUMBERS // len(samples), _LEAST), _MOST_OF_SAMPLE)
    measured = [value for value in values if _add_statistics(model, value, count)]
    lows, highs = np.full(len(measured), np.inf), np.full(len(measured), -np.inf)
    numbers: list[list[NDArray[np.float32]]] = [[] for _ in measured]
    for results in _run(model, samples):
        lows = np.minimum(lows, [float(each) for each in results[0::3]])
        highs = np.maximum(highs, [float(each) for each in results[1::3]])
        for some, more in zip(numbers, results[2::3], strict=True):
            some.append(more)
    return {
        str(value.name): best_range(np.concatenate(some), float(low), float(high))
        for value, some, low, high in zip(measured, numbers, lows, highs, strict=True)
        if math.isfinite(low) and math.isfinite(high)
    }


def noises(model: ir.Model, samples: Sequence[Feeds], ranges: Mapping[str, Range], largest: int) -> dict[str, float]:
    """Return what 8 bits alone change in each layer's output: its error's share of the output's power.

    Each layer has a twin that is given the same input, rounded, and has rounded weights.

    Args:
        model: The graph, which is given further nodes and outputs.
        samples: Its inputs, for each sample.
        ranges: The ranges of values, by their names.
        largest: The largest of the whole numbers that weights become.
    """
    names = [layer.name for layer in [*layers(model.graph)] if _add_twin(model, layer, ranges, largest)]
    errors, powers = np.zeros(len(names)), np.zeros(len(names))
    for results in _run(model, samples):
        errors += [float(each) for each in results[0::2]]
        powers += [float(each) for each in results[1::2]]
    shares = np.divide(errors, powers, out=np.zeros_like(errors), where=powers > 0)
    return dict(zip(names, shares.tolist(), strict=True))


def _run(model: ir.Model, samples: Sequence[Feeds]) -> Iterator[list[NDArray[Any]]]:
    """Yield the further outputs for each sample; always of ONNX Runtime, so that the same samples give the same."""
    program = OnnxRuntime().compile(serialize(model), EngineOptions(compute_units="cpu_only"))
    further = model.meta.get(_FURTHER, 0)
    return (program.run(feeds)[-further:] for feeds in samples) if further else iter(())


_FURTHER = "windfall.measuring"


def _add_output(model: ir.Model, value: ir.Value) -> None:
    model.meta[_FURTHER] = model.meta.get(_FURTHER, 0) + 1
    model.graph.outputs.append(value)


def _at_end(model: ir.Model, prefix: str) -> Emitter:
    """Return what adds nodes behind all others: before a last one, which was added for that."""
    last = model.meta.get(_LAST)
    if last is None:
        last = model.meta[_LAST] = ir.Node("", "Constant", [], [ir.AttrFloat32("value_float", 0.0)], name=_LAST)
        last.outputs[0].name = _LAST
        model.graph.append(last)
    return Emitter(model, last, prefix)


_LAST = "measuring:last"


def _add_statistics(model: ir.Model, value: ir.Value, count: int) -> bool:
    """Add the smallest and the largest number of a value, and about ``count`` others, as outputs."""
    sizes = None if value.shape is None else value.shape.numpy() if value.shape.is_static() else None
    if value.dtype != ir.DataType.FLOAT or sizes is None or 0 in sizes:
        return False
    emitter = _at_end(model, str(value.name))
    size = math.prod(sizes)
    step = max(1, -(-size // count))
    while math.gcd(step, size) > 1:  # else it would meet some columns alone
        step += 1
    _add_output(model, emitter.op("ReduceMin", value, dims=[], keepdims=0))
    _add_output(model, emitter.op("ReduceMax", value, dims=[], keepdims=0))
    flat = emitter.op("Reshape", value, emitter.constant(np.array([-1])), dims=[size])
    ends = [emitter.constant(np.array([number])) for number in (0, size, 0, step)]
    _add_output(model, emitter.op("Slice", flat, *ends, dims=[-(-size // step)]))
    return True


def _add_twin(model: ir.Model, layer: Layer, ranges: Mapping[str, Range], largest: int) -> bool:
    """Add a layer as it is in 8 bits beside it; its error and the layer's power, summed, become outputs."""
    given = given_range(layer.x)
    steps = given or ranges.get(str(origin(layer.x).name))
    if steps is None:
        return False
    emitter = _at_end(model, layer.name)
    x, result = layer.x, layer.node.outputs[0]
    if given is None:
        constants = emitter.constant(np.float32(steps.scale)), emitter.constant(np.uint8(steps.zero))
        whole = emitter.op("QuantizeLinear", x, *constants, dtype=ir.DataType.UINT8, dims=x.shape)
        x = emitter.op("DequantizeLinear", whole, *constants, dims=x.shape)
    weight = emitter.stored(_rounded(layer, largest), "weight")
    twin = emitter.op(layer.node.op_type, x, weight, layer.bias, dims=result.shape, name=f"{layer.name}.twin")
    node = twin.producer()
    assert node is not None, twin
    node.attributes.update(layer.node.attributes)
    if layer.bias is None:
        node.resize_inputs(2)
    error = emitter.op("Sub", result, twin, dims=result.shape)
    for value in (error, result):
        _add_output(model, emitter.op("ReduceSumSquare", value, dims=[], keepdims=0))
    return True


def _rounded(layer: Layer, largest: int) -> StoredTensor:
    tensor = layer.weight.const_value
    assert tensor is not None, layer

    def load() -> NDArray[np.float32]:
        weights = tensor.numpy()
        scales = weight_scales(weights, layer.axis, largest)
        sizes = [-1 if index == layer.axis else 1 for index in range(weights.ndim)]
        return whole_weights(weights, scales, layer.axis, largest) * scales.reshape(sizes)

    return StoredTensor(load, tensor.shape.numpy(), "weight")
