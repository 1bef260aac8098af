import math

import numpy as np
import onnx_ir as ir
import onnxruntime as ort
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from windfall.graph.builder import LARGEST_GRAPH, LARGEST_TENSOR, GraphBuilder, build_model
from windfall.graph.shapes import ShapeError, shape

F32 = ir.DataType.FLOAT


def run(graph, feeds, *outputs):
    """Compute values of a graph with ONNX Runtime itself."""
    for value in outputs:
        if value not in graph.graph.outputs:
            graph.graph.outputs.append(value)
    proto = ir.to_proto(build_model(graph.graph)).SerializeToString()
    return ort.InferenceSession(proto, providers=["CPUExecutionProvider"]).run([v.name for v in outputs], feeds)


def error_of(function):
    with pytest.raises(ShapeError) as error:
        function()
    return str(error.value)


def test_shapes_are_known_as_soon_as_a_node_exists():
    graph = GraphBuilder("g")
    x = graph.input("x", F32, (2, 3, "W"))
    assert shape(x) == (2, 3, None)
    assert shape(graph.op("Transpose", x, perm=[2, 0, 1])) == (None, 2, 3)
    assert shape(graph.op("ReduceSum", x, graph.constant(np.array([0])), keepdims=0)) == (3, None)


def test_names_stay_unique_and_carry_the_prefix():
    graph = GraphBuilder("g")
    graph.prefix = "layer"
    x = graph.input("x", F32, (2,))
    first, second = graph.op("Relu", x), graph.op("Relu", x)
    assert first.name == "layer.Relu:0"
    assert len({first.name, second.name, x.name}) == 3
    renamed = graph.rename(first, "y")
    assert renamed is first
    assert first.name == "y"
    assert graph.rename(first, "z") is not first


@given(st.lists(st.sampled_from(["a", "a~1", "a~1~1", "b", "a~2"]), max_size=12))
@settings(deadline=None, max_examples=50)
def test_unique_names_are_unique(names):
    graph = GraphBuilder("g")
    given_out = [graph.unique(name) for name in names]
    assert len(set(given_out)) == len(names)


def test_equal_small_constants_are_one():
    graph = GraphBuilder("g")
    assert graph.constant(np.float32(1)) is graph.constant(np.float32(1))
    assert graph.constant(np.float32(1)) is not graph.constant(np.int64(1))
    assert graph.constant(np.float32([1])) is not graph.constant(np.float32(1))
    assert graph.constant(np.zeros(100)) is not graph.constant(np.zeros(100))


@given(
    lead=st.lists(st.integers(1, 3), max_size=3),
    planes=st.tuples(*[st.integers(1, 4)] * 3),
    symbolic=st.booleans(),
)
@settings(deadline=None, max_examples=40)
def test_planes_and_restore_are_inverse(lead, planes, symbolic):
    dims = (*lead, *planes)
    declared = tuple(f"d{i}" if symbolic and i < len(lead) else size for i, size in enumerate(dims))
    graph = GraphBuilder("g")
    x = graph.input("x", F32, declared)
    flat = graph.planes(x)
    assert len(shape(flat)) == 4
    assert shape(flat)[1:] == planes
    back = graph.restore(graph.op("Neg", flat), like=x)
    assert graph.planes(back) is graph.known_planes(back)
    values = np.random.default_rng(0).standard_normal(dims).astype(np.float32)
    got_flat, got = run(graph, {"x": values}, graph.op("Identity", flat), back)
    np.testing.assert_array_equal(got_flat, values.reshape(-1, *planes))
    np.testing.assert_array_equal(got, -values)


