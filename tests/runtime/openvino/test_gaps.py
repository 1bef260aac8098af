"""The same graphs through both engines; what OpenVINO is not given; its errors."""

import logging
import subprocess
import sys
from multiprocessing.pool import ThreadPool
from pathlib import Path
from typing import Any

import numpy as np
import onnx_ir as ir
import pytest
from PIL import Image

import windfall
from tests.support import layer_spec
from windfall.errors import EngineError
from windfall.graph.builder import GraphBuilder, build_model
from windfall.lowering.neural_network.layers import LOWERINGS
from windfall.runtime.engine import EngineOptions, engine_named
from windfall.runtime.failures import openvino_reason
from windfall.runtime.openvino.gaps import CONDITIONS, OPERATORS, REASONS
from windfall.runtime.serialize import serialize
from windfall.runtime.serialized import SerializedModel

openvino = pytest.importorskip("openvino", reason="it is no dependency of other processors")
from windfall.runtime.openvino.program import OpenVino  # noqa: E402  # needs the import above

RNG = np.random.default_rng(0)
X = RNG.normal(size=(2, 4, 6, 7)).astype(np.float32)
ONE = EngineOptions(1)


def graph(operator: str, *inputs: np.ndarray, constants: tuple[Any, ...] = (), **attributes: Any) -> SerializedModel:
    """Return a graph of one node, with inputs x0, x1 .. and output y."""
    made = GraphBuilder("g", [f"x{index}" for index in range(len(inputs))])
    made.prefix = "layer"
    kinds = {np.dtype(np.float32): ir.DataType.FLOAT, np.dtype(np.int32): ir.DataType.INT32}
    values = [made.input(f"x{index}", kinds[array.dtype], array.shape) for index, array in enumerate(inputs)]
    rest = [None if constant is None else made.constant(constant) for constant in constants]
    made.graph.outputs.append(made.rename(made.op(operator, *values, *rest, **attributes), "y"))
    return serialize(build_model(made.graph))


def feeds(*inputs: np.ndarray) -> dict[str, np.ndarray]:
    return {f"x{index}": array for index, array in enumerate(inputs)}


