"""Each rule is compared with ONNX Runtime: items computed together must be what each alone is."""

import numpy as np
import onnx
import onnx_ir as ir
import onnxruntime as ort
import pytest
from onnx import parser, shape_inference

from windfall.streams.stacking import output_axes

COUNT = 5
HEADER = '<ir_version: 8, opset_import: ["" : 18]>'
IMAGE, ROW = "N,4,6,6", "N,4"


def graph_of(body, dims, count):
    """Return a model with an input x; N in the text is the number of items."""
    text = f"{HEADER} g (float[{dims}] x) => (float y) {{ {body} }}"
    text = text.replace("[N", f"[{count}").replace("{N", f"{{{count}").replace(",N", f",{count}")
    model = parser.parse_model(text)
    model.graph.output[0].type.tensor_type.ClearField("shape")
    return shape_inference.infer_shapes(model, strict_mode=True, data_prop=True)


def run(model, x):
    session = ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return session.run(None, {"x": x})[0]


PADS = (
    "p = Constant<value = int64[2] {1,2}>() e = Constant<value = float {0.5}>() a = Constant<value = int64[1] {-1}>() "
)
ENDS = "b = Constant<value = int64[1] {1}>() e = Constant<value = int64[1] {3}>() a = Constant<value = int64[1] {2}>() "
APART = [
    ("y = Relu(x)", IMAGE, 0),
    ("y = Add(x, x)", IMAGE, 0),
    ("c = Constant<value = float[4] {1,2,3,4}>() y = Mul(x, c)", ROW, 0),
    ("c = Constant<value = float[1,4] {1,2,3,4}>() y = Sub(c, x)", ROW, 0),
    ("y = MaxPool<kernel_shape=[2,2]>(x)", IMAGE, 0),
    ("y = GlobalAveragePool(x)", IMAGE, 0),
    ("y = Transpose<perm=[2,0,3,1]>(x)", IMAGE, 1),
    ("y = Transpose(x)", ROW, 1),
    ("y = Softmax<axis=1>(x)", IMAGE, 0),
    ("y = LpNormalization(x)", IMAGE, 0),
    ("a = Constant<value = int64[2] {2,3}>() y = ReduceMean<keepdims=0>(x, a)", IMAGE, 0),
    ("t = Transpose<perm=[1,0,2,3]>(x) a = Constant<value = int64[1] {0}>() y = ReduceSum<keepdims=0>(t, a)", IMAGE, 0),
    ("s = Constant<value = int64[2] {0,-1}>() y = Reshape(x, s)", IMAGE, 0),
    ("s = Constant<value = int64[3] {1,N,-1}>() y = Reshape(x, s)", IMAGE, 1),
    ("y = Flatten(x)", IMAGE, 0),
    ("a = Constant<value = int64[1] {0}>() y = Unsqueeze(x, a)", IMAGE, 1),
    ("w = Constant<value = float[4,2] {1,2,3,4,5,6,7,8}>() y = MatMul(x, w)", ROW, 0),
    ("w = Constant<value = float[4,2] {1,2,3,4,5,6,7,8}>() y = Gemm(x, w)", ROW, 0),
    ("z = Relu(x) y = Concat<axis=1>(x, z)", IMAGE, 0),
    ("p = Constant<value = int64[8] {0,0,1,2,0,0,3,0}>() y = Pad(x, p)", IMAGE, 0),
    (PADS + "y = Pad(x, p, e, a)", IMAGE, 0),
    (ENDS + "y = Slice(x, b, e, a)", IMAGE, 0),
    ("i = Constant<value = int64[3] {2,1,0}>() y = Gather<axis=1>(x, i)", IMAGE, 0),
    ("t = Transpose<perm=[1,0,2,3]>(x) i = Constant<value = int64[1,2] {2,1}>() y = Gather<axis=0>(t, i)", IMAGE, 2),
    ("y = DepthToSpace<blocksize=2>(x)", IMAGE, 0),
]  # fmt: skip


@pytest.mark.parametrize(("body", "dims", "axis"), APART)
def test_items_that_stay_apart(body, dims, axis):
    many, one = graph_of(body, dims, COUNT), graph_of(body, dims, 1)
    assert output_axes(ir.from_proto(many).graph, {"x": 0}, COUNT) == [axis]
    shape = [COUNT, *map(int, dims.split(",")[1:])]
    x = np.random.default_rng(0).normal(size=shape).astype(np.float32)
    parts = np.split(run(many, x), COUNT, axis)
    for part, item in zip(parts, np.split(x, COUNT), strict=True):
        np.testing.assert_allclose(part, run(one, item), rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize(
    ("body", "dims"),
    [
        ("c = Constant<value = float[N] {1,2,3,4,5}>() t = Transpose(x) y = Mul(t, c)", ROW),
        ("y = Softmax<axis=0>(x)", IMAGE),
        ("t = Transpose<perm=[1,0,2,3]>(x) y = MaxPool<kernel_shape=[2,2]>(t)", IMAGE),
        ("a = Constant<value = int64[1] {0}>() y = ReduceMean(x, a)", IMAGE),
        ("y = ReduceSum(x)", IMAGE),
        ("s = Constant<value = int64[2] {4,-1}>() y = Reshape(x, s)", IMAGE),
        ("t = Transpose(x) z = Add(t, t) y = MatMul(z, x)", ROW),
        ("t = Transpose(x) w = Constant<value = float[N,1] {1,2,3,4,5}>() y = MatMul(t, w)", ROW),
        ("z = Relu(x) y = Concat<axis=0>(x, z)", IMAGE),
        ("c = Constant<value = float[1,4] {1,2,3,4}>() y = Concat<axis=0>(x, c)", ROW),
        ("p = Constant<value = int64[4] {1,0,0,0}>() y = Pad(x, p)", ROW),
        ("i = Constant<value = int64[1] {2}>() y = Gather<axis=0>(x, i)", ROW),
        ("b = Constant<value = int64[1] {1}>() e = Constant<value = int64[1] {3}>() y = Slice(x, b, e)", ROW),
        ("a = Constant<value = int64 {0}>() y = CumSum(x, a)", ROW),
        ("s = Shape(x) y = Cast<to=1>(s)", ROW),
        ("y = Constant<value = float[2] {1,2}>()", ROW),
        ("t = Transpose(x) y = Add(t, x)", "N,5"),
    ],
)
def test_items_that_are_mixed_or_may_be(body, dims):
    many = graph_of(body, dims, COUNT)
    onnx.checker.check_model(many)
    assert output_axes(ir.from_proto(many).graph, {"x": 0}, COUNT) is None
