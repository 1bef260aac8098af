"""Each rule is compared with ONNX Runtime: items computed together must be what each alone is."""

import numpy as np
import onnx
import onnx_ir as ir
import onnxruntime as ort
import pytest
from onnx import parser, shape_inference

from windfall.streams.stacking import stack_items

COUNT = 5
HEADER = '<ir_version: 10, opset_import: ["" : 23]>'
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


def assert_shapes(model):
    """All shapes must be what follows from those of the inputs."""
    bare = onnx.ModelProto.FromString(model.SerializeToString())
    del bare.graph.value_info[:]
    bare.graph.output[0].type.tensor_type.ClearField("shape")
    found = shape_inference.infer_shapes(bare, strict_mode=True, data_prop=True).graph
    expected = {value.name: value.type.tensor_type for value in [*found.value_info, *found.output]}
    for value in [*model.graph.value_info, *model.graph.output]:
        if value.name in expected and value.type.tensor_type.HasField("shape"):
            assert value.type.tensor_type.shape == expected[value.name].shape, value.name


WEIGHTS = " ".join(
    f"{name} = ConstantOfShape<value = float[1] {{{value}}}>({name}_dims)"
    for name, value in {"w": 0.3, "r": -0.2, "b": 0.1}.items()
)
LSTM = (
    "w_dims = Constant<value = int64[3] {1,8,6}>() r_dims = Constant<value = int64[3] {1,8,2}>() "
    f"b_dims = Constant<value = int64[2] {{1,16}}>() {WEIGHTS} a = Constant<value = int64[1] {{2}}>() "
    "z = ReduceMax<keepdims=0>(x, a) s = Transpose<perm=[1,0,2]>(z) zero = Constant<value = int64[1] {0}>() "
    "one = Constant<value = int64[1] {1}>() two = Constant<value = int64[1] {2}>() "
)
WITH_STATES = (
    LSTM + "h = Slice(s, zero, one, zero) f = Slice(h, zero, two, two) "
    "y, k, l = LSTM<hidden_size=2>(s, w, r, b, , f, f)"
)
INDICES = (
    "t = Constant<value = float[3] {1,2,3}>() i = Cast<to=7>(x) o = Constant<value = int64 {0}>() z = Mul(i, o) "
    "y = Gather(t, z)"
)
STEPS = "s = Constant<value = float[1] {0.1}>() q = QuantizeLinear<axis=0>(x, s) y = DequantizeLinear<axis=0>(q, s)"
PADS = (
    "p = Constant<value = int64[2] {1,2}>() e = Constant<value = float {0.5}>() a = Constant<value = int64[1] {-1}>() "
)
MASK = "d = Constant<value = int64[4] {1,1,6,6}>() m = ConstantOfShape<value = float[1] {0.5}>(d) "
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
    ("s = Constant<value = int64[3] {1,1,-1}>() y = Reshape(x, s)", IMAGE, 0),
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
    ("s = Constant<value = int64[3] {1,2,-1}>() y = Reshape(x, s)", IMAGE, 0),
    ("s = Constant<value = int64[3] {-1,4,36}>() y = Reshape(x, s)", IMAGE, 0),
    ("t = Transpose<perm=[1,0,2,3]>(x) s = Constant<value = int64[3] {4,1,36}>() y = Reshape(t, s)", IMAGE, 1),
    ("y = Flatten<axis=-3>(x)", IMAGE, 0),
    ("a = Constant<value = int64[1] {-1}>() y = Unsqueeze(x, a)", IMAGE, 0),
    ("a = Constant<value = int64[1] {1}>() z = ReduceMax(x, a) y = Squeeze(z, a)", IMAGE, 0),
    ("t = Transpose<perm=[0,1,3,2]>(x) y = MatMul(t, x)", IMAGE, 0),
    ("n = Constant<value = int64[4] {1,4,3,9}>() y = Resize<mode=\"nearest\">(x, , , n)", IMAGE, 0),
    ("n = Constant<value = int64[2] {3,9}>() y = Resize<mode=\"linear\", axes=[2,3]>(x, , , n)", IMAGE, 0),
    (INDICES, ROW, 0),
    ("s = Constant<value = float {0.1}>() q = QuantizeLinear(x, s) y = DequantizeLinear(q, s)", IMAGE, 0),
    (WITH_STATES, IMAGE, 2),
    ("y = Attention(x, x, x)", IMAGE, 0),
    (MASK + "y = Attention(x, x, x, m)", IMAGE, 0),
    ("m = Abs(x) y = Attention(x, x, x, m)", IMAGE, 0),
    ("z = Neg(x) y, k, v = Attention(x, x, x, , x, z)", IMAGE, 0),
    ("y = Attention<q_num_heads=2, kv_num_heads=2>(x, x, x)", "N,4,6", 0),
    ("s = Constant<value = int64[3] {1,2,4}>() y = Expand(x, s)", "N,1,4", 0),
    ("s = Constant<value = int64[4] {2,1,2,4}>() y = Expand(x, s)", "N,1,4", 1),
]  # fmt: skip


