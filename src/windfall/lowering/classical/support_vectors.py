"""Support vector machines, computed as libsvm does, whose models the format stores.

Source: SVM.proto; what is valid, SVMValidator.cpp.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from windfall.graph.builder import GraphBuilder
from windfall.lowering.classical.context import ModelContext, Value
from windfall.lowering.classical.forms import Forms, Labels
from windfall.lowering.classical.kernels import Matrix, Vectors, kernel_kind, lower_kernel, read_vectors
from windfall.spec.pipelines import declared_labels

_MOST_JOINED = 8
"""Up to so many classes, the coefficients of all pairs of classes stand in one matrix, though many of them are 0."""
_MOST_UNROLLED = 16
"""Up to so many classes, a sweep over them is no loop."""
_SMALLEST = 1e-7
"""libsvm keeps probabilities of pairs this far from 0 and 1."""
_STOP = 0.005
_MOST_SWEEPS = 100


def lower_support_vector_regressor(ctx: ModelContext) -> Forms:
    """Compute ``sum(alpha * kernel(x, vector)) - rho``.

    Source: ``SupportVectorRegressor``. All inputs side by side are the features, double [rows, features].

    Returns:
        double [rows, 1].

    Raises:
        LoweringError: No kernel or no kind of vectors is set, the vectors do not fit the features, or there is not one
            coefficient for each of them.
    """
    features = ctx.matrix()
    vectors = read_vectors(ctx, ctx.count(features))
    count, given = len(vectors.values), len(ctx.params.coefficients.alpha)
    if given != count:
        rule = f"must be {count}, one for each support vector"
        raise ctx.error("coefficients", rule, value=f"{given} numbers")
    alpha = np.array(ctx.params.coefficients.alpha, np.float64)[:, None]
    return ctx.regression(_decisions(ctx, features, vectors, alpha, [ctx.params.rho]))


def lower_support_vector_classifier(ctx: ModelContext) -> Forms:
    """Decide between each two classes, and choose the label by votes or by probabilities.

    Without ``probA`` and ``probB``, each decision is a vote, and the label with the most of them is chosen, the first
    of several. The format does not say what the probabilities are then: here they are each label's share of the votes,
    which adds up to 1, and gives the label chosen the highest. With ``probA`` and ``probB``, the probabilities are
    those of ``svm_predict_probability`` of libsvm, and the label is the one with the highest, as there.

    Source: ``SupportVectorClassifier``. All inputs side by side are the features, double [rows, features].

    Returns:
        The label, and double [rows, labels].

    Raises:
        LoweringError: No kernel, kind of vectors or labels are set, the vectors do not fit the features, or the numbers
            of classes, vectors, coefficients and constants do not fit each other.
    """
    features = ctx.matrix()
    labels = _labels(ctx)
    vectors = read_vectors(ctx, ctx.count(features))
    classes = _classes(ctx, len(labels), len(vectors.values))
    if classes.count == 1:
        kernel_kind(ctx)
        return ctx.classification(_repeated(ctx, ctx.doubles([1.0])), labels)
    decisions = _pairwise_decisions(ctx, features, vectors, classes)
    if len(ctx.params.probA):
        return ctx.classification(_probabilities(ctx, decisions, classes), labels)
    return ctx.classification(_votes(ctx, decisions, classes), labels)


@dataclass(frozen=True)
class Classes:
    """The classes of a classifier.

    Attributes:
        sizes: How many support vectors each class has; these stand in the order of the classes.
        alpha: [classes - 1, vectors], the coefficients of each vector against each other class, in order.
    """

    sizes: Sequence[int]
    alpha: Matrix

    @property
    def count(self) -> int:
        """How many classes there are."""
        return len(self.sizes)

    @property
    def pairs(self) -> int:
        """How many pairs of classes there are."""
        return self.count * (self.count - 1) // 2


def _labels(ctx: ModelContext) -> Labels:
    labels: Labels = declared_labels(ctx.params)
    if not labels:
        raise ctx.error("ClassLabels", "there are none, must be at least one")
    return labels


def _classes(ctx: ModelContext, count: int, vectors: int) -> Classes:
    """Read and check what depends on the number of classes."""
    params = ctx.params
    pairs = count * (count - 1) // 2
    _check_count(ctx, "rho", len(params.rho), pairs, "pair of labels")
    if len(params.probA) or len(params.probB):
        _check_count(ctx, "probA", len(params.probA), pairs, "pair of labels")
        _check_count(ctx, "probB", len(params.probB), pairs, "pair of labels")
    sizes = list(params.numberOfSupportVectorsPerClass)
    _check_count(ctx, "numberOfSupportVectorsPerClass", len(sizes), count, "label")
    if min(sizes) < 0:
        raise ctx.error("numberOfSupportVectorsPerClass", "must be at least 0", value=min(sizes))
    if sum(sizes) != vectors:
        rule = f"must be {vectors}, the number of support vectors"
        raise ctx.error("numberOfSupportVectorsPerClass", rule, value=f"{sum(sizes)} together")
    _check_count(ctx, "coefficients", len(params.coefficients), count - 1, "label but one")
    for row in params.coefficients:
        _check_count(ctx, "alpha", len(row.alpha), vectors, "support vector")
    alpha = np.array([row.alpha for row in params.coefficients], np.float64).reshape(count - 1, vectors)
    return Classes(sizes, alpha)


def _check_count(ctx: ModelContext, field: str, given: int, expected: int, each: str) -> None:
    if given != expected:
        raise ctx.error(field, f"must be {expected}, one for each {each}", value=f"{given} numbers")


# Decisions


def _decisions(ctx: ModelContext, features: Value, vectors: Vectors, weights: Matrix, rho: Sequence[float]) -> Value:
    """Return kernel times weights, minus rho: double [rows, decisions].

    Args:
        ctx: The model and the graph being built.
        features: double [rows, features].
        vectors: The support vectors.
        weights: [vectors, decisions].
        rho: A number for each decision.
    """
    minus_rho = ctx.doubles(-np.array(rho, np.float64), "rho")
    kind = kernel_kind(ctx)
    if not weights.size:
        return _repeated(ctx, minus_rho)
    if kind == "linearKernel" and weights.shape[1] <= len(vectors.values):
        # x times vectors times weights; the last two need no x.
        folded = vectors.values.T @ weights
        return ctx.op("Gemm", vectors.used(ctx, features), ctx.doubles(folded, "weights"), minus_rho)
    return ctx.op("Gemm", lower_kernel(ctx, features, vectors), ctx.doubles(weights, "alpha"), minus_rho)


def _repeated(ctx: ModelContext, row: Value) -> Value:
    """Return the same numbers in each row, [rows, columns]."""
    rows, columns = ctx.rows, ctx.sizes(row)
    repeated = ctx.op("Expand", row, ctx.op("Concat", rows, columns, axis=0))
    # Inference does not see through the Concat.
    count = None if rows.const_value is None else int(rows.const_value.numpy()[0])
    repeated.shape = ir.Shape([count, *ctx.shape(row)])
    return repeated


def _pairwise_decisions(ctx: ModelContext, features: Value, vectors: Vectors, classes: Classes) -> Value:
    """Return the decisions of all pairs of classes, double [rows, pairs]: above 0 for the first class.

    The vectors of class i have their coefficients against class j in row j of ``alpha``, or in row j - 1 if i < j.
    """
    if not len(vectors.values):
        return _decisions(ctx, features, vectors, np.zeros((0, classes.pairs)), ctx.params.rho)
    first, second = np.triu_indices(classes.count, 1)
    if classes.count <= _MOST_JOINED:
        weights = np.zeros((len(vectors.values), classes.pairs))
        owner = np.repeat(np.arange(classes.count), classes.sizes)
        for pair, (one, other) in enumerate(zip(first, second, strict=True)):
            weights[owner == one, pair] = classes.alpha[other - 1, owner == one]
            weights[owner == other, pair] = classes.alpha[one, owner == other]
        return _decisions(ctx, features, vectors, weights, ctx.params.rho)
    kernel = lower_kernel(ctx, features, vectors)
    # [rows, classes * (classes - 1)], each class's part of each decision that it takes part in
    parts = ctx.op("Concat", *_parts(ctx, kernel, classes), axis=1)
    width = classes.count - 1
    ours = ctx.op("Gather", parts, ctx.integers(first * width + second - 1), axis=1)
    theirs = ctx.op("Gather", parts, ctx.integers(second * width + first), axis=1)
    return ctx.op("Sub", ctx.op("Add", ours, theirs), ctx.doubles(ctx.params.rho, "rho"))


def _parts(ctx: ModelContext, kernel: Value, classes: Classes) -> Sequence[Value]:
    """Return the kernel of the vectors of each class times their coefficients, [rows, classes - 1] each."""
    pieces = ctx.ops("Split", kernel, ctx.integers(classes.sizes), outputs=classes.count, axis=1)
    ends = np.cumsum(classes.sizes)[:-1]
    coefficients = np.split(classes.alpha.T, ends)
    return [ctx.op("MatMul", piece, ctx.doubles(part)) for piece, part in zip(pieces, coefficients, strict=True)]


def _square(ctx: ModelContext, values: Value, classes: Classes) -> Value:
    """Return numbers p of pairs as [rows, classes, classes]: p right of the diagonal, 1 - p left of it, 0 on it."""
    upper = np.triu(np.ones((classes.count, classes.count)), 1)
    index = np.zeros(upper.shape, np.int64)
    index[np.triu_indices(classes.count, 1)] = np.arange(classes.pairs)
    found = ctx.op("Gather", values, ctx.integers(index + index.T), axis=1)
    return ctx.op("Add", ctx.op("Mul", found, ctx.doubles(upper - upper.T)), ctx.doubles(upper.T))


def _votes(ctx: ModelContext, decisions: Value, classes: Classes) -> Value:
    """Return the share of the votes of each class, double [rows, classes]."""
    wins = ctx.op("Cast", ctx.op("Greater", decisions, ctx.doubles(0.0)), to=ir.DataType.DOUBLE)
    votes = ctx.op("ReduceSum", _square(ctx, wins, classes), ctx.integers([2]), keepdims=0)
    return ctx.op("Div", votes, ctx.doubles(classes.pairs))


# Probabilities


def _probabilities(ctx: ModelContext, decisions: Value, classes: Classes) -> Value:
    """Return the probability of each class, double [rows, classes].

    Those of pairs are 1 / (1 + exp(A * decision + B)), as John Platt has them.
    """
    scaled = ctx.op("Mul", decisions, ctx.doubles(ctx.params.probA, "probA"))
    exponents = ctx.op("Add", scaled, ctx.doubles(ctx.params.probB, "probB"))
    total = ctx.op("Add", ctx.op("Exp", exponents), ctx.doubles(1.0))
    lowest, highest = ctx.doubles(_SMALLEST), ctx.doubles(1 - _SMALLEST)
    pairwise = ctx.op("Clip", ctx.op("Reciprocal", total), lowest, highest)
    if classes.count == 2:
        return ctx.op("Concat", pairwise, ctx.op("Sub", ctx.doubles(1.0), pairwise), axis=1)
    return _Coupling(ctx, _square(ctx, pairwise, classes), classes.count).lower()


class _Coupling:
    """Probabilities of classes that agree best with those of pairs of them.

    Source: Wu, Lin and Weng, Probability Estimates for Multi-class Classification by Pairwise Coupling, 2004, the
    second approach, by algorithm 2: with Q of r as below, minimize p Q p where p adds up to 1, class by class, until
    all of Q p are near p Q p. libsvm stops as soon as they are within 0.005 / classes, or after 100 sweeps over all
    classes (after as many as there are classes if those are more), which shows in the numbers: so do we, and each row
    by itself.

    A step for class t adds d = ((p Q p) / s - (Q p)[t]) / Q[t, t] to p[t], where s is the sum of all p, which are
    divided by it once in a sweep. That moves p Q p by d * ((p Q p) / s + (Q p)[t]), and Q p by d * Q[t].

    Args:
        ctx: The model and the graph being built.
        r: [rows, classes, classes], the probability of the first of two classes, 0 on the diagonal.
        count: How many classes there are.
    """

    def __init__(self, ctx: ModelContext, r: Value, count: int) -> None:
        self.ctx = ctx
        self.count = count
        # Q[t, t] = sum over j of r[j, t]^2; Q[t, j] = -r[j, t] * r[t, j]
        self.diagonal = ctx.op("ReduceSumSquare", r, ctx.integers([1]), keepdims=0)
        on_diagonal = ctx.op("Mul", ctx.op("Unsqueeze", self.diagonal, ctx.integers([2])), ctx.doubles(np.eye(count)))
        self.q = ctx.op("Sub", on_diagonal, ctx.op("Mul", r, ctx.op("Transpose", r, perm=[0, 2, 1])))
        # What each step takes, [rows, classes] and [rows, 1]; nodes outside of the loop run once.
        self.unrolled = count <= _MOST_UNROLLED
        steps = range(count if self.unrolled else 0)
        self.rows = [ctx.op("Gather", self.q, ctx.integers(t), axis=1) for t in steps]
        self.pivots = [ctx.op("Gather", self.diagonal, ctx.integers([t]), axis=1) for t in steps]

    def lower(self) -> Value:
        """Add the Loop node and return p, [rows, classes]."""
        ctx, graph = self.ctx, self.ctx.graph
        dims = self.diagonal.shape
        p = ctx.op("Expand", ctx.doubles([[1 / self.count]]), ctx.sizes(self.diagonal))
        state = [p, *self._products(graph, p)]
        active = self._active(graph, *state[1:])
        body = graph.subgraph("sweep")
        body.input(f"{body.graph.name}:sweep", ir.DataType.INT64, [])
        body.input(f"{body.graph.name}:condition", ir.DataType.BOOL, [])
        inner = [
            body.input(f"{body.graph.name}:{name}", value.dtype or ir.DataType.DOUBLE, value.shape)
            for name, value in zip(("p", "qp", "pqp", "active"), (*state, active), strict=True)
        ]
        swept = body.op("Where", inner[3], self._sweep(body, *inner[:3]), inner[0])
        products = self._products(body, swept)
        still = body.op("And", inner[3], self._active(body, *products))
        for value in (_any(body, still), swept, *products, still):
            body.add_result(value)
        types = [(value.dtype or ir.DataType.DOUBLE, value.shape) for value in (*state, active)]
        sweeps = ctx.integers(max(_MOST_SWEEPS, self.count))
        results = graph.control("Loop", [sweeps, _any(graph, active), *state, active], {"body": body}, types)
        results[0].shape = dims
        return results[0]

    def _products(self, graph: GraphBuilder, p: Value) -> tuple[Value, Value]:
        """Return Q p, [rows, classes], and p Q p, [rows, 1]."""
        last = graph.constant(np.array([2], np.int64))
        qp = graph.op("Squeeze", graph.op("MatMul", self.q, graph.op("Unsqueeze", p, last)), last)
        return qp, graph.op("ReduceSum", graph.op("Mul", p, qp), graph.constant(np.array([1], np.int64)))

    def _active(self, graph: GraphBuilder, qp: Value, pqp: Value) -> Value:
        """Return whether a row is to be swept again, bool [rows, 1]."""
        errors = graph.op("Abs", graph.op("Sub", qp, pqp))
        most = graph.op("ReduceMax", errors, graph.constant(np.array([1], np.int64)))
        return graph.op("GreaterOrEqual", most, graph.constant(np.float64(_STOP / self.count)))

    def _sweep(self, body: GraphBuilder, p: Value, qp: Value, pqp: Value) -> Value:
        """Return p after a step for each class, [rows, classes]."""
        total = body.constant(np.ones((1, 1)))
        if self.unrolled:
            moves = []
            for t, (row, pivot) in enumerate(zip(self.rows, self.pivots, strict=True)):
                move, qp, pqp, total = _step(body, body.constant(np.array([t])), row, pivot, (qp, pqp, total))
                moves.append(move)
            moved = body.op("Concat", *moves, axis=1)
        else:
            moved, total = self._looped(body, qp, pqp)
        return body.op("Div", body.op("Add", p, moved), total)

    def _looped(self, graph: GraphBuilder, qp: Value, pqp: Value) -> tuple[Value, Value]:
        """Return what all steps add to p, [rows, classes], and its sum after them, [rows, 1]."""
        total = graph.op("Expand", graph.constant(np.ones((1, 1))), graph.sizes(pqp))
        body = graph.subgraph("step")
        step = body.input(f"{body.graph.name}:step", ir.DataType.INT64, [])
        goes_on = body.input(f"{body.graph.name}:condition", ir.DataType.BOOL, [])
        inner = [
            body.input(f"{body.graph.name}:{name}", ir.DataType.DOUBLE, value.shape)
            for name, value in zip(("qp", "pqp", "total"), (qp, pqp, total), strict=True)
        ]
        index = body.op("Unsqueeze", step, body.constant(np.array([0], np.int64)))
        row, pivot = body.op("Gather", self.q, step, axis=1), body.op("Gather", self.diagonal, index, axis=1)
        move, *after = _step(body, index, row, pivot, (inner[0], inner[1], inner[2]))
        for value in (goes_on, *after, move):
            body.add_result(value)
        types = [(ir.DataType.DOUBLE, value.shape) for value in (qp, pqp, total)]
        types.append((ir.DataType.DOUBLE, ir.Shape([self.count, *(pqp.shape or ())])))
        steps = graph.constant(np.array(self.count, np.int64)), graph.constant(np.bool_(True))
        results = graph.control("Loop", [*steps, qp, pqp, total], {"body": body}, types)
        # [classes, rows, 1] -> [rows, classes]
        flat = graph.op("Squeeze", results[3], graph.constant(np.array([2], np.int64)))
        return graph.op("Transpose", flat, perm=[1, 0]), results[2]


def _step(
    graph: GraphBuilder, index: Value, row: Value, pivot: Value, state: tuple[Value, Value, Value]
) -> tuple[Value, Value, Value, Value]:
    """Return what a step adds to p[t], and Q p, p Q p and the sum of all p after it; see ``_Coupling``."""
    qp, pqp, total = state
    level, own = graph.op("Div", pqp, total), graph.op("Gather", qp, index, axis=1)
    move = graph.op("Div", graph.op("Sub", level, own), pivot)
    pqp = graph.op("Add", pqp, graph.op("Mul", move, graph.op("Add", level, own)))
    return move, graph.op("Add", qp, graph.op("Mul", move, row)), pqp, graph.op("Add", total, move)


def _any(graph: GraphBuilder, flags: Value) -> Value:
    """Return whether any of the flags is set, bool of rank 0; also of none."""
    count = graph.op("ReduceSum", graph.op("Cast", flags, to=ir.DataType.INT64), keepdims=0)
    return graph.op("Cast", count, to=ir.DataType.BOOL)


LOWERINGS: Mapping[str, Callable[[ModelContext], Forms]] = {
    "supportVectorRegressor": lower_support_vector_regressor,
    "supportVectorClassifier": lower_support_vector_classifier,
}
