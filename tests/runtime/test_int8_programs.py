"""ML programs that are quantized themselves compute with whole numbers, and give what these give in NumPy."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
import pytest
import torch

import windfall
from tests.programs import Name, Output, Typed, add_input, add_operation, new_program
from windfall.passes import FIRED, keep_whole_weights
from windfall.passes.keep_whole_weights import LARGEST_SHIFT
from windfall.runtime.processor import NARROW, WIDE
from windfall.runtime.serialize import serialize
from windfall.spec.proto import MIL_pb2

NEAR_TIE = 1e-3
"""How near to the middle between two codes, in steps, float32 may round to the other one."""


class Program:
    """A program whose values are rounded to codes."""

    def __init__(self, x: np.ndarray, opset: int = 7, dtype: Any = np.float32) -> None:
        self.spec, function, self.block = new_program(opset)
        self.dtype, self.count = dtype, 0
        add_input(self.spec, function, "x", x, x.shape)

    def op(self, operator: str, dtype: Any, dims: Sequence[int], /, **arguments: Any) -> Name:
        self.count += 1
        name = Name(f"v{self.count}")
        add_operation(self.block, operator, {name: Output(dtype, dims)}, **arguments)
        return name

    def rounded(self, value: Name, dims: Sequence[int], scale: float, zero: Any) -> Name:
        steps = {"scale": self.dtype(scale), "zero_point": zero}
        codes = self.op("quantize", zero.dtype, dims, input_=value, output_dtype=str(zero.dtype), **steps)
        return self.op("dequantize", self.dtype, dims, input_=codes, **steps)

    def weight(self, whole: np.ndarray, scale: np.ndarray, zero: Any, axis: int = 0) -> Name:
        parts = {"quantized_data": whole, "scale": scale.astype(self.dtype), "zero_point": zero, "axis": np.int32(axis)}
        return self.op("constexpr_affine_dequantize", self.dtype, whole.shape, **parts)

    def done(self, *values: Name) -> Any:
        for value in values:
            self.block.outputs.append(value)
            self.spec.description.output.add(name=value).type.multiArrayType.dataType = 65568
        return self.spec


def optimized(model: windfall.Model, path: Any) -> list[str]:
    """Return the operators that ONNX Runtime makes of a model's graph."""
    settings = ort.SessionOptions()
    settings.optimized_model_filepath = str(path / "optimized.onnx")
    settings.log_severity_level = 4
    ort.InferenceSession(serialize(model.compiled.graph).proto, settings, providers=["CPUExecutionProvider"])
    return [node.op_type for node in onnx.load(path / "optimized.onnx").graph.node]


def codes_of(numbers: np.ndarray, scale: float, zero: Any) -> np.ndarray:
    """Round numbers as the operator ``quantize`` is defined."""
    steps = np.rint(numbers.astype(np.float32) / np.float32(scale)) + int(zero)
    limits = np.iinfo(zero.dtype)
    return np.clip(steps, limits.min, limits.max).astype(np.int64)


def check_codes(got: np.ndarray, exact: np.ndarray, scale: float, zero: Any, shift: float = 0.0) -> None:
    """Check codes against numbers that are exact: the nearest, or near a tie of two, the other one of these."""
    limits = np.iinfo(zero.dtype)
    steps = exact / np.float64(np.float32(scale)) + int(zero)
    nearest = np.clip(np.rint(steps), limits.min, limits.max)
    off = np.abs(got - nearest)
    distance = np.abs(np.abs(steps - np.floor(steps)) - 0.5)
    assert off.max() <= 1
    assert np.all(distance[off == 1] <= NEAR_TIE + shift), distance[off == 1].max()


def convolved(x: np.ndarray, w: np.ndarray, groups: int) -> np.ndarray:
    """Return a convolution of whole numbers, exact in float64."""
    pads = w.shape[2] // 2
    given = [torch.from_numpy(each.astype(np.float64)) for each in (x, w)]
    return getattr(torch.nn.functional, f"conv{w.ndim - 2}d")(*given, padding=pads, groups=groups).numpy()


