"""Keep the whole numbers that weights are stored as, where they meet whole numbers."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray
from onnx_ir.passes import InPlacePass, PassResult

from windfall.graph.compressed import Compressed, Floats, compressed_of, is_compressed, linear_form
from windfall.passes.compressed_convolutions import add_behind
from windfall.passes.emitting import Emitter
from windfall.passes.nodes import array_of, layer_of
from windfall.passes.rounded import MOST_CODE, Rounding, Steps, given_steps, round_first, rounding_of
from windfall.passes.run_time_weights import codes
from windfall.passes.unsigned_codes import most_code
from windfall.runtime.processor import WIDE, largest_weight

LARGEST_SUM = 2**31 - 1
"""What a sum of products, with the bias, is at most: it is one of 32 bits."""
LARGEST_PAIR = 2**15 - 1
"""What the sum of two products is at most where it is one of 16 bits."""
LARGEST_SHIFT = 1 / 64
"""How many steps of the result the rounding of a bias may move it."""
_SIGN = 128


class KeepWholeWeights(InPlacePass):
    """Let layers between rounded activations compute with whole numbers, as the model was quantized for.

    Before: codes -> DequantizeLinear -> Conv(W, b) -> [Relu or Clip] -> QuantizeLinear -> codes
    After:  codes -> DequantizeLinear -> Conv(w, c) -> QuantizeLinear -> [Clip] -> codes
            int8 W -> DequantizeLinear -> w;  int32 b -> DequantizeLinear -> c
    Before: codes -> DequantizeLinear -> Gemm(W, b) or MatMul(W) -> y        where it is not rounded
    After:  codes -> DequantizeLinear -> Gemm(w) -> Add(b) -> y
            int8 W -> DequantizeLinear -> w
    Before: two times codes -> DequantizeLinear, their Add -> [Relu or Clip] -> QuantizeLinear -> codes
    After:  two times codes -> DequantizeLinear, their Add -> QuantizeLinear -> [Clip] -> codes

    W is a ``CompressedTensor`` with one scale, or one for each output channel, and the same zero point for all.
    ONNX Runtime multiplies the codes, and adds the products in 32 bits, which is exact. A result is that of the graph
    before, or the code beside it where the number lies so near to the middle between two that the rounding of float32,
    or that of the bias of a convolution to whole products of the two scales, decides: at most ``LARGEST_SHIFT`` of a
    step. A layer whose bias would move further stays as it is, as does one whose sums may exceed 32 bits.
    """

    def call(self, model: ir.Model) -> PassResult:
        """See ``onnx_ir.passes.PassBase.call``."""
        modified = False
        for node in list(model.graph):
            keep = None if node.domain else _RULES.get(node.op_type)
            modified |= keep is not None and keep(model, node)
        return PassResult(model, modified)


@dataclass(frozen=True)
class _Whole:
    """A weight as layers of whole numbers take it.

    Attributes:
        weight: The weight.
        scale: One for all, or one for each channel along ``axis``.
        zero: The code of 0.
        axis: The axis of the output's channels.
    """

    weight: Compressed
    scale: Floats
    zero: int
    axis: int

    @property
    def largest(self) -> int:
        """How far a sum of products may be from 0."""
        low = -(2 ** (self.weight.bits - 1)) if self.weight.signed else 0
        distance: int = max(self.zero - low, low + 2**self.weight.bits - 1 - self.zero)
        count: int = self.weight.size // self.weight.dims[self.axis]
        return count * MOST_CODE * distance


def _whole(node: ir.Node, axis: int) -> _Whole | None:
    """Return a node's weight; None if there is no kernel for such a one."""
    weight = _compressed(node.inputs[1])
    if weight is None or weight.table is not None or not weight.size or not weight.is_finite:
        return None
    form = linear_form(weight)
    along = [weight.dims[axis] if index == axis else 1 for index in range(len(weight.dims))]
    of_channels = form.scale.size == 1 or list(form.scale.shape) == along
    if not of_channels or form.rest is not None or np.ptp(form.zero) or not np.all(form.scale > 0):
        return None
    found = _Whole(weight, form.scale.reshape(-1), int(form.zero.flat[0]), axis)
    return found if found.largest <= LARGEST_SUM else None


def _compressed(value: ir.Value | None) -> Compressed | None:
    """Return a weight, transposed where a node does that; None if it is not stored as codes."""
    if value is not None and is_compressed(value):
        return compressed_of(value)
    node = None if value is None else value.producer()
    if node is None or node.op_type != "Transpose" or node.inputs[0] is None or not is_compressed(node.inputs[0]):
        return None
    weight = compressed_of(node.inputs[0])
    return weight.transposed(node.attributes.get_ints("perm", ()) or list(reversed(range(len(weight.dims)))))


def _dequantized(emit: Emitter, whole: _Whole, *, as_unsigned: bool) -> ir.Value:
    weight = whole.weight
    if not as_unsigned:
        return _by_scale(emit, codes(emit, weight, weight.dims), whole.scale, whole.zero, whole.axis)
    # The engine turns the first bit of each once, when it compiles the graph: -128 to 127 become 0 to 255.
    raw = replace(weight, codes=lambda: weight.codes().view(np.uint8), signed=False)
    sign = emit.constant(np.uint8(_SIGN), "sign")
    moved = emit.op("BitwiseXor", codes(emit, raw, weight.dims), sign, dtype=ir.DataType.UINT8, dims=weight.dims)
    return _by_scale(emit, moved, whole.scale, whole.zero + _SIGN, whole.axis)


