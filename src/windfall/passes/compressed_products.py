"""Products with a matrix of codes, which an engine multiplies by as they are: ``MatMulNBits``.

It computes ``x * transpose(W)`` in float32 where ``accuracy_level`` is 1, and takes W in blocks along its rows, two
codes to a byte. It is fast for codes of four bits alone; those of eight are taken apart:

    code = 16 * high + low, so x * transpose(W) = x * transpose(W_high) + x * transpose(W_low)

as one product with a matrix of twice as many rows. That doubles the work, but for few rows of x it is the reading of
W that takes the time.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from windfall.graph.compressed import Compressed, Floats, linear_form
from windfall.graph.stored import StoredTensor
from windfall.passes.emitting import CONTRIB, Emitter
from windfall.passes.run_time_weights import codes, expand

_SMALLEST_BLOCK, _LARGEST_BLOCK = 16, 128
"""The sizes of blocks that ``MatMulNBits`` takes, powers of 2; larger ones are none the faster."""
_MOST_ROWS_IN_HALVES = 4
"""How many rows of x may meet codes of eight bits taken apart; for more it is faster to expand the matrix."""
LARGEST_PART = 2**20
"""How many weights of a matrix are expanded at a time."""
_NIBBLE = 4


@dataclass(frozen=True)
class Matrix:
    """W [N, K] in blocks of K.

    Attributes:
        weight: Its codes.
        scale: float32 [N, blocks].
        zero: From 0 to 2^bits - 1, [N, blocks].
        rest: float32 [N, g], each for K / g columns; None for 0.
        block: How many columns a block has; the last may have fewer.
    """

    weight: Compressed
    scale: Floats
    zero: NDArray[np.int64]
    rest: Floats | None
    block: int


def matrix_of(weight: Compressed, rows: int | None) -> Matrix | None:
    """Return a weight [N, K] for ``MatMulNBits``; None if that does not take it, or not fast.

    Args:
        weight: The weight.
        rows: How many rows x has, None if that is known only at run time.
    """
    if len(weight.dims) != 2 or weight.table is not None or not weight.is_finite or min(weight.dims) < 1:
        return None
    if weight.bits > _NIBBLE and (rows is None or rows > _MOST_ROWS_IN_HALVES):
        return None
    form = linear_form(weight)
    (n, k), (_, groups) = weight.dims, form.scale.shape
    block = _block(k, groups)
    if block is None:
        return None
    blocks = -(-k // block)
    scale, zero = (_spread(part, n, blocks) for part in (form.scale, form.zero))
    unsigned = zero + 2 ** (weight.bits - 1) if weight.signed else zero
    rest = None if form.rest is None else _spread(form.rest, n, groups)
    return Matrix(weight, scale, unsigned, rest, block)


def _block(k: int, groups: int) -> int | None:
    """Return the largest block that none of the groups of columns cuts."""
    if groups == 1:
        return max(_SMALLEST_BLOCK, min(_LARGEST_BLOCK, 1 << (k - 1).bit_length()))
    columns = k // groups
    block = math.gcd(columns, _LARGEST_BLOCK)
    return block if block >= _SMALLEST_BLOCK else None


def _spread(part: NDArray[Any], n: int, blocks: int) -> NDArray[Any]:
    """Repeat what is given for blocks of both axes for each row and each block of columns."""
    rows = np.repeat(part, n // part.shape[0], 0)
    return np.repeat(rows, blocks // part.shape[1], 1)


def multiply(emit: Emitter, x: ir.Value, matrix: Matrix, dims: ir.Shape | None, name: str = "") -> ir.Value:
    """Add ``x * transpose(W)``.

    Args:
        emit: The graph.
        x: float32 [*D, K].
        matrix: W [N, K].
        dims: The result's shape.
        name: The name of the node that multiplies.

    Returns:
        [*D, N].
    """
    halves = matrix.weight.bits > _NIBBLE
    product = (_by_halves if halves else _by_nibbles)(emit, x, matrix, dims, name)
    if matrix.rest is None:
        return product
    # What the rest adds is the same along the columns that have it in common: sums of x times the rest.
    return emit.op("Add", product, _rests(emit, x, matrix, dims), dims=dims)


def _rests(emit: Emitter, x: ir.Value, matrix: Matrix, dims: ir.Shape | None) -> ir.Value:
    assert matrix.rest is not None, matrix
    assert x.shape is not None, x
    groups, lead = matrix.rest.shape[1], len(x.shape) - 1
    sizes = np.array([*[0] * lead, groups, matrix.weight.dims[1] // groups], np.int64)
    # [*D, K] -> [*D, g, K / g] -> [*D, g] -> [*D, N]
    split = emit.op("Reshape", x, emit.constant(sizes, "shape"))
    sums = emit.op("ReduceSum", split, emit.constant(np.array([-1], np.int64), "axes"), keepdims=0)
    return emit.op("MatMul", sums, emit.constant(np.ascontiguousarray(matrix.rest.T), "rest"), dims=dims)


def _by_nibbles(emit: Emitter, x: ir.Value, matrix: Matrix, dims: ir.Shape | None, name: str) -> ir.Value:
    weight, block = matrix.weight, matrix.block

    def load() -> NDArray[np.uint8]:
        return _packed(_unsigned(weight), block)

    return _product(emit, x, load, (matrix.scale, matrix.zero), (weight.dims[0], weight.dims[1], block), dims, name)


def _by_halves(emit: Emitter, x: ir.Value, matrix: Matrix, dims: ir.Shape | None, name: str) -> ir.Value:
    weight, block = matrix.weight, matrix.block
    n, k = weight.dims

    def load() -> NDArray[np.uint8]:
        found = _unsigned(weight)
        return _packed(np.concatenate([found >> _NIBBLE, found & 15]), block)

    scale = np.concatenate([matrix.scale * np.float32(16), matrix.scale])
    zero = np.concatenate([matrix.zero >> _NIBBLE, matrix.zero & 15])
    # [*D, 2N] -> [*D, 2, N] -> [*D, N]
    both = _product(emit, x, load, (scale, zero), (2 * n, k, block), None, name)
    assert x.shape is not None, x
    lead = len(x.shape) - 1
    split = emit.op("Reshape", both, emit.constant(np.array([*[0] * lead, 2, n], np.int64), "shape"))
    return emit.op("ReduceSum", split, emit.constant(np.array([-2], np.int64), "axes"), dims=dims, keepdims=0)


def _unsigned(weight: Compressed) -> NDArray[np.uint8]:
    found: NDArray[Any] = weight.codes()
    return found if not weight.signed else (found.astype(np.int16) + 2 ** (weight.bits - 1)).astype(np.uint8)


def _packed(nibbles: NDArray[np.uint8], block: int) -> NDArray[np.uint8]:
    """[N, K] -> [N, blocks, block / 2], the first of two codes in the lower half of a byte."""
    n, k = nibbles.shape
    blocks = -(-k // block)
    padded: NDArray[Any] = nibbles if k == blocks * block else np.pad(nibbles, ((0, 0), (0, blocks * block - k)))
    pairs = padded.reshape(n, blocks, block // 2, 2)
    packed: NDArray[np.uint8] = pairs[..., 0] | pairs[..., 1] << _NIBBLE
    return packed


def _product(
    emit: Emitter,
    x: ir.Value,
    load: Callable[[], NDArray[np.uint8]],
    quantization: tuple[Floats, NDArray[np.int64]],
    sizes: tuple[int, int, int],
    dims: ir.Shape | None,
    name: str,
) -> ir.Value:
    (scale, zero), (n, k, block) = quantization, sizes
    stored = StoredTensor(load, (n, scale.shape[1], block // 2), "codes", dtype=ir.DataType.UINT8)
    middle = 2 ** (_NIBBLE - 1)  # where none is given
    points = None if (zero == middle).all() else emit.constant(_packed_rows(zero), "zero")
    scales = emit.constant(np.ascontiguousarray(scale.reshape(-1)), "scale")
    return emit.op(
        "MatMulNBits",
        x,
        emit.stored(stored, "codes"),
        scales,
        points,
        dims=dims,
        domain=CONTRIB,
        name=name,
        K=k,
        N=n,
        bits=_NIBBLE,
        block_size=block,
        accuracy_level=1,
    )


def _packed_rows(zero: NDArray[np.int64]) -> NDArray[np.uint8]:
    """[N, blocks] -> [N * ceil(blocks / 2)]."""
    even = np.pad(zero.astype(np.uint8), ((0, 0), (0, zero.shape[1] % 2)))
    packed: NDArray[Any] = even[:, ::2] | even[:, 1::2] << _NIBBLE
    return packed.reshape(-1)


def multiply_by_parts(emit: Emitter, x: ir.Value, weight: Compressed, dims: ir.Shape | None) -> ir.Value:
    """Add ``x * transpose(W)``, of which some rows at a time are expanded; W has rows.

    Args:
        emit: The graph.
        x: float32 [*D, K].
        weight: W [N, K].
        dims: The result's shape.

    Returns:
        [*D, N].
    """
    n, k = weight.dims
    step = max(1, LARGEST_PART // k)
    starts = range(0, n, step)
    sizes = [min(step, n - at) for at in starts]
    # The engine splits the codes when it compiles the graph.
    stored = emit.ops("Split", codes(emit, weight, weight.dims), emit.constant(np.array(sizes, np.int64), "sizes"),
                      outputs=[(size, k) for size in sizes], axis=0)  # fmt: skip
    parts = [
        _expanded_product(emit, x, weight.rows(at, at + size), part)
        for at, size, part in zip(starts, sizes, stored, strict=True)
    ]
    return emit.op("Concat", *parts, dims=dims, axis=-1)


def _expanded_product(emit: Emitter, x: ir.Value, weight: Compressed, stored: ir.Value) -> ir.Value:
    matrix = expand(emit, weight, stored)
    assert x.shape is not None, x
    if len(x.shape) == 2:
        return emit.op("Gemm", x, matrix, transB=1)
    return emit.op("MatMul", x, emit.op("Transpose", matrix, perm=[1, 0]))
