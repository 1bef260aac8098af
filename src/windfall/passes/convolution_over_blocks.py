"""Compute large kernels of few channels over blocks of pixels."""

import numpy as np
import onnx_ir as ir

from windfall.passes.emitting import Emitter
from windfall.passes.nodes import ConvolutionPass, Floats, array_of, constant_dims, dims_of, layer_of, replace

_FEW, _MANY = 4, 16
"""Channels that fill only a part of a vector, and those that fill one."""
_LEAST_KERNEL, _LEAST_TO_ONE = 7, 5
"""The kernels below which blocks do not pay with every engine, to several channels and to one: see ``order.py``."""
_BLOCKS = (4, 2)
"""The sides that blocks may have, the better one first."""


class ConvolutionOverBlocks(ConvolutionPass):
    """Fill the lanes of vectors, where a convolution to few channels leaves most of them empty.

    Before: x -> Conv(k x k, pads=p) -> y
    After:  x -> SpaceToDepth(b) -> Conv(K x K, pads=p / b) -> DepthToSpace(b) -> y    K = (k - 1) / b + 1

    Place b * m + a of y is a sum over taps j of pixels b * m + a + j of x, and these are place (a + j) % b of block
    m + (a + j) / b. It takes more multiplications, those by the zeros between. Only where b divides all sizes.
    """

    def rewrite(self, model: ir.Model, conv: ir.Node) -> bool:
        """See ``ConvolutionPass``."""
        return _rewrite(model, conv)


def _rewrite(model: ir.Model, conv: ir.Node) -> bool:
    x, result, weight_dims = conv.inputs[0], conv.outputs[0], constant_dims(conv, 1)
    before, after = dims_of(x), dims_of(result)
    if weight_dims is None or before is None or after is None or not _is_plain(conv) or not _pays(weight_dims):
        return False
    pads = list(conv.attributes.get_ints("pads", ()) or [0] * 4)
    sizes = (*before[2:], *after[2:], *pads, *(k - 1 for k in weight_dims[2:]))
    block = next((block for block in _BLOCKS if not any(size % block for size in sizes)), None)
    if block is None:
        return False
    weight = array_of(conv, 1)
    assert weight is not None, conv
    emit = Emitter(model, conv, layer_of(conv))
    blocks = emit.op("SpaceToDepth", x, dims=_in_blocks(before, block), blocksize=block)
    bias = array_of(conv, 2)
    wide = emit.op(
        "Conv",
        blocks,
        emit.constant(kernel_of_blocks(weight, block), "blocks"),
        None if bias is None else emit.constant(np.tile(bias, block * block), "bias"),
        dims=_in_blocks(after, block),
        pads=[pad // block for pad in pads],
    )
    replace(conv, emit.op("DepthToSpace", wide, dims=result.shape, blocksize=block, mode="DCR"))
    return True


def _is_plain(conv: ir.Node) -> bool:
    attributes = conv.attributes
    moves = any(n != 1 for name in ("strides", "dilations") for n in attributes.get_ints(name, ()))
    fixed = len(conv.inputs) < 3 or conv.inputs[2] is None or array_of(conv, 2) is not None
    fixed = fixed and conv.outputs[0].dtype == ir.DataType.FLOAT
    auto = attributes.get_string("auto_pad", "NOTSET") != "NOTSET"
    return fixed and not moves and not auto and attributes.get_int("group", 1) == 1


def _pays(dims: tuple[int, ...]) -> bool:
    outputs, inputs, *kernel = dims
    least = _LEAST_TO_ONE if outputs == 1 else _LEAST_KERNEL
    return len(kernel) == 2 and min(kernel) >= least and outputs <= _FEW and inputs >= _MANY


def _in_blocks(dims: list[int], block: int) -> list[int]:
    n, channels, height, width = dims
    return [n, channels * block * block, height // block, width // block]


def kernel_of_blocks(weight: Floats, block: int) -> Floats:
    """[C_out, C_in, kH, kW] -> [b * b * C_out, b * b * C_in, KH, KW]; see ``ConvolutionOverBlocks``."""
    outputs, inputs, *kernel = weight.shape
    size = [(k - 1) // block + 1 for k in kernel]
    # A block's pixels come before its channels, as SpaceToDepth and DepthToSpace lay them out.
    wide = np.zeros((block, block, outputs, block, block, inputs, *size), np.float32)
    for down, right in np.ndindex(block, block):
        for i, j in np.ndindex(*kernel):
            (q, r), (s, t) = divmod(down + i, block), divmod(right + j, block)
            wide[down, right, :, r, t, :, q, s] = weight[:, :, i, j]
    return wide.reshape(block * block * outputs, block * block * inputs, *size)
