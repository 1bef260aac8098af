"""Put ``QuantizeLinear`` and ``DequantizeLinear`` around layers."""

from collections.abc import Collection, Iterator, Mapping
from itertools import pairwise

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray
from onnx_ir.passes.common import RemoveUnusedNodesPass

from windfall.passes.emitting import Emitter
from windfall.quantization.activations.layers import Layer, layers, origin
from windfall.quantization.activations.ranges import Range
from windfall.runtime.serialized import QUANTIZED

Floats = NDArray[np.float32]
_LARGEST_BIAS = 2.0**30
"""What a bias in steps may be at most, so that sums of 32 bits do not overflow."""


def given_range(value: ir.Value) -> Range | None:
    """Return the range of a value that the model itself has quantized, None if it has not."""
    node = value.producer()
    if node is None or node.op_type != "DequantizeLinear":
        return None
    constants = [each.const_value.numpy() for each in node.inputs[1:] if each is not None and each.const_value]
    if len(constants) != len(node.inputs) - 1 or any(array.size != 1 for array in constants):
        return None
    return Range(float(constants[0].item()), int(constants[1].item()) if len(constants) > 1 else 0)


def points(layer: Layer) -> Iterator[ir.Value]:
    """Yield the values around a layer that are quantized for it."""
    if given_range(layer.x) is None:
        yield from dict.fromkeys((origin(layer.x), layer.x))
    if layer.needs_output and not _is_rounded(layer.output):
        yield layer.output


def _is_rounded(value: ir.Value) -> bool:
    """Tell whether the model itself quantizes a value wherever it is used."""
    return not value.is_graph_output() and all(node.op_type == "QuantizeLinear" for node in value.consumers())


def quantize(model: ir.Model, ranges: Mapping[str, Range], kept: Collection[str], largest_weight: int) -> int:
    """Rewrite a graph, in place, for 8-bit arithmetic.

    Before: x -> Conv(W, b) -> Relu -> y
    After:  x -> Q -> DQ -> Conv(DQ(int8 W), DQ(int32 b)) -> Relu -> Q -> DQ -> y

    Args:
        model: The graph.
        ranges: What the values around layers become, by their names.
        kept: The names of layers that stay in float32.
        largest_weight: The largest of the whole numbers that weights become.

    Returns:
        How many layers compute in 8 bits.
    """
    found = [*layers(model.graph)]
    chosen = [layer for layer in found if layer.name not in kept and _has_ranges(layer, ranges)]
    floating = {layer.node for layer in found} - {layer.node for layer in chosen}
    # Found before anything changes, as quantized values hide where others come from.
    inputs = {layer: given_range(layer.x) or ranges[_range_name(layer.x)] for layer in chosen}
    wanted = {value: ranges[_range_name(value)] for layer in chosen for value in points(layer)}
    for layer, steps in inputs.items():
        _quantize_weights(model, layer, steps, largest_weight)
    following = dict(pairwise(model.graph))
    for value, steps in wanted.items():
        _quantize_value(model, value, steps, following, floating)
    if chosen:
        _name_all_axes(model)
        model.metadata_props[QUANTIZED] = "1"
        RemoveUnusedNodesPass()(model)
    return len(chosen)


def _name_all_axes(model: ir.Model) -> None:
    """Give each Pad its numbers for all axes.

    ONNX Runtime 1.32 moves transposes through a Pad of 8-bit numbers as if it had no list of axes.
    """
    for node in [node for node in model.graph if node.op_type == "Pad" and len(node.inputs) > 3]:
        x, pads, _, axes = node.inputs
        if x is None or x.shape is None or pads is None or axes is None or not (pads.const_value and axes.const_value):
            continue
        rank = len(x.shape)
        whole = np.zeros((2, rank), np.int64)
        whole[:, axes.const_value.numpy() % rank] = pads.const_value.numpy().reshape(2, -1)
        node.replace_input_with(1, Emitter(model, node, str(node.name)).constant(whole.ravel(), "pads"))
        node.resize_inputs(3 if node.inputs[2] is not None else 2)