SHAPES = {
    "plane": ((1, 32, 9, 8), (24, 32, 3, 3), 1),
    "point": ((2, 64, 7, 7), (16, 64, 1, 1), 1),
    "depthwise": ((1, 32, 12, 11), (32, 1, 3, 3), 32),
    "wide depthwise": ((1, 16, 12, 11), (16, 1, 7, 7), 16),
    "multiplied": ((1, 8, 9, 9), (16, 1, 3, 3), 8),
    "grouped": ((1, 32, 6, 6), (32, 8, 3, 3), 4),
    "line": ((1, 48, 20), (32, 48, 3), 1),
    "space": ((1, 8, 5, 5, 5), (8, 8, 3, 3, 3), 1),
}
FIRST = {"int8": (0.02, np.int8(0)), "uint8": (0.02, np.uint8(128)), "asymmetric": (0.03, np.uint8(101)),
         "int8 moved": (0.02, np.int8(-17))}  # fmt: skip
SECOND = {"relu": np.int8(0), "relu6": np.uint8(0), "": np.int8(3)}


@pytest.mark.parametrize("largest", ["random", "most", "least"])
@pytest.mark.parametrize("activation", SECOND)
@pytest.mark.parametrize("first", FIRST)
@pytest.mark.parametrize("kind", SHAPES)
def test_convolutions_are_exact(kind: str, first: str, activation: str, largest: str, tmp_path) -> None:
    dims, sizes, groups = SHAPES[kind]
    random = np.random.default_rng(len(kind) + len(first))
    scale, zero = FIRST[first]
    limits = np.iinfo(zero.dtype)
    if largest == "random":
        codes, whole = random.integers(limits.min, limits.max + 1, dims), random.integers(-127, 128, sizes)
    else:
        codes = np.full(dims, limits.max if largest == "most" else limits.min)
        whole = np.where(random.random(sizes) < 0.9, 127, -127)
    x = ((codes - int(zero)) * scale).astype(np.float32)
    whole = whole.astype(np.int8)
    step = (random.uniform(0.5, 1, sizes[0]) / 80).astype(np.float32)
    bias = random.normal(size=sizes[0]).astype(np.float32)
    sums = convolved(codes - int(zero), whole, groups)
    over = [1, -1, *[1] * (len(dims) - 2)]
    units = np.float32(scale) * step
    exact = (sums + np.rint(bias / units.astype(np.float64)).reshape(over)) * units.astype(np.float64).reshape(over)
    spread = np.float32(np.abs(exact).max() / 100)
    exact = {"relu": lambda y: np.maximum(y, 0), "relu6": lambda y: np.clip(y, 0, 6), "": lambda y: y}[activation](
        exact
    )

    program = Program(x)
    value = program.rounded(Name("x"), dims, scale, zero)
    weight = program.weight(whole, step, np.int8(0))
    pads = {"strides": np.ones(len(dims) - 2, np.int32), "dilations": np.ones(len(dims) - 2, np.int32),
            "pad": np.repeat(np.int32(sizes[2] // 2), 2 * (len(dims) - 2)), "pad_type": "custom"}  # fmt: skip
    result = program.op(
        "conv", np.float32, sums.shape, x=value, weight=weight, bias=bias, groups=np.int32(groups), **pads
    )
    if activation:
        result = program.op(activation, np.float32, sums.shape, x=result)
    end = SECOND[activation]
    result = program.rounded(result, sums.shape, spread, end)
    model = windfall.load(program.done(result), threads=1)
    assert optimized(model, tmp_path).count("QLinearConv") == 1
    got = np.rint(model.predict({"x": x})[result] / spread).astype(int) + int(end)
    check_codes(got, exact, spread, end)


@pytest.mark.parametrize("largest", ["random", "most"])
@pytest.mark.parametrize("first", FIRST)
@pytest.mark.parametrize("form", ["linear", "linear relu", "linear float", "matmul", "matmul transposed"])
def test_products_are_exact(form: str, first: str, largest: str, tmp_path) -> None:
    random = np.random.default_rng(len(form))
    scale, zero = FIRST[first]
    limits = np.iinfo(zero.dtype)
    codes = random.integers(limits.min, limits.max + 1, (2, 5, 96))
    whole = random.integers(-127, 128, (40, 96)).astype(np.int8)
    if largest == "most":
        codes, whole = np.full_like(codes, limits.max), np.full_like(whole, 127)
    x = ((codes - int(zero)) * scale).astype(np.float32)
    step, bias = random.uniform(0.5, 1, 40).astype(np.float32) / 80, random.normal(size=40).astype(np.float32)
    exact = (codes - int(zero)) @ whole.T.astype(np.int64) * (np.float32(scale) * step).astype(np.float64)
    program = Program(x)
    value = program.rounded(Name("x"), x.shape, scale, zero)
    if form.startswith("linear"):
        exact = exact + bias
        weight = program.weight(whole, step, np.int8(0))
        result = program.op("linear", np.float32, exact.shape, x=value, weight=weight, bias=bias)
        if "relu" in form:
            exact, result = np.maximum(exact, 0), program.op("relu", np.float32, exact.shape, x=result)
    else:
        is_transposed = "transposed" in form
        weight = program.weight(whole if is_transposed else whole.T.copy(), step, np.int8(0), 0 if is_transposed else 1)
        result = program.op("matmul", np.float32, exact.shape, x=value, y=weight, transpose_y=np.bool_(is_transposed),
                            transpose_x=np.bool_(False))  # fmt: skip
    spread, end = np.float32(np.abs(exact).max() / 100), np.int8(0)
    is_rounded = form != "linear float"
    result = program.rounded(result, exact.shape, spread, end) if is_rounded else result
    model = windfall.load(program.done(result), threads=1)
    kinds = optimized(model, tmp_path)
    assert {"QGemm", "QLinearMatMul", "MatMulIntegerToFloat"} & set(kinds)
    assert not {"Gemm", "MatMul", "FusedMatMul"} & set(kinds)
    got = model.predict({"x": x})[result]
    if is_rounded:
        check_codes(np.rint(got / spread).astype(int), exact, spread, end, LARGEST_SHIFT)
    else:
        np.testing.assert_allclose(got, exact, rtol=1e-5, atol=1e-5 * np.abs(exact).max())


def network(dtype: Any = np.float32, opset: int = 7) -> tuple[Any, np.ndarray]:
    """Two convolutions and a sum behind them, then pooling: a block of a residual network, and its input."""
    random = np.random.default_rng(7)
    x = random.uniform(-2, 2, (1, 16, 8, 8)).astype(np.float32)
    program = Program(x, opset, dtype)
    value = Name("x") if dtype == np.float32 else program.op("cast", dtype, x.shape, x=Name("x"), dtype="fp16")
    first = value = program.rounded(value, x.shape, 0.0156, np.int8(0))
    pads = {"strides": np.int32([1, 1]), "dilations": np.int32([1, 1]), "pad": np.int32([1] * 4), "pad_type": "custom",
            "groups": np.int32(1)}  # fmt: skip
    for number in range(2):
        whole = random.integers(-127, 128, (16, 16, 3, 3)).astype(np.int8)
        weight = program.weight(whole, random.uniform(0.5, 1, 16) / 900, np.int8(0))
        bias = random.normal(size=16).astype(dtype)
        value = program.op("conv", dtype, x.shape, x=value, weight=weight, bias=bias, **pads)
        value = value if number else program.op("relu", dtype, x.shape, x=value)
        value = program.rounded(value, x.shape, 0.02, np.int8(0))
    value = program.op("add", dtype, x.shape, x=value, y=first)
    value = program.op("relu", dtype, x.shape, x=value)
    value = program.rounded(value, x.shape, 0.03, np.int8(0))
    pooled = {"kernel_sizes": np.int32([2, 2]), "strides": np.int32([2, 2]), "pad_type": "valid",
              "pad": np.int32([0] * 4), "ceil_mode": np.bool_(False)}  # fmt: skip
    most = program.op("max_pool", dtype, (1, 16, 4, 4), x=value, **pooled)
    mean = program.op("avg_pool", dtype, (1, 16, 4, 4), x=value, exclude_padding_from_average=np.bool_(False), **pooled)
    both = program.op("concat", dtype, (1, 32, 4, 4), values=[most, mean], axis=np.int32(1), interleave=np.bool_(False))
    value = program.rounded(both, (1, 32, 4, 4), 0.03, np.int8(0))
    value = value if dtype == np.float32 else program.op("cast", np.float32, (1, 32, 4, 4), x=value, dtype="fp32")
    return program.done(value), x


@pytest.mark.parametrize("dtype", [np.float32, np.float16])
def test_a_residual_block_is_whole(dtype: Any, tmp_path) -> None:
    spec, x = network(dtype)
    model = windfall.load(spec, threads=1)
    kinds = optimized(model, tmp_path)
    assert (kinds.count("QLinearConv"), kinds.count("QLinearAdd")) == (2, 1)
    assert not {"Conv", "FusedConv", "Relu", "Add"} & set(kinds)
    (result,) = model.predict({"x": x}).values()
    reference = simulated(spec, x)
    steps = np.abs(result / np.float32(np.float16(0.03) if dtype == np.float16 else 0.03) - reference)
    # A code beside the nearest one goes on into the next convolution, where it moves sums by one step of many.
    assert np.mean(steps > 0.5) < 0.01
    assert steps.max() < 1.5


def simulated(spec: Any, x: np.ndarray) -> np.ndarray:
    """Return the codes that the residual block gives, one operation after the other in float64."""
    values: dict[str, Any] = {"x": x.astype(np.float64)}
    for operation in spec.mlProgram.functions["main"].block_specializations["CoreML7"].operations:
        given = {key: values[each.arguments[0].name] if each.arguments[0].name else constant(each.arguments[0].value)
                 for key, each in operation.inputs.items() if key != "values"}  # fmt: skip
        if operation.type == "concat":
            given = {"values": [values[each.name] for each in operation.inputs["values"].arguments]}
        values[operation.outputs[0].name] = last = SIMULATIONS[operation.type](**given)
        if operation.type == "quantize":
            codes = last
    return np.asarray(codes, np.float64)


def constant(value: Any) -> Any:
    tensor = value.immediateValue.tensor
    if tensor.WhichOneof("value") == "strings":
        return tensor.strings.values[0]
    kinds = {MIL_pb2.INT8: np.int8, MIL_pb2.UINT8: np.uint8, MIL_pb2.FLOAT16: np.float16}
    dims = [dimension.constant.size for dimension in value.type.tensorType.dimensions]
    if tensor.WhichOneof("value") == "bytes":
        return (
            np.frombuffer(tensor.bytes.values, kinds[value.type.tensorType.dataType]).reshape(dims).astype(np.float64)
        )
    return np.array(getattr(tensor, tensor.WhichOneof("value")).values, np.float64).reshape(dims)


def pooled(x: Any, kind: Any) -> Any:
    n, c, h, w = x.shape
    return kind(kind(x.reshape(n, c, h // 2, 2, w // 2, 2), axis=5), axis=3)


SIMULATIONS = {
    "cast": lambda x, dtype: x,
    "quantize": lambda scale, zero_point, **given: np.clip(np.rint(given["input"] / scale) + zero_point, -128, 127),
    "dequantize": lambda scale, zero_point, **given: (given["input"] - zero_point) * scale,
    "constexpr_affine_dequantize": lambda quantized_data, zero_point, scale, axis: (
        quantized_data * scale.reshape(-1, 1, 1, 1)
    ),
    "conv": lambda x, weight, bias, **_: convolved(x, weight, 1) + bias.reshape(1, -1, 1, 1),
    "relu": lambda x: np.maximum(x, 0),
    "add": lambda x, y: x + y,
    "max_pool": lambda x, **_: pooled(x, np.max),
    "avg_pool": lambda x, **_: pooled(x, np.mean),
    "concat": lambda values: np.concatenate(values, 1),
}


@pytest.mark.parametrize("form", ["uint4", "int8 blocks", "uint8 zeros", "uint8"])
def test_other_weights(form: str, tmp_path) -> None:
    random = np.random.default_rng(3)
    x = random.uniform(-2, 2, (6, 64)).astype(np.float32)
    steps, zeros = random.uniform(0.5, 1, (24, 1)).astype(np.float32) / 100, None
    whole = random.integers(0, 16 if form == "uint4" else 256, (24, 64)) - (128 if form == "int8 blocks" else 0)
    data: Any = whole.astype(np.int8 if form == "int8 blocks" else np.uint8)
    if form == "uint4":
        packed = (whole.reshape(-1, 2)[:, 0] | whole.reshape(-1, 2)[:, 1] << 4).astype(np.uint8)
        data, zeros = (
            Typed(packed.tobytes(), MIL_pb2.UINT4, whole.shape),
            Typed(bytes([0x88] * 12), MIL_pb2.UINT4, (24, 1)),
        )
    elif form == "int8 blocks":
        steps = random.uniform(0.5, 1, (24, 4)).astype(np.float32) / 100
    else:
        zeros = np.full((24, 1), 100, np.uint8)
        zeros[0] = 77 if form == "uint8 zeros" else 100
    program = Program(x, 8)
    value = program.rounded(Name("x"), x.shape, 0.02, np.uint8(128))
    weight = program.op("constexpr_blockwise_shift_scale", np.float32, whole.shape, data=data, scale=steps,
                        **({} if zeros is None else {"offset": zeros}))  # fmt: skip
    result = program.op("linear", np.float32, (6, 24), x=value, weight=weight, bias=np.zeros(24, np.float32))
    model = windfall.load(program.done(result), threads=1)
    # Blocks along the inputs, and zero points of their own, have no kernel.
    assert ("QGemm" in optimized(model, tmp_path)) == (form in ("uint4", "uint8"))
    points = 8 if form == "uint4" else 0 if zeros is None else zeros.astype(np.float64)
    weights = (whole - points) * np.repeat(steps.astype(np.float64), 64 // steps.shape[1], 1)
    rounded = (codes_of(x, 0.02, np.uint8(128)) - 128) * np.float64(np.float32(0.02))
    np.testing.assert_allclose(model.predict({"x": x})[result], rounded @ weights.T, rtol=1e-5, atol=1e-4)


def test_weights_of_float32_are_not_rounded(tmp_path) -> None:
    """ONNX Runtime would, and cut off sums besides."""
    random = np.random.default_rng(5)
    x = random.uniform(-2, 2, (1, 32, 8, 8)).astype(np.float32)
    weights = random.normal(size=(8, 32, 3, 3)).astype(np.float32)
    program = Program(x)
    value = program.rounded(Name("x"), x.shape, 0.0157, np.uint8(128))
    result = program.op("conv", np.float32, (1, 8, 6, 6), x=value, weight=weights, strides=np.int32([1, 1]),
                        dilations=np.int32([1, 1]), pad=np.int32([0] * 4), pad_type="valid",
                        groups=np.int32(1))  # fmt: skip
    result = program.rounded(result, (1, 8, 6, 6), 0.5, np.uint8(128))
    given = (codes_of(x, 0.0157, np.uint8(128)) - 128) * np.float64(np.float32(0.0157))
    exact = torch.nn.functional.conv2d(torch.from_numpy(given), torch.from_numpy(weights.astype(np.float64))).numpy()
    got = windfall.load(program.done(result), threads=1, engine="onnxruntime").predict({"x": x})[result]
    check_codes(np.rint(got / 0.5).astype(int) + 128, exact, 0.5, np.uint8(128))


@pytest.mark.parametrize(("largest", "kinds"), [(NARROW, ["BitwiseXor"]), (WIDE, [])])
def test_only_processors_without_dot_products_have_other_weights(monkeypatch, largest: int, kinds: list[str]) -> None:
    monkeypatch.setattr(keep_whole_weights, "largest_weight", lambda: largest)
    spec, _ = network()
    graph = windfall.load(spec).compiled.graph.graph
    # The second convolution has codes of 7 bits behind a Relu.
    assert [node.op_type for node in graph if node.op_type == "BitwiseXor"] == kinds


def test_arithmetic_of_8_bits_has_weights_of_its_own() -> None:
    spec, x = network()
    model = windfall.load(spec, arithmetic="int8", calibration=[{"x": x}], threads=1)
    types = {tensor.name: tensor.data_type for tensor in model.compiled.onnx.graph.initializer}
    assert onnx.TensorProto.INT8 in types.values()
    assert "KeepWholeWeights" not in model.compiled.graph.meta[FIRED]
    assert "KeepWholeWeights" in windfall.load(spec).compiled.graph.meta[FIRED]


def test_weights_stay_in_the_file(tmp_path, monkeypatch) -> None:
    spec, x = network()
    windfall.load(spec).save(tmp_path / "block.mlpackage")
    monkeypatch.setenv("WINDFALL_CACHE", str(tmp_path / "cache"))
    results = [windfall.load(tmp_path / "block.mlpackage", threads=1).predict({"x": x}) for _ in range(2)]
    for one, other in zip(*(result.values() for result in results), strict=True):
        np.testing.assert_array_equal(one, other)
    assert list((tmp_path / "cache").glob("*.onnx"))