@given(hnp.array_shapes(min_dims=1, max_dims=4, max_side=4), st.data())
@settings(deadline=None, max_examples=40)
def test_reshape_works_out_one_size(dims, data):
    graph = GraphBuilder("g")
    x = graph.input("x", F32, dims)
    count = math.prod(dims)
    first = data.draw(st.sampled_from([n for n in range(1, count + 1) if count % n == 0]))
    y = graph.reshape(x, first, [-1])
    assert shape(y) == (first, count // first)


def test_a_reshaped_size_is_still_known():
    graph = GraphBuilder("g")
    count = graph.reshape(graph.constant(np.array([7])), ())
    assert shape(count) == ()
    assert shape(graph.op("Range", graph.constant(0), count, graph.constant(1))) == (7,)
    large = graph.constant(np.zeros((100, 2)))
    assert graph.reshape(large, -1).const_value is None


@pytest.mark.parametrize(
    ("target", "text"),
    [
        ([5], "a tensor of shape [2, 3] cannot be reshaped to [5]"),
        ([4, -1], "a tensor of shape [2, 3] cannot be reshaped to [4, -1]"),
        ([0, -1], "a tensor of shape [2, 3] cannot be reshaped to [0, -1]"),
        ([-2, -3], "a tensor of shape [2, 3] cannot be reshaped to [-2, -3]"),
        ([-1, -1], "a tensor of shape [2, 3] cannot be reshaped to [-1, -1]"),
        ([2**40, 2**40], f"a tensor of shape [2, 3] cannot be reshaped to [{2**40}, {2**40}]"),
    ],
)
def test_a_reshape_that_does_not_fit_is_refused(target, text):
    graph = GraphBuilder("g")
    x = graph.input("x", F32, (2, 3))
    assert error_of(lambda: graph.reshape(x, target)) == text


def test_a_tensor_that_is_too_large_is_refused():
    graph = GraphBuilder("g")
    x = graph.input("x", F32, (1,))
    assert error_of(lambda: graph.op("Expand", x, graph.constant(np.array([2**20, 2**20])))) == (
        f"a tensor of shape [{2**20}, {2**20}] needs {2**42:,} bytes, must be at most {LARGEST_TENSOR:,}"
    )
    graph.op("Expand", x, graph.constant(np.array([2**30])))


def test_unknown_sizes_do_not_hide_large_ones():
    graph = GraphBuilder("g")
    x = graph.input("x", F32, ("N", 1))
    assert error_of(lambda: graph.op("Tile", x, graph.constant(np.array([1, 2**40])))) == (
        f"a tensor of shape [None, {2**40}] needs {2**42:,} bytes, must be at most {LARGEST_TENSOR:,}"
    )


def test_a_graph_that_is_too_large_is_refused():
    graph = GraphBuilder("g")
    x = graph.op("Expand", graph.input("x", F32, (1,)), graph.constant(np.array([2**30])))

    def grow():
        for _ in range(100):
            graph.op("Relu", x)

    needs = LARGEST_GRAPH + LARGEST_TENSOR
    assert error_of(grow) == (
        f"the tensors up to here need {needs:,} bytes together, must be at most {LARGEST_GRAPH:,}"
    )


def test_inputs_that_do_not_fit_are_refused_in_one_line():
    graph = GraphBuilder("g")
    x, y = graph.input("x", F32, (2, 3)), graph.input("y", F32, (4, 5))
    text = error_of(lambda: graph.op("Add", x, y))
    assert text == "Incompatible dimensions"
    assert "Incompatible dimensions for matrix multiplication" in error_of(lambda: graph.op("MatMul", x, y))


def test_numbers_beyond_64_bits_are_refused():
    graph = GraphBuilder("g")
    x = graph.input("x", F32, (2, 3))
    with pytest.raises((ShapeError, OverflowError, ValueError)):
        graph.op("Softmax", x, axis=2**64)


def test_a_value_of_unknown_rank_has_no_shape():
    value = ir.Value(name="x")
    assert error_of(lambda: shape(value)) == "the rank of 'x' is known only at run time"


def test_a_shape_given_as_a_value_still_has_a_rank():
    graph = GraphBuilder("g")
    x, target = graph.input("x", F32, (6,)), graph.input("target", ir.DataType.INT64, (2,))
    assert shape(graph.op("Reshape", x, target)) == (None, None)
