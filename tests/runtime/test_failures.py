"""What fails at run time is named as in the model, with a reason and without ONNX Runtime's sources."""

import time
from typing import Any

import numpy as np
import pytest

import windfall
from tests.support import fill, run_layer
from windfall.graph.rules import CHECKS
from windfall.runtime.failures import compile_error, layer_of, run_error
from windfall.spec.proto import Model_pb2

X = np.ones((2, 3))
ADVICE = "; check the sizes and values of the inputs"


def model(layers: list[dict[str, Any]], inputs: dict[str, Any]) -> Any:
    """Return a network with an output ``y``."""
    spec = Model_pb2.Model(specificationVersion=5)
    spec.neuralNetwork.arrayInputShapeMapping = 1
    for name, value in inputs.items():
        array = {"shape": list(np.shape(value)), "dataType": "FLOAT32"}
        fill(spec.description.input.add(name=name), {"type": {"multiArrayType": array}})
    fill(spec.description.output.add(name="y"), {"type": {"multiArrayType": {"dataType": "FLOAT32"}}})
    for fields in layers:
        fill(spec.neuralNetwork.layers.add(), fields)
    return spec


def failure(layers: list[dict[str, Any]], **inputs: Any) -> str:
    with pytest.raises(windfall.EngineError) as info:
        windfall.load(model(layers, inputs), threads=1).predict(
            {name: np.asarray(value, np.float32) for name, value in inputs.items()}
        )
    return str(info.value)


def counted(count: str, *, axis: int | None = None) -> list[dict[str, Any]]:
    """Return layers that make ``<count>s``, as many numbers as an input says, along axis 0 of 1 or ``axis`` of 2."""
    result = f"{count}s" if axis is None else f"{count}_row"
    layers: list[dict[str, Any]] = [
        {"name": f"range_{count}", "input": [count], "output": [result], "rangeDynamic": {"stepSizeValue": 1}}
    ]
    if axis is not None:
        layers.append({"name": "e", "input": [result], "output": [f"{count}s"], "expandDims": {"axes": [1 - axis]}})
    return layers


BROADCAST = "attempting to broadcast an axis by a dimension other than 1. 3 by 4"
MISMATCH = "non concat axis dimensions must match: Axis 1 has mismatched dimensions of 4 and 3"
JOINED: list[tuple[str, dict[str, Any], int | None, str, str]] = [
    ("addBroadcastable", {}, None, "Add", BROADCAST),
    ("lessThan", {}, None, "Less", BROADCAST),
    ("stack", {}, None, "Concat", MISMATCH),
    ("concatND", {}, 1, "Concat", MISMATCH),
    ("batchedMatmul", {}, 1, "MatMul", "MatMul dimension mismatch"),
]


@pytest.mark.parametrize(("kind", "fields", "axis", "operator", "reason"), JOINED)
def test_sizes_that_do_not_fit_each_other(
    kind: str, fields: dict[str, Any], axis: int | None, operator: str, reason: str
) -> None:
    joined = {"name": "joined", "input": ["ns", "ms"], "output": ["y"], kind: fields}
    text = failure([*counted("n", axis=axis), *counted("m", axis=axis), joined], n=[3], m=[4])
    assert text == f"'joined' ({operator}) failed at run time: {reason}{ADVICE}"


RESHAPED = "the input tensor cannot be reshaped to the requested shape. Input shape:[2, 3], requested shape:[4, 2]"
BEYOND = "indices element out of data bounds, idx=2 must be within the inclusive range [-2,1]"
ALONE: list[tuple[str, dict[str, Any], Any, str]] = [
    (
        "reshapeDynamic",
        {},
        [4, 2],
        "(Reshape) failed at run time: " + RESHAPED,
    ),
    ("reshapeDynamic", {}, [-1, -1], "(Reshape) failed at run time: at most one dimension can be -1"),
    ("broadcastToDynamic", {}, [4, 3], "(Expand) failed at run time: invalid expand shape"),
    ("tile", {}, [-1, 1], "(Tile) failed at run time: tile repeat value must be non-negative, got: -1"),
    ("constantPad", {}, [-3, 0, 0, 0], "(Pad) failed at run time: tensor shape.Size() must be >= 0"),
    (
        "gather",
        {},
        [2],
        "(Gather) failed at run time: " + BEYOND,
    ),
]  # fmt: skip


@pytest.mark.parametrize(("kind", "fields", "numbers", "text"), ALONE)
def test_numbers_that_are_impossible(kind: str, fields: dict[str, Any], numbers: Any, text: str) -> None:
    layer = {"name": "alone", "input": ["x", "numbers"], "output": ["y"], kind: fields}
    assert failure([layer], x=X, numbers=numbers) == f"'alone' {text}{ADVICE}"


def test_a_window_that_is_longer_than_its_axis() -> None:
    windows = {"name": "w", "input": ["ns"], "output": ["y"], "slidingWindows": {"windowSize": 5, "step": 1}}
    assert failure([*counted("n"), windows], n=[3]).startswith(
        "'w' (Gather) failed at run time: indices element out of"
    )