def both(model: SerializedModel, *inputs: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    programs = [engine_named("onnxruntime").compile(model, ONE), OpenVino().compile(model, ONE)]
    one, other = (program.run(feeds(*inputs))[0] for program in programs)
    return one, other


WEIGHTS = RNG.normal(size=(5, 4, 3, 3)).astype(np.float32)
CASES: list[tuple[str, tuple[np.ndarray, ...], tuple[Any, ...], dict[str, Any]]] = [
    ("Conv", (X,), (WEIGHTS, np.arange(5, dtype=np.float32)), {"pads": [1, 2, 0, 1], "strides": [2, 1]}),
    ("ConvTranspose", (X,), (WEIGHTS[:4, :3],), {"strides": [2, 2], "output_padding": [1, 0]}),
    ("MatMul", (X,), (RNG.normal(size=(7, 3)).astype(np.float32),), {}),
    ("Gemm", (X[0, 0],), (RNG.normal(size=(6, 3)).astype(np.float32),), {"transA": 1, "alpha": 0.5}),
    ("MaxPool", (X,), (), {"kernel_shape": [3, 2], "strides": [2, 2], "pads": [1, 0, 1, 1]}),
    ("AveragePool", (X,), (), {"kernel_shape": [3, 2], "pads": [1, 1, 1, 1], "count_include_pad": 0}),
    ("AveragePool", (X,), (), {"kernel_shape": [3, 2], "pads": [1, 1, 1, 1], "count_include_pad": 1}),
    ("InstanceNormalization", (X,), (np.ones(4, np.float32), np.ones(4, np.float32)), {"epsilon": 1e-2}),
    ("LayerNormalization", (X,), (np.ones(7, np.float32),), {"axis": -1}),
    ("Softmax", (X,), (), {"axis": 1}),
    ("ReduceMean", (X,), (np.array([2, 3]),), {"keepdims": 0}),
    ("ReduceLogSumExp", (X,), (np.array([1]),), {}),
    ("Transpose", (X,), (), {"perm": [0, 3, 1, 2]}),
    ("Pad", (X,), (np.array([0, 0, 2, 1, 0, 0, 1, 2]),), {"mode": "reflect"}),
    ("Pad", (X,), (np.array([0, 0, -1, 0, 0, 0, 0, 2]), np.array(0.5, np.float32)), {"mode": "constant"}),
    ("DepthToSpace", (X,), (), {"blocksize": 2, "mode": "CRD"}),
    ("Gather", (X,), (np.array([2, -1, 0]),), {"axis": 1}),
    ("Slice", (X,), (np.array([5]), np.array([-8]), np.array([2]), np.array([-2])), {}),
    ("Round", (np.array([0.5, 1.5, 2.5, -0.5, -2.5], np.float32),), (), {}),
    ("Gelu", (X,), (), {"approximate": "tanh"}),
    ("Pow", (np.abs(X), X), (), {}),
    ("Max", (X,), (np.array(0.5, np.float32),), {}),
    ("Min", (X,), (np.array([[0.5]], np.float32),), {}),
    ("ScatterND", (X,), (np.array([[1], [0]]), -X), {}),
    ("ScatterND", (X,), (np.array([[[1, 3]], [[0, 2]]]), X[:, :1] * 2), {}),
    ("ScatterND", (X,), (np.array([[1, 2, 5, 6], [0, 0, 0, 0]]), np.array([np.nan, -0.0], np.float32)), {}),
    *(
        ("Resize", (X,), (None, None, np.array([2, 4, 9, 5])), {"mode": mode, "coordinate_transformation_mode": place})
        for mode in ("nearest", "linear")
        for place in ("half_pixel", "asymmetric", "align_corners", "pytorch_half_pixel")
    ),
    *(
        ("Resize", (X,), (None, np.array([1, 1, 1.7, 2.3], np.float32)), {"mode": "nearest", "nearest_mode": mode})
        for mode in ("round_prefer_floor", "round_prefer_ceil", "floor", "ceil")
    ),
]


@pytest.mark.parametrize(("operator", "inputs", "constants", "attributes"), CASES, ids=lambda case: str(case)[:20])
def test_both_engines_give_the_same(operator: str, inputs: Any, constants: Any, attributes: Any) -> None:
    one, other = both(graph(operator, *inputs, constants=constants, **attributes), *inputs)
    assert one.dtype == other.dtype
    np.testing.assert_allclose(other, one, rtol=1e-4, atol=1e-5)


EXTREMES = np.array([0, -0.0, 1e-30, 1e30, -1e30, np.inf, -np.inf, 0.5, 88, 89, -88, -104, 1, -1], np.float32)


@pytest.mark.parametrize(
    "operator",
    """
    Abs Acos Acosh Asin Asinh Atan Atanh Ceil Cosh Elu Erf Exp Floor Gelu HardSigmoid HardSwish LeakyRelu Log Mish Neg
    Reciprocal Relu Selu Sigmoid Sign Sinh Softplus Softsign Sqrt Tanh
    """.split(),  # noqa: SIM905  # a block of words is easier to read and to change
)
def test_extreme_numbers_are_the_same(operator: str) -> None:
    one, other = both(graph(operator, EXTREMES), EXTREMES)
    np.testing.assert_allclose(other, one, rtol=1e-4, atol=1e-6)


REFUSED: list[tuple[str, tuple[Any, ...], dict[str, Any], str]] = [
    ("LRN", (), {"size": 3}, "operator LRN: it gives other numbers for some sizes"),
    ("MaxPool", (), {"kernel_shape": [2, 2], "ceil_mode": 1}, "operator MaxPool: it rounds sizes up to windows that"),
    ("HardSigmoid", (), {"beta": 0.0}, "operator HardSigmoid: it takes beta = 0 for the default"),
    ("Selu", (), {"alpha": 0.0}, "operator Selu: it takes alpha = 0 for the default"),
    ("ReduceMax", (np.array([1]),), {}, "operator ReduceMax: it drops NaN, and takes infinity for a number"),
    ("Resize", (None, None, np.array([2, 4, 9, 9])), {"mode": "cubic"}, "operator Resize: its cubic resizing takes"),
    ("Pad", (np.array([0, 0, 1, 1, 0, 0, 1, 1]),), {"mode": "wrap"}, "operator Pad: it has no padding that wraps"),
    ("Gather", (np.array([4]),), {"axis": 1}, "operator Gather: an index is beyond its axis"),
    ("ScatterND", (np.array([[2]]), X[:1]), {}, "operator ScatterND: an index is below 0 or beyond its axis"),
    ("ScatterND", (np.array([[-1]]), X[:1]), {}, "operator ScatterND: an index is below 0 or beyond its axis"),
    ("ScatterND", (np.array([[0], [0]]), X), {}, "operator ScatterND: which of two updates comes last is left open"),
    ("ScatterND", (np.array([[0]]), X[:1]), {"reduction": "add"}, "operator ScatterND: it combines numbers in another"),
    ("Cast", (), {"to": ir.DataType.INT32}, "operator Cast: it casts to whole numbers otherwise"),
    ("Cast", (), {"to": ir.DataType.DOUBLE}, "'y' is not of float32, int32 or bool"),
    ("Hardmax", (), {}, "operator Hardmax: it is not among those that were compared with ONNX Runtime"),
    ("NonZero", (), {}, "the shape of 'y' is empty, or is known only at run time"),
]


@pytest.mark.parametrize(("operator", "constants", "attributes", "reason"), REFUSED, ids=lambda case: str(case)[:16])
def test_what_openvino_computes_otherwise_is_not_given_to_it(
    operator: str, constants: Any, attributes: Any, reason: str
) -> None:
    with pytest.raises(EngineError) as error:
        OpenVino().compile(graph(operator, X, constants=constants, **attributes), ONE)
    assert str(error.value).startswith(f"OpenVINO does not take the model: {reason}")


def test_whole_numbers_are_not_computed_with() -> None:
    x = np.arange(3, dtype=np.int32)
    with pytest.raises(EngineError, match=r"operator Add: it computes with numbers of a type that OpenVINO rounds"):
        OpenVino().compile(graph("Add", x, x), ONE)


def test_the_larger_of_two_computed_numbers_may_be_nan() -> None:
    with pytest.raises(EngineError, match=r"operator Max: it drops NaN$"):
        OpenVino().compile(graph("Max", X, X), ONE)


def test_no_operator_is_both_taken_and_refused() -> None:
    assert not set(OPERATORS) & set(REASONS)
    assert set(CONDITIONS) <= set(OPERATORS)


def convolution(size: int = 40, channels: int = 8) -> Any:
    x = RNG.random((1, 3, size, size)).astype(np.float32)
    weights = RNG.normal(size=(channels, 3, 3, 3)).astype(np.float32)
    fields = {"outputChannels": channels, "kernelChannels": 3, "kernelSize": [3, 3], "valid": {}, "weights": weights}
    return layer_spec("convolution", x, **fields), x


def test_a_network_gives_the_same_with_both_engines() -> None:
    spec, x = convolution()
    models = [windfall.load(spec, engine=engine, threads=1) for engine in ("onnxruntime", "openvino")]
    one, other = (model.predict({"x0": x})["y0"] for model in models)
    np.testing.assert_allclose(other, one, rtol=1e-4, atol=1e-5)
    assert [model.compiled.program.engine for model in models] == ["onnxruntime", "openvino"]


def test_weights_in_a_file_are_read_once(tmp_path: Path) -> None:
    spec, x = convolution(channels=64)
    path = windfall.load(spec).save(tmp_path / "m.mlmodel")
    model = windfall.load(path, engine="openvino", threads=1)
    before = model.predict({"x0": x})["y0"]
    assert model.compiled.program.engine == "openvino"
    with path.open("r+b") as file:
        file.truncate(10)  # what is still mapped would end the process
    np.testing.assert_array_equal(model.predict({"x0": x})["y0"], before)
    expected = windfall.load(spec, engine="onnxruntime").predict({"x0": x})["y0"]
    np.testing.assert_allclose(before, expected, rtol=1e-4, atol=1e-5)


def test_weights_by_address_live_long_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("windfall.runtime.serialize.MOST_EMBEDDED", 0)
    weight = np.arange(4000, dtype=np.float32)
    x = np.ones(4000, np.float32)
    model = graph("Mul", x, constants=(weight,))
    assert model.arrays
    program = OpenVino().compile(model, ONE)
    del model
    junk = [np.full(4000, 7, np.float32) for _ in range(50)]
    np.testing.assert_array_equal(program.run({"x0": x})[0], weight)
    assert len(junk) == 50


def test_a_file_that_is_too_short_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "w.bin").write_bytes(b"1234")
    made = graph("Mul", np.ones(4000, np.float32), constants=(np.arange(4000, dtype=np.float32),))
    import onnx

    proto = onnx.ModelProto.FromString(made.proto)
    tensor = proto.graph.initializer[0]
    tensor.ClearField("raw_data")
    tensor.data_location = tensor.EXTERNAL
    for key, value in (("location", "w.bin"), ("offset", "0"), ("length", "16000")):
        tensor.external_data.add(key=key, value=value)
    cut = SerializedModel(proto.SerializeToString(), {}, tmp_path)
    with pytest.raises(EngineError) as error:
        OpenVino().compile(cut, ONE)
    assert str(error.value) == "w.bin ends before the 16,000 bytes of weights at 0; load it again"
    (tmp_path / "w.bin").unlink()
    with pytest.raises(EngineError, match=r"^cannot read the weights in w\.bin: "):
        OpenVino().compile(cut, ONE)