@pytest.mark.parametrize(("body", "dims", "axis"), APART)
def test_items_that_stay_apart(body, dims, axis):
    one = graph_of(body, dims, 1)
    graph = ir.from_proto(one)
    assert stack_items(graph.graph, {"x": 0}, COUNT) == [axis]
    many = ir.to_proto(graph)
    assert_shapes(many)
    shape = [COUNT, *map(int, dims.split(",")[1:])]
    x = np.random.default_rng(0).normal(size=shape).astype(np.float32)
    parts = np.split(run(many, x), COUNT, axis)
    for part, item in zip(parts, np.split(x, COUNT), strict=True):
        np.testing.assert_allclose(part, run(one, item), rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize(
    ("body", "dims"),
    [
        ("c = Constant<value = float[5] {1,2,3,4,5}>() t = Transpose(x) y = Mul(t, c)", ROW),
        ("y = Softmax<axis=0>(x)", IMAGE),
        ("t = Transpose<perm=[1,0,2,3]>(x) y = MaxPool<kernel_shape=[2,2]>(t)", IMAGE),
        ("a = Constant<value = int64[1] {0}>() y = ReduceMean(x, a)", IMAGE),
        ("y = ReduceSum(x)", IMAGE),
        ("s = Constant<value = int64[2] {4,-1}>() y = Reshape(x, s)", IMAGE),
        ("t = Transpose(x) z = Add(t, t) y = MatMul(z, x)", ROW),
        ("t = Transpose(x) w = Constant<value = float[1,5] {1,2,3,4,5}>() y = MatMul(t, w)", ROW),
        ("z = Relu(x) y = Concat<axis=0>(x, z)", IMAGE),
        ("c = Constant<value = float[1,4] {1,2,3,4}>() y = Concat<axis=0>(x, c)", ROW),
        ("p = Constant<value = int64[4] {1,0,0,0}>() y = Pad(x, p)", ROW),
        ("i = Constant<value = int64[1] {2}>() y = Gather<axis=0>(x, i)", ROW),
        ("b = Constant<value = int64[1] {1}>() e = Constant<value = int64[1] {3}>() y = Slice(x, b, e)", ROW),
        ("a = Constant<value = int64 {0}>() y = CumSum(x, a)", ROW),
        ("s = Shape(x) y = Cast<to=1>(s)", ROW),
        ("y = Constant<value = float[2] {1,2}>()", ROW),
        ("t = Transpose(x) y = Add(t, x)", "N,5"),
        ("a = Constant<value = int64[1] {0}>() z = Squeeze(x, a) y = Relu(z)", ROW),
        ("a = Constant<value = int64[1] {1}>() z = ReduceMax(x, a) y = Squeeze(z)", ROW),
        ("y = Flatten<axis=0>(x)", IMAGE),
        ("s = Constant<value = int64[2] {2,72}>() y = Reshape(x, s)", IMAGE),
        ("s = Constant<value = int64[2] {3,4}>() y = Expand(x, s)", ROW),
        (STEPS, ROW),
        ("s = Constant<value = int64[3] {2,2,4}>() y = Expand(x, s)", "N,1,4"),
        ("t = Transpose<perm=[1,0,2,3]>(x) y = Attention(t, t, t)", IMAGE),
        (MASK + "y = Attention(m, x, x)", "N,1,6,6"),
        ("t = Transpose<perm=[1,0,2,3]>(x) y = Attention(x, x, x, t)", "N,1,6,6"),
        (LSTM + "y, k, l = LSTM<hidden_size=2>(z, w, r, b)", IMAGE),
    ],
)
def test_items_that_are_mixed_or_may_be(body, dims):
    one = graph_of(body, dims, 1)
    onnx.checker.check_model(one)
    assert stack_items(ir.from_proto(one).graph, {"x": 0}, COUNT) is None