def _is_exact(node: ir.Node, whole: _Whole) -> bool:
    """Whether kernels for uint8 times the weight's type add products without cutting anything off.

    Without dot products of 8 bits, those for int8 add two of them in 16 bits; those for uint8 do not.
    """
    weight = whole.weight
    if largest_weight() == WIDE or not weight.signed:
        return True
    farthest: int = 2 ** (weight.bits - 1)
    return 2 * most_code(node.inputs[0]) * farthest <= LARGEST_PAIR


def _has_a_channel_each(conv: ir.Node, whole: _Whole) -> bool:
    """Whether each output channel of a convolution depends on an input channel of its own; then no pairs are added."""
    channels, inputs = whole.weight.dims[:2]
    return inputs == 1 and conv.attributes.get_int("group", 1) == channels


def _by_scale(emit: Emitter, stored: ir.Value, scale: Floats, zero: int, axis: int) -> ir.Value:
    assert stored.dtype is not None, stored
    scale = scale.reshape(()) if scale.size == 1 else scale
    zeros = np.full(scale.shape, zero, stored.dtype.numpy())
    constants = emit.constant(scale.astype(np.float32), "scale"), emit.constant(zeros, "zero")
    along = axis if scale.ndim else None
    return emit.op("DequantizeLinear", stored, *constants, dims=stored.shape, axis=along)


def _keep_in_convolution(model: ir.Model, conv: ir.Node) -> bool:
    given, rounding, whole = given_steps(conv.inputs[0]), rounding_of(conv.outputs[0]), _whole(conv, 0)
    if given is None or rounding is None or whole is None:
        return False
    has_bias = len(conv.inputs) > 2 and conv.inputs[2] is not None
    bias = _whole_bias(array_of(conv, 2), given, whole, rounding) if has_bias else None
    if has_bias and bias is None:
        return False
    emit = Emitter(model, conv, layer_of(conv))
    is_exact = _is_exact(conv, whole) or _has_a_channel_each(conv, whole)
    conv.replace_input_with(1, _dequantized(emit, whole, as_unsigned=not is_exact))
    if bias is not None:
        conv.replace_input_with(2, _by_scale(emit, emit.constant(bias, "bias"), given.scale * whole.scale, 0, 0))
    round_first(model, conv.outputs[0], rounding)
    return True


def _whole_bias(bias: NDArray[Any] | None, given: Steps, whole: _Whole, rounding: Rounding) -> NDArray[np.int32] | None:
    """Return a bias in products of the two scales; None if it is not constant, too large, or would move too far."""
    if bias is None:
        return None
    units = (given.scale * whole.scale).astype(np.float64)
    with np.errstate(over="ignore", divide="ignore", invalid="ignore"):
        exact = bias.astype(np.float64) / units
    if not np.all(np.abs(exact) <= LARGEST_SUM - whole.largest):
        return None
    rounded = np.rint(exact)
    if np.any(np.abs(rounded - exact) * units > LARGEST_SHIFT * float(rounding.steps.scale)):
        return None
    result: NDArray[np.int32] = rounded.astype(np.int32)
    return result


def _keep_in_gemm(model: ir.Model, gemm: ir.Node) -> bool:
    attributes = gemm.attributes
    factors = [attributes.get_float(name, 1.0) for name in ("alpha", "beta")]
    axis = 0 if attributes.get_int("transB") else 1
    given, whole = given_steps(gemm.inputs[0]), _whole(gemm, axis)
    if given is None or whole is None or factors != [1.0, 1.0] or attributes.get_int("transA"):
        return False
    bias = gemm.inputs[2] if len(gemm.inputs) > 2 else None
    rounding = rounding_of(gemm.outputs[0])
    whole_bias = None if bias is None or rounding is None else _whole_bias(array_of(gemm, 2), given, whole, rounding)
    _keep_in_product(model, gemm, axis)
    emit = Emitter(model, gemm, layer_of(gemm))
    if whole_bias is not None:
        gemm.replace_input_with(2, _by_scale(emit, emit.constant(whole_bias, "bias"), given.scale * whole.scale, 0, 0))
    elif bias is not None:
        # Behind the product, as the fractions that it has.
        gemm.resize_inputs(2)
        add_behind(emit, gemm, bias)
    if rounding is not None and (bias is None or whole_bias is not None):
        round_first(model, gemm.outputs[0], rounding)
    return True


def _keep_in_matmul(model: ir.Model, product: ir.Node) -> bool:
    weight = product.inputs[1]
    is_matrix = weight is not None and weight.shape is not None and len(weight.shape) == 2
    return is_matrix and _keep_in_product(model, product, 1)


def _keep_in_product(model: ir.Model, node: ir.Node, axis: int) -> bool:
    whole = _whole(node, axis)
    if given_steps(node.inputs[0]) is None or whole is None:
        return False
    emit = Emitter(model, node, layer_of(node))
    node.replace_input_with(1, _dequantized(emit, whole, as_unsigned=not _is_exact(node, whole)))
    return True


def _round_sum(model: ir.Model, node: ir.Node) -> bool:
    """Round the sum of two values that were rounded before what limits it."""
    rounding = rounding_of(node.outputs[0])
    if rounding is None or any(given_steps(value) is None for value in node.inputs):
        return False
    return round_first(model, node.outputs[0], rounding)


_RULES: Mapping[str, Callable[[ir.Model, ir.Node], bool]] = {
    "Add": _round_sum,
    "Conv": _keep_in_convolution,
    "Gemm": _keep_in_gemm,
    "MatMul": _keep_in_matmul,
}