@pytest.mark.parametrize("array", [np.zeros((2, 4, 6, 8), np.float32), np.zeros((2, 4, 6, 7), np.int32)])
def test_inputs_that_the_program_does_not_take_are_an_engine_error(array: np.ndarray) -> None:
    program = OpenVino().compile(graph("Relu", X), ONE)
    with pytest.raises(EngineError) as error:
        program.run({"x0": array})
    assert str(error.value).startswith("OpenVINO failed: ")
    assert "\n" not in str(error.value)
    assert ".cpp" not in str(error.value)


def test_a_missing_input_is_an_engine_error() -> None:
    program = OpenVino().compile(graph("Add", X, X), ONE)
    program.run(feeds(X, X))
    with pytest.raises(EngineError) as error:
        program.run(feeds(X))
    assert str(error.value) == "OpenVINO failed: input 'x1' is missing"


def test_arrays_of_any_layout_are_taken() -> None:
    program = OpenVino().compile(graph("Neg", X), ONE)
    frozen = X.copy()
    frozen.flags.writeable = False
    for array in (X, np.asfortranarray(X), np.repeat(X, 2, 3)[..., ::2], frozen):
        np.testing.assert_array_equal(program.run({"x0": array})[0], -X)


@pytest.mark.parametrize("operator", ["Relu", "Exp", "Reshape", "Softmax"])
def test_inputs_are_not_written_to(operator: str) -> None:
    constants = (np.array([8, 42]),) if operator == "Reshape" else ()
    x = X.copy()
    program = OpenVino().compile(graph(operator, x, constants=constants), ONE)
    (y,) = program.run({"x0": x})
    np.testing.assert_array_equal(x, X)
    y[:] = 7  # nor are results the inputs
    np.testing.assert_array_equal(x, X)