def test_a_stride_of_zero() -> None:
    layer = {"name": "s", "input": ["x", "begin", "end", "strides"], "output": ["y"], "sliceDynamic": {}}
    text = failure([layer], x=X, begin=[0, 0], end=[1, 1], strides=[1, 0])
    assert text == f"'s' (Slice) failed at run time: 'step' value cannot be 0{ADVICE}"


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("block.1/conv", "'block.1/conv'"),
        ("it's", '"it\'s"'),
        ("two\nlines", "'two lines'"),
        ("a' Status Message: b", '"a\' Status Message: b"'),
        ("\x1b[31mred", r"'\x1b[31mred'"),
        ("", "a node of the graph"),
    ],
)
def test_names_of_layers(name: str, shown: str) -> None:
    layer = {"name": name, "input": ["x", "numbers"], "output": ["y"], "gather": {}}
    assert failure([layer], x=X, numbers=[2]).startswith(f"{shown} (Gather) failed at run time: indices element")


@pytest.mark.parametrize("depth", [1, 2])
def test_a_layer_inside_of_others_is_named(depth: int) -> None:
    layers = [{"name": "inner", "input": ["x", "numbers"], "output": ["y"], "gather": {}}]
    for level in range(depth):
        other = [{"name": "other", "input": ["x"], "output": ["y"], "copy": {}}]
        networks = {"ifBranch": {"layers": layers}, "elseBranch": {"layers": other}}
        layers = [{"name": f"branch_{level}", "input": ["one"], "branch": networks}]
    assert failure(layers, x=X, numbers=[2], one=[1]).startswith("'inner' (Gather) failed at run time: indices element")


def test_a_layer_inside_of_a_loop_is_named() -> None:
    inner = {"name": "inner", "input": ["x", "numbers"], "output": ["taken"], "gather": {}}
    back = {"name": "back", "input": ["taken"], "output": ["x"], "copy": {}}
    body = {"bodyNetwork": {"layers": [inner, back]}, "maxLoopIterations": 2}
    layers = [
        {"name": "start", "input": ["x0"], "output": ["x"], "copy": {}},
        {"name": "loop", "loop": body},
        {"name": "end", "input": ["x"], "output": ["y"], "copy": {}},
    ]
    assert failure(layers, x0=X, numbers=[2, 0]).startswith("'inner' (Gather) failed at run time: indices element")


# As ONNX Runtime's builds for Linux, macOS and Windows write it.
CHECK = "input_shape_size == requested_shape_size was false. The input tensor cannot be reshaped."
CANNOT = "the input tensor cannot be reshaped"
THROWN = "GatherElements op: Out of range value in index tensor\n"
OUT_OF_RANGE = "out of range value in index tensor"
RUNNING = "[ONNXRuntimeError] : 1 : FAIL : Non-zero status code returned while running"
SIZE = "virtual OrtValue* onnxruntime::OpKernelContext::Output(int) [ONNXRuntimeError] : 1 : FAIL : tensor.cc:57 Size "


@pytest.mark.parametrize(
    ("node", "place", "text", "expected"),
    [
        ("Reshape", "/src/reshape_helper.h:91 onnxruntime::Helper::Helper(const Shape&, bool) ", CHECK, CANNOT),
        ("Reshape", r"D:\a\_work\1\s\reshape_helper.h:91 onnxruntime::Helper::Helper ", CHECK, CANNOT),
        (
            "GatherElements",
            "/src/g.cc:1 void onnxruntime::f(const T*) [with T = long; U = long] ",
            THROWN,
            OUT_OF_RANGE,
        ),
        ("GatherElements", "/Users/s/g.cc:1 void onnxruntime::f(void (*)(int)) const [T = int] ", THROWN, OUT_OF_RANGE),
        ("GatherElements", r"D:\s\g.cc:1 onnxruntime::f ", THROWN, OUT_OF_RANGE),
        ("MatMul", "matmul_helper.h:59 Compute ", "MatMul dimension mismatch", "MatMul dimension mismatch"),
        ("Pad", f"/src/op_kernel.cc:87 {SIZE}", "Tensor shape must be >= 0", "tensor shape must be >= 0"),
        ("Slice", "/src/slice.cc:9 onnxruntime::f() ", "size > 0 was false.\n", "size > 0 was false"),
        ("Slice", "/src/slice.cc:9 onnxruntime::f() ", "", "no reason is given (RuntimeError)"),
        ("Slice", "/src/slice.cc:9 odd onnxruntime::thing", " here", "no reason is given (RuntimeError)"),
        ("Slice", "", "a" * 500, "a" * 297 + "..."),
    ],
)
def test_reasons_are_without_the_sources(node: str, place: str, text: str, expected: str) -> None:
    error = RuntimeError(f"{RUNNING} {node} node. Name:'layer.{node}~1' Status Message: {place}{text}")
    assert run_error(error) == f"'layer' ({node}) failed at run time: {expected}{ADVICE}"


