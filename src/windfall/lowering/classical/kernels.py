"""The kernels of support vector machines.

Source: ``Kernel``, ``SparseSupportVectors``, ``DenseSupportVectors`` in SVM.proto; what is valid, SVMValidator.cpp.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from windfall.lowering.classical.context import ModelContext, Value

Matrix = NDArray[np.float64]

_MOST_NUMBERS = 2**26
"""Sparse vectors may not have more numbers, zeros included, in the columns that they use."""
_MOST_FEATURES = 2**24
_FARTHEST = 1e4
"""Up to this gamma * distance^2 of support vectors from their mean, products give RBF kernels to about 1e-11.

||x||^2 - 2 x s + ||s||^2 is off by rounding errors of its terms, about 1e-16 of them each.
"""


@dataclass(frozen=True)
class Vectors:
    """Support vectors.

    Attributes:
        values: [vectors, columns].
        columns: int64, the features that the columns belong to; those of other features are 0 in all vectors.
        features: How many features there are.
    """

    values: Matrix
    columns: NDArray[np.int64]
    features: int

    @property
    def rest(self) -> NDArray[np.int64]:
        """The features that are 0 in all vectors."""
        return np.setdiff1d(np.arange(self.features), self.columns)

    def used(self, ctx: ModelContext, features: Value) -> Value:
        """Return the columns of a matrix of features, [rows, features], that belong to the vectors' columns."""
        if len(self.columns) == self.features:
            return features
        return ctx.op("Gather", features, ctx.integers(self.columns), axis=1)


def read_vectors(ctx: ModelContext, features: int) -> Vectors:
    """Return the support vectors.

    Raises:
        LoweringError: Neither kind is set, or a vector does not fit the number of features.
    """
    if features > _MOST_FEATURES:
        raise ctx.error("input", f"must have at most {_MOST_FEATURES:,} values", value=f"{features:,} values")
    kind = ctx.params.WhichOneof("supportVectors")
    if kind is None:
        raise ctx.error("supportVectors", "is not set, must be sparseSupportVectors or denseSupportVectors")
    return _READERS[kind](ctx, getattr(ctx.params, kind).vectors, features)


def _read_dense(ctx: ModelContext, vectors: Any, features: int) -> Vectors:
    lengths = {len(vector.values) for vector in vectors} - {features}
    if lengths:
        rule = f"must be {features}, as the inputs have that many values"
        raise ctx.error("denseSupportVectors", rule, value=f"of length {min(lengths)}")
    values = np.array([vector.values for vector in vectors], np.float64).reshape(len(vectors), features)
    return Vectors(values, np.arange(features), features)


def _read_sparse(ctx: ModelContext, vectors: Any, features: int) -> Vectors:
    lengths = np.array([len(vector.nodes) for vector in vectors], np.int64)
    row = np.repeat(np.arange(len(lengths)), lengths)
    index = np.array([node.index for vector in vectors for node in vector.nodes], np.int64)
    value = np.array([node.value for vector in vectors for node in vector.nodes], np.float64)
    wrong = index[(index < 1) | (index > features)]
    if len(wrong):
        raise ctx.error("index", f"must be 1 to {features}, the number of features", value=wrong[0])
    columns, column = np.unique(index, return_inverse=True)
    if len(lengths) * len(columns) > _MOST_NUMBERS:
        rule = f"must have at most {_MOST_NUMBERS:,} numbers as a matrix"
        raise ctx.error("sparseSupportVectors", rule, value=f"{len(lengths):,} vectors of {len(columns):,} features")
    places = row * len(columns) + column
    order = np.argsort(places, kind="stable")
    twice = order[1:][np.diff(places[order]) == 0]
    if len(twice):
        raise ctx.error("index", f"stands twice in vector {row[twice[0]]}", value=index[twice[0]])
    values = np.zeros((len(lengths), len(columns)))
    values[row, column] = value
    return Vectors(values, columns - 1, features)


_READERS: Mapping[str, Callable[[ModelContext, Any, int], Vectors]] = {
    "denseSupportVectors": _read_dense,
    "sparseSupportVectors": _read_sparse,
}


def lower_kernel(ctx: ModelContext, features: Value, vectors: Vectors) -> Value:
    """Compute the kernel of each row of features and each support vector.

    Source: ``Kernel``.

    Args:
        ctx: The model and the graph being built.
        features: double [rows, features].
        vectors: At least one support vector.

    Returns:
        double [rows, vectors].

    Raises:
        LoweringError: No kernel is set, or it has a parameter below 0 that must not be.
    """
    kind = kernel_kind(ctx)
    params = getattr(ctx.params.kernel, kind)
    for field in ("gamma", "degree"):
        value = getattr(params, field, 0)
        if not value >= 0:
            raise ctx.error(field, "must be at least 0", value=value)
    return _KERNELS[kind](ctx, params, features, vectors)