def test_results_stay_as_they_are() -> None:
    program = OpenVino().compile(graph("Neg", X), ONE)
    (first,) = program.run({"x0": X})
    (second,) = program.run_many([{"x0": X * 2}])
    np.testing.assert_array_equal(first, -X)
    np.testing.assert_array_equal(second[0], -2 * X)


def test_a_program_may_run_in_many_threads() -> None:
    program = OpenVino().compile(graph("Neg", X), ONE)
    with ThreadPool(8) as pool:
        for factor, y in enumerate(pool.map(lambda k: program.run({"x0": X * np.float32(k)})[0], range(40))):
            np.testing.assert_array_equal(y, -X * np.float32(factor))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Exception from src/core.cpp:105:\nUnable to read the model.\n\n", "unable to read the model"),
        (
            "Exception from src/a.cpp:104:\nCheck 'shape.fits(x(y))' failed at src/c.cpp:385:\nCan't\nset it",
            "can't set it",
        ),
        ("Check 'a < b' failed at src/x.cpp:1:\n", "no reason is given (RuntimeError)"),
        ("", "no reason is given (RuntimeError)"),
        ("x" * 1000, "x" * 297 + "..."),
    ],
)
def test_reasons_are_one_line_without_places_in_sources(text: str, expected: str) -> None:
    assert openvino_reason(RuntimeError(text)) == expected