@pytest.mark.parametrize(
    ("name", "layer"),
    [
        ("conv1.Conv", "conv1"),
        ("a.b.Reshape~2", "a.b"),
        ("fused conv1.Conv", "conv1"),
        ("conv1.Conv_token_12", "conv1"),
        ("relu1_nchwc", "relu1"),
        ("conv1.Conv:0_nchwc", "conv1"),
        ("ReorderOutput_token_3", ""),
        ("Transpose", ""),
        ("", ""),
    ],
)
def test_nodes_that_onnx_runtime_made_of_others(name: str, layer: str) -> None:
    assert layer_of(name) == layer


def test_a_node_of_onnx_runtimes_own() -> None:
    text = run_error(RuntimeError(f"{RUNNING} ReorderOutput node. Name:'ReorderOutput_token_3' Status Message: no"))
    assert text == f"a node of the graph (ReorderOutput) failed at run time: no{ADVICE}"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            "1 : FAIL : Node (conv.1.Conv) Op (Conv) [ShapeInferenceError] Attribute strides has incorrect size",
            "cannot compile 'conv.1' (Conv): attribute strides has incorrect size; check its parameters",
        ),
        (
            '10 : INVALID_GRAPH : This is an invalid model. In Node, ("l.New", New, "", -1) : () , Error No Op',
            "cannot compile 'l' (New): No Op; check its parameters",
        ),
        (
            "1 : FAIL : Exception during initialization: /src/p.h:2 onnxruntime::P(const I&) [with I = int] Invalid",
            "cannot compile the model: invalid",
        ),
        (
            "1 : FAIL : Type Error: Type (tensor(float)) of output arg (a) of node (l.T) is wrong.",
            "cannot compile the model: Type Error: Type (tensor(float)) of output arg (a) of node (l.T) is wrong",
        ),
        ("1 : FAIL : ", "cannot compile the model: no reason is given (RuntimeError)"),
    ],
)
def test_what_cannot_be_compiled(text: str, expected: str) -> None:
    assert compile_error(RuntimeError(f"[ONNXRuntimeError] : {text}")) == f"ONNX Runtime {expected}"


def test_failures_outside_of_nodes() -> None:
    text = "[ONNXRuntimeError] : 2 : INVALID_ARGUMENT : Invalid rank for input: x Got: 5 Expected: 4"
    assert run_error(RuntimeError(text)) == "ONNX Runtime failed: invalid rank for input: x Got: 5 Expected: 4"


@pytest.mark.parametrize("code", sorted(CHECKS))
@pytest.mark.parametrize("number", ["", "~1"])
def test_a_check_in_the_graph(code: str, number: str) -> None:
    text = f"{RUNNING} Gather node. Name:'a.b/scaler.check_{code}{number}' Status Message: indices element out of"
    assert run_error(RuntimeError(text)) == f"'a.b/scaler' {CHECKS[code]}"


@pytest.mark.parametrize(
    ("node", "operator"),
    [("a.check_integer.Gather", "Gather"), ("a.check_integer", "Cast"), ("a.check_none", "Gather")],
)
def test_a_name_like_that_of_a_check_is_none(node: str, operator: str) -> None:
    text = run_error(RuntimeError(f"{RUNNING} {operator} node. Name:'{node}' Status Message: no"))
    assert text == f"{node.rpartition('.')[0]!r} ({operator}) failed at run time: no{ADVICE}"


def test_a_name_like_that_of_a_loop_without_end_is_no_loop() -> None:
    text = f"{RUNNING} Gather node. Name:'a.iterations_at_most_9.Gather' Status Message: no"
    assert run_error(RuntimeError(text)).startswith("'a.iterations_at_most_9' (Gather) failed at run time: no")


@pytest.mark.parametrize(
    "part",
    ["running Gather node. Name:'", "Node (", 'In Node, ("', "/", "[ONNXRuntimeError] : 1 : FAIL : ", "_token_1", "a(",
     " was false. ", ".iterations_at_most_1", ".check_integer",
     "check_integer~1", "' Status Message: ", "a:1 ", ".x:1", "{1,", "fused "],
)  # fmt: skip
def test_hostile_names_take_no_time(part: str) -> None:
    name = part * (300_000 // len(part))
    start = time.perf_counter()
    run_error(RuntimeError(f"{RUNNING} Gather node. Name:'{name}.Gather' Status Message: {name}"))
    compile_error(RuntimeError(f"[ONNXRuntimeError] : 1 : FAIL : Node ({name}.X) Op (X) [S] {name}"))
    compile_error(RuntimeError(name))
    assert time.perf_counter() - start < 2


def test_run_layer_names_the_layer() -> None:
    with pytest.raises(windfall.EngineError, match=r"^'layer' \(ScatterElements\) failed at run time"):
        run_layer("scatter", X, [2], [[1, 1, 1]])