def _range_name(value: ir.Value) -> str:
    return str(origin(value).name)


def _has_ranges(layer: Layer, ranges: Mapping[str, Range]) -> bool:
    return all(_range_name(value) in ranges for value in points(layer))


def _quantize_value(
    model: ir.Model,
    value: ir.Value,
    steps: Range,
    following: Mapping[ir.Node, ir.Node],
    floating: Collection[ir.Node],
) -> None:
    """Let the users of a value have what 8 bits hold of it, but for layers in float32 and the graph's outputs."""
    users = [(use.node, use.idx) for use in value.uses() if use.node not in floating]
    if not users:
        return
    producer = value.producer()
    before = model.graph[0] if producer is None else following[producer]
    emitter = Emitter(model, before, str(value.name))
    constants = emitter.constant(np.float32(steps.scale), "scale"), emitter.constant(np.uint8(steps.zero), "zero")
    whole = emitter.op("QuantizeLinear", value, *constants, dtype=ir.DataType.UINT8, dims=value.shape)
    result = emitter.op("DequantizeLinear", whole, *constants, dims=value.shape)
    for node, index in users:
        node.replace_input_with(index, result)


def _quantize_weights(model: ir.Model, layer: Layer, steps: Range, largest: int) -> None:
    emitter = Emitter(model, layer.node, str(layer.node.name))
    weights = _constant(layer.weight)
    bias = None if layer.bias is None else _constant(layer.bias)
    scales = weight_scales(weights, layer.axis, largest)
    if bias is not None:
        # A channel of tiny weights may have a large bias, which is to fit into 32 bits all the same.
        scales = np.maximum(scales, np.abs(bias) / np.float32(steps.scale * _LARGEST_BIAS))
    whole = whole_weights(weights, scales, layer.axis, largest)
    layer.node.replace_input_with(1, _dequantized(emitter, whole, scales, layer.axis))
    if bias is not None:
        products = (scales * np.float32(steps.scale)).astype(np.float32)
        units = np.rint(bias.astype(np.float64) / np.maximum(products, np.finfo(np.float32).tiny))
        whole_bias = np.clip(units, -_LARGEST_BIAS, _LARGEST_BIAS).astype(np.int32)
        layer.node.replace_input_with(2, _dequantized(emitter, whole_bias, products, 0))


def _constant(value: ir.Value) -> Floats:
    assert value.const_value is not None, value
    array: Floats = value.const_value.numpy()
    return array


def weight_scales(weights: Floats, axis: int, largest: int) -> Floats:
    """Return the steps of a weight, one for each index along the axis: [channels]."""
    others = tuple(index for index in range(weights.ndim) if index != axis)
    scales = np.max(np.abs(weights), axis=others).reshape(-1) / np.float32(largest)
    # A channel of zeros has no range of its own.
    scales[scales < np.finfo(np.float32).tiny] = 1.0
    result: Floats = scales.astype(np.float32)
    return result


def whole_weights(weights: Floats, scales: Floats, axis: int, largest: int) -> NDArray[np.int8]:
    """Return a weight in steps."""
    steps = scales.reshape([-1 if index == axis else 1 for index in range(weights.ndim)])
    result: NDArray[np.int8] = np.clip(np.rint(weights / steps), -largest, largest).astype(np.int8)
    return result


def _dequantized(emitter: Emitter, whole: NDArray[np.int8] | NDArray[np.int32], scales: Floats, axis: int) -> ir.Value:
    constants = emitter.constant(scales, "scale"), emitter.constant(np.zeros(np.shape(scales), whole.dtype), "zero")
    stored = emitter.constant(whole, "whole")
    return emitter.op("DequantizeLinear", stored, *constants, dims=whole.shape, axis=axis)