@pytest.mark.parametrize("threads", [1, 2])
def test_threads_and_precision_are_what_was_asked_for(threads: int) -> None:
    compiled = OpenVino().compile(graph("Neg", X), EngineOptions(threads))._compiled
    assert compiled.get_property("INFERENCE_NUM_THREADS") == threads
    assert compiled.get_property("INFERENCE_PRECISION_HINT") == openvino.Type.f32
    assert compiled.get_property("ENABLE_CPU_PINNING") is False


def test_an_unused_input_is_a_gap() -> None:
    made = GraphBuilder("g", ["x", "z"])
    x = made.input("x", ir.DataType.FLOAT, (3,))
    made.input("z", ir.DataType.FLOAT, (3,))
    made.graph.outputs.append(made.rename(made.op("Neg", x), "y"))
    with pytest.raises(EngineError) as error:
        OpenVino().compile(serialize(build_model(made.graph)), ONE)
    assert str(error.value) == "OpenVINO cannot compile the model: it drops 'z'"


def test_what_openvino_does_not_take_runs_on_onnx_runtime(caplog: pytest.LogCaptureFixture) -> None:
    x = RNG.normal(size=(3, 5)).astype(np.float32)
    model = windfall.load(layer_spec("topK", x, outputs=2, axis=-1, K=2), engine="openvino")
    with caplog.at_level(logging.INFO, "windfall"):
        y = model.predict({"x0": x})["y0"]
    np.testing.assert_array_equal(y, np.sort(x)[:, :-3:-1])
    assert model.compiled.program.engine == "onnxruntime"
    lines = [record.getMessage() for record in caplog.records if record.name == "windfall"]
    assert lines[0].startswith("OpenVINO does not take the model: ")
    assert lines[1:] == ["ONNX Runtime runs the model"]


def test_most_layers_are_lowered_to_what_openvino_takes() -> None:
    assert len(LOWERINGS) > len(OPERATORS) > 70


def test_openvino_is_imported_without_its_telemetry() -> None:
    code = (
        "import sys; from windfall.runtime.openvino import core; core().available_devices; "
        "print([name for name in sys.modules if name.startswith('openvino_telemetry')])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)  # noqa: S603
    assert done.stdout.strip() == "[]"


def test_pictures_go_in_and_come_out() -> None:
    picture = Image.fromarray(np.random.default_rng(0).integers(0, 256, (256, 256, 3), np.uint8))
    results = {}
    for engine in ("openvino", "onnxruntime"):
        model = windfall.load("examples/style_transfer/models/city.mlmodel", engine=engine)
        results[engine] = np.asarray(model.predict({"image": picture})["stylized"], np.int16)
        assert model.compiled.program.engine == engine
    # Where a number lies between two brightnesses, the last digit decides.
    difference = np.abs(results["openvino"] - results["onnxruntime"])
    assert difference.max() <= 1
    assert difference.mean() < 0.01
