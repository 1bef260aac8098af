"""The samples that lie nearest to points.

The nearest are those by distances in doubles, sums of squared differences; of equal ones the first. All of these
differences would take long. So samples are ranked by a product of matrices in float32, and those alone that can be
among the nearest are measured exactly.

Let x be a point and y a sample, both from the centre of all samples on, so that few digits cancel. Distances rank as
|y|^2 - 2 x y does, which is the product of (x, 1) and (-2 y, |y|^2). In float32 it is wrong by less than

    E = 2 (D + 8) u (2 |x| Y + Y^2),    u = 2^-24, Y the largest |y|

in whatever order the D + 1 terms are added: each is rounded by u when it is stored and by u for each addition, of which
there are D, and the 2 and the 8 are for the rest. So a sample more than 2 E behind the k-th is none of the k nearest.
Where the candidates that are chosen reach as far as that, they are measured; for points where they do not, as many
samples are nearly equally far, all samples up to there are. Doubles are rounded too, which counts for points far
away: they have a term of their own in E.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from windfall.graph.builder import GraphBuilder
from windfall.lowering.chunks import in_chunks, within
from windfall.lowering.context import GraphContext, Value

_CHUNK_BYTES = 2**26
"""What the tensors of a chunk may take together."""
_DIFFERENCE_BYTES = 24
"""What is needed for each coordinate that is measured: a difference, what it is made of, and its square."""
_MOST_ROWS = 1024
_FEW = 2**13
"""Up to so many coordinates of all samples, all are measured at once."""
_EXTRA = 32
_FARTHEST = 1e30
"""Points so far away, in multiples of Y, are no float32."""

Found = tuple[Value, Value]
"""The numbers of the samples, int64 [rows, k], and their squared distances, double [rows, k], nearest first."""


@dataclass(frozen=True)
class Samples:
    """The samples in a graph.

    Attributes:
        values: float32 [samples, dimensions].
        stored: The same in the graph.
    """

    values: NDArray[np.float32]
    stored: Value

    @property
    def count(self) -> int:
        """How many there are."""
        return len(self.values)

    @property
    def dimensions(self) -> int:
        """How many numbers each has."""
        return int(self.values.shape[1])


def nearest(ctx: GraphContext, points: Value, values: NDArray[np.float32], k: int) -> Found:
    """Find the nearest samples of each point.

    Args:
        ctx: The graph being built.
        points: double [rows, dimensions].
        values: Finite numbers [samples, dimensions].
        k: How many samples to find, 1 to all.
    """
    samples = Samples(values, ctx.constant(values, "samples"))
    candidates = 2 * k + _EXTRA
    needs = samples.dimensions * _DIFFERENCE_BYTES
    all_ranked = candidates >= samples.count or samples.count * samples.dimensions <= _FEW
    if all_ranked and samples.count * needs <= _CHUNK_BYTES:
        found = in_chunks(ctx, points, _rows(samples.count * needs), lambda g, x: _of_all(g, x, samples, k))
    elif all_ranked or candidates * needs > _CHUNK_BYTES:
        found = in_chunks(ctx, points, 1, lambda g, x: _one_of_all(g, x, samples, k))
    else:
        ranking = _Ranking.of(ctx, samples)
        rows = _rows(samples.count * 4 + candidates * needs)
        found = in_chunks(ctx, points, rows, lambda g, x: ranking.search(g, x, k, candidates))
    return found[0], found[1]


def _rows(row_bytes: int) -> int:
    return max(1, min(_MOST_ROWS, _CHUNK_BYTES // row_bytes))


def _of_all(ctx: GraphContext, points: Value, samples: Samples, k: int) -> Sequence[Value]:
    distances = _distances(ctx, ctx.op("Unsqueeze", points, ctx.integers([1])), samples.stored)
    nearest_, numbers = ctx.ops("TopK", distances, ctx.integers([k]), outputs=2, axis=1, largest=0)
    return numbers, nearest_


def _one_of_all(ctx: GraphContext, point: Value, samples: Samples, k: int) -> Sequence[Value]:
    numbers = ctx.op("Range", *(ctx.integers(bound) for bound in (0, samples.count, 1)))
    return _measured(ctx, point, numbers, samples, k)


def _measured(ctx: GraphContext, point: Value, numbers: Value, samples: Samples, k: int) -> Found:
    """Return the nearest of some samples.

    Args:
        ctx: The graph being built.
        point: double [1, dimensions].
        numbers: int64 [n], ascending, n at least k.
        samples: All samples.
        k: How many samples to find.
    """

    def measure(g: GraphContext, part: Value) -> Sequence[Value]:
        return [_distances(g, point, g.op("Gather", samples.stored, part))]

    block = max(1, _CHUNK_BYTES // (samples.dimensions * _DIFFERENCE_BYTES))
    (distances,) = in_chunks(ctx, numbers, block, measure)
    found, places = ctx.ops("TopK", distances, ctx.integers([k]), outputs=2, axis=0, largest=0)
    chosen = ctx.op("Gather", numbers, places)
    return ctx.reshape(chosen, 1, k), ctx.reshape(found, 1, k)


def _distances(ctx: GraphContext, points: Value, samples: Value) -> Value:
    """Return squared distances: doubles and float32 [..., dimensions] -> [...]; infinite for what is no number."""
    differences = ctx.op("Sub", points, ctx.op("Cast", samples, to=ir.DataType.DOUBLE))
    squares = ctx.op("Mul", differences, differences)
    sums = ctx.op("ReduceSum", squares, ctx.integers([-1]), keepdims=0)
    # Sorting needs numbers.
    return ctx.op("Where", ctx.op("IsNaN", sums), ctx.constant(np.float64(np.inf)), sums)


@dataclass(frozen=True)
class _Ranking:
    """What ranks all samples.

    Attributes:
        samples: The samples.
        centre: double [dimensions].
        scale: A power of 2 that makes Y 1 to 2, so that nothing is too small for float32.
        longest: Y, after that.
        table: float32 [dimensions + 1, samples], (-2 y, |y|^2) in columns.
    """

    samples: Samples
    centre: NDArray[np.float64]
    scale: float
    longest: float
    table: Value

    @classmethod
    def of(cls, ctx: GraphContext, samples: Samples) -> "_Ranking":
        centre = samples.values.mean(axis=0, dtype=np.float64)
        moved = samples.values - centre
        longest = float(np.sqrt(np.einsum("ij,ij->i", moved, moved).max()))
        scale = 2.0 ** -np.floor(np.log2(longest)) if longest > 0 else 1.0
        moved *= scale
        squares = np.einsum("ij,ij->i", moved, moved)
        table = np.empty((samples.dimensions + 1, samples.count), np.float32)
        table[:-1] = -2 * moved.T
        table[-1] = squares
        return cls(samples, centre, scale, longest * scale, ctx.constant(table, "ranking"))

    def search(self, ctx: GraphContext, points: Value, k: int, candidates: int) -> Found:
        """Return the nearest samples of some points, double [n, dimensions]."""
        ranks, norms = self._ranks(ctx, points)
        best, numbers = ctx.ops("TopK", ranks, ctx.integers([candidates]), outputs=2, axis=1, largest=0)
        first, last = (ctx.op("Gather", best, ctx.integers([place]), axis=1) for place in (k - 1, candidates - 1))
        limit = self._limit(ctx, first, norms)  # [n, 1]
        open_ = ctx.op("LessOrEqual", ctx.op("Cast", last, to=ir.DataType.DOUBLE), limit)
        count = ctx.op("ReduceSum", ctx.op("Cast", open_, to=ir.DataType.INT64), keepdims=0)
        settled, unsettled = ctx.graph.subgraph("settled"), ctx.graph.subgraph("unsettled")
        _finish(settled, self._of_candidates(within(settled), points, numbers, k, candidates))
        _finish(unsettled, self._one_by_one(within(unsettled), points, ranks, limit, k))
        outputs = [(dtype, ir.Shape([None, k])) for dtype in (ir.DataType.INT64, ir.DataType.DOUBLE)]
        branches = {"then_branch": unsettled, "else_branch": settled}
        found = ctx.graph.control("If", [ctx.op("Greater", count, ctx.integers(0))], branches, outputs)
        return found[0], found[1]

    def _ranks(self, ctx: GraphContext, points: Value) -> tuple[Value, Value]:
        """Return |y|^2 - 2 x y for all samples, float32 [n, samples], and |x|, double [n, 1]."""
        moved = ctx.op("Mul", ctx.op("Sub", points, _double(ctx, self.centre)), _double(ctx, self.scale))
        norms = ctx.op("Sqrt", ctx.op("ReduceSum", ctx.op("Mul", moved, moved), ctx.integers([1])))
        # What is no float32, or no number, is measured with all samples.
        near = ctx.op("Where", ctx.op("Less", norms, _double(ctx, _FARTHEST)), moved, _double(ctx, 0))
        left = ctx.op("Pad", ctx.op("Cast", near, to=ir.DataType.FLOAT), ctx.integers([0, 1]), ctx.floats(1),
                      ctx.integers([1]))  # fmt: skip
        return ctx.op("MatMul", left, self.table), norms

    def _limit(self, ctx: GraphContext, rank: Value, norms: Value) -> Value:
        """Return the rank up to which samples may lie as near as one with the rank given: 2 E more, double [n, 1]."""
        dimensions, longest = self.samples.dimensions, self.longest
        unit = 2 * (dimensions + 8) * 2.0**-24
        linear = ctx.op("Add", ctx.op("Mul", norms, _double(ctx, 2 * longest)), _double(ctx, longest**2))
        far = ctx.op("Add", norms, _double(ctx, longest))
        rounding = ctx.op("Mul", ctx.op("Mul", far, far), _double(ctx, (dimensions + 8) * 2.0**-50))
        error = ctx.op("Add", ctx.op("Mul", linear, _double(ctx, 2 * unit)), rounding)
        limit = ctx.op("Add", ctx.op("Cast", rank, to=ir.DataType.DOUBLE), error)
        return ctx.op("Where", ctx.op("Less", norms, _double(ctx, _FARTHEST)), limit, _double(ctx, np.inf))

    def _of_candidates(self, ctx: GraphContext, points: Value, numbers: Value, k: int, candidates: int) -> Found:
        # In the order of the samples, as TopK takes the first of equal ones.
        numbers = ctx.ops("TopK", numbers, ctx.integers([candidates]), outputs=2, axis=1, largest=0)[0]
        chosen = ctx.op("Gather", self.samples.stored, numbers)  # [n, candidates, dimensions]
        distances = _distances(ctx, ctx.op("Unsqueeze", points, ctx.integers([1])), chosen)
        found, places = ctx.ops("TopK", distances, ctx.integers([k]), outputs=2, axis=1, largest=0)
        return ctx.op("GatherElements", numbers, places, axis=1), found

    def _one_by_one(self, ctx: GraphContext, points: Value, ranks: Value, limit: Value, k: int) -> Found:
        def search(g: GraphContext, row: Value) -> Sequence[Value]:
            point, rank, bound = (g.op("Gather", x, row) for x in (points, ranks, limit))
            near = g.op("LessOrEqual", g.op("Cast", rank, to=ir.DataType.DOUBLE), bound)
            numbers = g.reshape(g.op("Slice", g.op("NonZero", near), g.integers([1]), g.integers([2])), -1)
            return _measured(g, point, numbers, self.samples, k)

        count = ctx.reshape(ctx.op("Shape", points, start=0, end=1), ())
        rows = ctx.op("Range", ctx.integers(0), count, ctx.integers(1))
        found = in_chunks(ctx, rows, 1, search)
        return found[0], found[1]


def _double(ctx: GraphContext, value: float | NDArray[np.float64]) -> Value:
    return ctx.constant(np.asarray(value, np.float64))


def _finish(graph: GraphBuilder, results: Found) -> None:
    for value in results:
        graph.add_result(value)
