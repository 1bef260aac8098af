"""Let one transposed convolution do what nearest upsampling and a convolution do."""

import math

import numpy as np
import onnx_ir as ir

from windfall.passes.emitting import Emitter
from windfall.passes.nodes import (
    ConvolutionPass,
    Floats,
    array_of,
    constant_dims,
    dims_of,
    layer_of,
    only_producer,
    pads_of,
    replace,
)

_MOST_WEIGHTS = 2**21
"""The most weights that are read from a file, in which they could stay, to become 16/9 times as many in memory."""


class UpsampleInConvolution(ConvolutionPass):
    """Compute on the small grid, with 4x4 / 3x3 / 4 = 0.44 times the multiplications.

    Before: x -> Resize(nearest, 2x) -> Pad(reflect or edge, 1) -> Conv(3x3) -> y
    After:  x -> Pad(edge, 1) -> ConvTranspose(4x4, strides=2, pads=3) -> y
    Before: x -> Resize(nearest, 2x) -> Conv(3x3, pads=1) -> y
    After:  x -> ConvTranspose(4x4, strides=2, pads=1) -> y

    Of the three taps on an axis two fall on one pixel of x: on an even place of y, w0 meets the pixel before and
    w1 + w2 the one here; on an odd place w0 + w1 meets the one here, w2 the one behind. So the transposed kernel is
    (w2, w1 + w2, w0 + w1, w0). A reflected border of the doubled pixels repeats the outermost one, and that is what
    repeating the border of x gives; zeros stay zeros.
    """

    def rewrite(self, model: ir.Model, conv: ir.Node) -> bool:
        """See ``ConvolutionPass``."""
        return _rewrite(model, conv)


def _rewrite(model: ir.Model, conv: ir.Node) -> bool:
    above = only_producer(conv.inputs[0])
    pad = above if above is not None and above.op_type == "Pad" else None
    resize = only_producer(pad.inputs[0]) if pad is not None else above
    if not _fits(conv, pad) or resize is None or not _doubles(resize):
        return False
    weight = array_of(conv, 1)
    assert weight is not None, conv
    emit = Emitter(model, conv, layer_of(conv))
    x, result = resize.inputs[0], conv.outputs[0]
    if pad is not None:
        edges = np.array([0, 0, 1, 1, 0, 0, 1, 1], np.int64)
        dims = dims_of(x)
        padded = None if dims is None else [*dims[:2], *(size + 2 for size in dims[2:])]
        x = emit.op("Pad", x, emit.constant(edges, "pads"), mode="edge", dims=padded)
    kernel = emit.constant(transposed_kernel(weight), "doubled")
    bias = conv.inputs[2] if len(conv.inputs) > 2 else None
    # The border of x gives the outermost pixels of y alone.
    pads = [1 if pad is None else 3] * 4
    doubled = emit.op("ConvTranspose", x, kernel, bias, dims=result.shape, strides=[2, 2], pads=pads)
    replace(conv, doubled)
    return True


def transposed_kernel(weight: Floats) -> Floats:
    """[C_out, C_in, 3, 3] -> [C_in, C_out, 4, 4]; see ``UpsampleInConvolution``."""
    spread = np.array([[0, 0, 1], [0, 1, 1], [1, 1, 0], [1, 0, 0]], np.float64)
    found: Floats = np.einsum("ia,jb,ocab->coij", spread, spread, weight.astype(np.float64)).astype(np.float32)
    return found


def _fits(conv: ir.Node, pad: ir.Node | None) -> bool:
    dims = constant_dims(conv, 1)
    if conv.outputs[0].dtype != ir.DataType.FLOAT:
        return False
    if dims is None or dims[2:] != (3, 3) or math.prod(dims) > _MOST_WEIGHTS:
        return False
    attributes = conv.attributes
    moves = any(n != 1 for name in ("strides", "dilations") for n in attributes.get_ints(name, ()))
    plain = not moves and attributes.get_int("group", 1) == 1
    if not plain or attributes.get_string("auto_pad", "NOTSET") != "NOTSET":
        return False
    own = list(attributes.get_ints("pads", ()) or [0] * 4)
    if pad is None:
        return own == [1] * 4
    copies = pad.attributes.get_string("mode", "constant") in ("reflect", "edge")
    return copies and not any(own) and pads_of(pad) == [0, 0, 1, 1, 0, 0, 1, 1]


def _doubles(resize: ir.Node) -> bool:
    """Whether a Resize repeats each pixel once along both axes: entry i of its result is entry floor(i / 2)."""
    attributes = resize.attributes
    if resize.op_type != "Resize" or attributes.get_string("mode", "nearest") != "nearest" or "axes" in attributes:
        return False
    grid = attributes.get_string("coordinate_transformation_mode", "half_pixel")
    rounding = attributes.get_string("nearest_mode", "round_prefer_floor")
    if (grid, rounding) not in _FLOORS:
        return False
    scales = array_of(resize, 2)
    if scales is not None and scales.size:
        return bool(np.array_equal(scales, [1, 1, 2, 2]))
    before, after = dims_of(resize.inputs[0]), dims_of(resize.outputs[0])
    return before is not None and len(before) == 4 and after == [*before[:2], 2 * before[2], 2 * before[3]]


_FLOORS = frozenset(
    {("asymmetric", "floor"), *(("half_pixel", mode) for mode in ("round_prefer_floor", "round_prefer_ceil"))}
)
"""The pairs of coordinates and rounding that make floor(i / 2) of i: of i / 2, and of i / 2 - 1/4 to the nearest."""