def kernel_kind(ctx: ModelContext) -> str:
    """Return the member of the oneof ``kernel`` that is set.

    Raises:
        LoweringError: None is.
    """
    kind = ctx.params.kernel.WhichOneof("kernel")
    if kind is None:
        raise ctx.error("kernel", f"is not set, must be one of {', '.join(_KERNELS)}")
    return str(kind)


def _products(ctx: ModelContext, used: Value, values: Matrix, scale: float, added: float | Matrix) -> Value:
    """Return scale * x s + added, [rows, vectors]."""
    # [rows, columns] times [columns, vectors]
    return ctx.op("Gemm", used, ctx.doubles(scale * values.T, "vectors"), ctx.doubles(added))


def _linear(ctx: ModelContext, _params: Any, features: Value, vectors: Vectors) -> Value:
    return ctx.op("MatMul", vectors.used(ctx, features), ctx.doubles(vectors.values.T, "vectors"))


def _polynomial(ctx: ModelContext, params: Any, features: Value, vectors: Vectors) -> Value:
    sums = _products(ctx, vectors.used(ctx, features), vectors.values, params.gamma, params.c)
    return ctx.op("Pow", sums, ctx.doubles(params.degree))


def _sigmoid(ctx: ModelContext, params: Any, features: Value, vectors: Vectors) -> Value:
    return ctx.op("Tanh", _products(ctx, vectors.used(ctx, features), vectors.values, params.gamma, params.c))


def _rbf(ctx: ModelContext, params: Any, features: Value, vectors: Vectors) -> Value:
    mean = vectors.values.mean(axis=0)
    centred = vectors.values - mean
    squares = np.square(centred).sum(axis=1)
    used = vectors.used(ctx, features)
    if params.gamma * squares.max() <= _FARTHEST:
        exponents = _by_products(ctx, params.gamma, ctx.op("Sub", used, ctx.doubles(mean)), centred, squares)
    else:
        exponents = ctx.op("Mul", _distances(ctx, used, vectors.values), ctx.doubles(-params.gamma))
    if len(vectors.rest):
        others = ctx.op("Gather", features, ctx.integers(vectors.rest), axis=1)
        exponents = ctx.op("Sub", exponents, _scaled_squares(ctx, others, params.gamma))
    return ctx.op("Exp", exponents)


def _by_products(ctx: ModelContext, gamma: float, used: Value, values: Matrix, squares: Matrix) -> Value:
    """Return -gamma * ||x - s||^2 as 2 gamma x s - gamma ||s||^2 - gamma ||x||^2, [rows, vectors]."""
    products = _products(ctx, used, values, 2 * gamma, -gamma * squares)
    # Rounding may leave what is 0 a little above it.
    return ctx.op("Min", ctx.op("Sub", products, _scaled_squares(ctx, used, gamma)), ctx.doubles(0.0))


def _scaled_squares(ctx: ModelContext, x: Value, gamma: float) -> Value:
    """Return gamma * ||x||^2, [rows, 1]."""
    return ctx.op("Mul", ctx.op("ReduceSumSquare", x, ctx.integers([1])), ctx.doubles(gamma))


def _distances(ctx: ModelContext, used: Value, values: Matrix) -> Value:
    """Return ||x - s||^2 from the differences, row by row: together they could need any amount of memory."""
    body = ctx.graph.subgraph("row")
    name = body.graph.name
    row = body.input(f"{name}:row", ir.DataType.INT64, [])
    goes_on = body.input(f"{name}:condition", ir.DataType.BOOL, [])
    # [columns] from [vectors, columns]
    differences = body.op("Sub", ctx.doubles(values, "vectors"), body.op("Gather", used, row, axis=0))
    body.add_result(goes_on)
    body.add_result(body.op("ReduceSumSquare", differences, body.constant(np.array([1], np.int64)), keepdims=0))
    rows = ctx.op("Squeeze", ctx.sizes(used, 0, 1), ctx.integers([0]))
    dims = ir.Shape([None if used.shape is None else used.shape[0], len(values)])
    start = ctx.constant(np.bool_(True))
    return ctx.graph.control("Loop", [rows, start], {"body": body}, [(ir.DataType.DOUBLE, dims)])[0]


_KERNELS: Mapping[str, Callable[[ModelContext, Any, Value, Vectors], Value]] = {
    "linearKernel": _linear,
    "rbfKernel": _rbf,
    "polyKernel": _polynomial,
    "sigmoidKernel": _sigmoid,
}
