"""ML programs quantized with samples: what comes out, what is said of it, what is refused."""

import logging
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

import windfall
from tests.classical import array as array_kind
from tests.classical import pipeline_spec
from tests.programs import Name, Output, add_operation, set_type
from tests.quantization.calibration.converted import save_converted
from tests.quantization.programs.models import add_constant, linear_spec
from tests.support import layer_spec
from windfall.quantization import Calibration, quantization_report, quantize_weights
from windfall.quantization.networks import layers
from windfall.quantization.weight import stored, values_of
from windfall.spec.proto import MIL_pb2

Samples = list[dict[str, Any]]
SIZE = 32
_FLOAT32 = 65568


def random(*shape: int, seed: int = 0, dtype: Any = np.float32) -> NDArray[Any]:
    return np.random.default_rng(seed).normal(size=shape).astype(dtype)


def correlated(*shape: int, count: int = 60, seed: int = 1) -> list[NDArray[np.float32]]:
    """Return inputs that go together, as those of real models do."""
    size = int(np.prod(shape))
    mixed = random(count, 6, seed=seed) @ random(6, size, seed=99) + random(count, size, seed=seed + 50) / 10 + 0.5
    return list(mixed.reshape(count, *shape).astype(np.float32))


def samples(*shape: int, count: int = 60, seed: int = 1) -> Samples:
    return [{"x": x} for x in correlated(*shape, count=count, seed=seed)]


def outputs(model: windfall.Model, given: Samples, name: str = "fc") -> NDArray[np.float64]:
    return np.stack([model.predict(sample, outputs=[name])[name] for sample in given]).astype(np.float64)


def error(model: windfall.Model, small: windfall.Model, given: Samples, name: str = "fc") -> float:
    return float(((outputs(model, given, name) - outputs(small, given, name)) ** 2).mean())


def read(model: windfall.Model) -> list[NDArray[np.float32]]:
    return [values_of(model._file, w) for layer in layers(model._file, model.message) for w in layer.weights]


def weight_bytes(model: windfall.Model) -> list[int]:
    found = (stored(model._file, w) for layer in layers(model._file, model.message) for w in layer.weights)
    return [how.size for how in found if how is not None]


CASES: dict[str, tuple[str, tuple[int, ...], tuple[int, ...], dict[str, Any]]] = {
    "linear": ("linear", (24, SIZE), (1, SIZE), {}),
    "conv": ("conv", (24, 4, 3, 3), (1, 8, 6, 6), {"dims": (1, 24, 6, 6), "groups": np.int32(2), "pad_type": "same"}),
    "conv_transpose": (
        "conv_transpose", (8, 12, 3, 3), (1, 8, 4, 4),
        {"dims": (1, 24, 8, 8), "groups": np.int32(2), "pad_type": "same", "strides": np.array([2, 2], np.int32)},
    ),
    "matmul": ("matmul", (SIZE, 24), (1, SIZE), {"dims": (1, 24)}),
}  # fmt: skip


def one_operation(name: str, opset: int, dtype: Any, has_bias: bool = True) -> tuple[Any, tuple[int, ...]]:
    operator, shape, dims, arguments = CASES[name]
    spec = linear_spec(random(*shape, dtype=dtype), opset, operator, x=np.zeros(dims), **arguments)
    if has_bias and operator != "matmul":
        block = spec.mlProgram.functions["main"].block_specializations[f"CoreML{opset}"]
        add_constant(block, "fc_bias", random(24, seed=5, dtype=dtype))
        block.operations[-2].inputs["bias"].arguments.add().name = "fc_bias"
        block.operations.insert(0, block.operations.pop())
    return spec, dims


@pytest.mark.parametrize("dtype", [np.float32, np.float16])
@pytest.mark.parametrize(
    ("opset", "wish"),
    [
        (6, (4, "kmeans")),
        (6, (4, "linear_lut")),
        (8, (3, "kmeans")),
        (8, (4, "linear")),
        (8, (4, "linear_symmetric")),
        (8, (4, "linear", "per_tensor")),
    ],
)
@pytest.mark.parametrize("name", CASES)
def test_outputs_are_nearer(name: str, opset: int, wish: tuple[Any, ...], dtype: Any) -> None:
    spec, dims = one_operation(name, opset, dtype)
    model, given = windfall.load(spec), samples(*dims)
    calibration = Calibration(given)
    plain = quantize_weights(model, *wish)
    small = quantize_weights(model, *wish, calibration=calibration)
    assert calibration.outcomes == {("fc", "y" if name == "matmul" else "weight"): "calibrated"}
    # What the layer is fitted to: the error of its outputs, less its mean where a bias takes that up.
    off, without = (outputs(model, given) - outputs(m, given) for m in (small, plain))
    if name != "matmul":
        axes = (0, 1, *range(3, off.ndim))  # [samples, 1, channels, ...]
        without -= without.mean(axis=axes, keepdims=True)
        zero = off.mean(axis=axes)
        # Biases in float16 have steps.
        np.testing.assert_allclose(zero, 0, atol=3e-3 if dtype == np.float16 else 2e-5)
    assert (off**2).mean() <= (without**2).mean()
    held_out = samples(*dims, seed=7)
    assert error(model, small, held_out) < error(model, plain, held_out)
    assert weight_bytes(small) == weight_bytes(plain)


def test_a_product_gets_the_table_and_the_codes_of_the_same_one_in_a_network() -> None:
    weight, bias, given = random(24, SIZE), random(24, seed=5), correlated(1, SIZE)
    fields: dict[str, Any] = {"inputChannels": SIZE, "outputChannels": 24, "weights": {"floatValue": weight}}
    spec = layer_spec("innerProduct", np.zeros(SIZE), **fields, hasBias=True, bias={"floatValue": bias})
    network = quantize_weights(windfall.load(spec), 3, "kmeans", calibration=[{"x0": x.reshape(-1)} for x in given])
    program, _ = one_operation("linear", 8, np.float32)
    small = quantize_weights(windfall.load(program), 3, "kmeans", calibration=[{"x": x} for x in given])
    weights = [w for m in (network, small) for w in read(m) if w.shape == weight.shape]
    biases = [w for m in (network, small) for w in read(m) if w.shape == bias.shape]
    np.testing.assert_array_equal(weights[0], weights[1])
    np.testing.assert_array_equal(biases[0], biases[1])
    assert len(np.unique(weights[0])) == 8


@pytest.fixture(scope="module", params=[(6, np.float16), (8, np.float32)], ids=["iOS16", "iOS18"])
def converted(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> windfall.Model:
    return windfall.load(save_converted(tmp_path_factory.mktemp("converted"), *request.param))


def test_a_converted_program(converted: windfall.Model, tmp_path: Path) -> None:
    (name,) = (feature.name for feature in converted.message.description.output)
    given, held_out = samples(1, 4, 8, 8, count=20), samples(1, 4, 8, 8, count=10, seed=9)
    calibration = Calibration(given)
    small = quantize_weights(converted, 4, "kmeans", smallest=100, calibration=calibration)
    plain = quantize_weights(converted, 4, "kmeans", smallest=100)
    assert list(calibration.outcomes.values()) == ["calibrated"] * 5
    assert error(converted, small, held_out, name) < 0.8 * error(converted, plain, held_out, name)
    path = small.save(tmp_path / "small.mlpackage")
    for found, expected in zip(read(windfall.load(path)), read(small), strict=True):
        np.testing.assert_array_equal(found, expected)
    for found, expected in zip(coremltools_weights(path), read(small), strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-6)
    report = quantization_report(converted, small, calibration=calibration)
    assert {layer.calibration for layer in report.layers} == {"calibrated"}
    assert quantize_weights(converted, 4, "kmeans", smallest=100, calibration=given).message == small.message


def coremltools_weights(path: Path) -> list[NDArray[Any]]:
    """Return the weights and biases that coremltools reads, in the order of the operations and their arguments."""
    logging.disable(logging.WARNING)
    import coremltools
    from coremltools.converters.mil.frontend.milproto.load import load

    model = coremltools.models.MLModel(str(path), skip_model_load=True)
    spec = model.get_spec()
    program = load(spec, spec.specificationVersion, model.weights_dir)
    logging.disable(logging.NOTSET)
    operations = program.functions["main"].operations
    taken = [o.inputs[n] for o in operations for n in ("bias", "weight", "y") if o.inputs.get(n) is not None]
    makers = [value.op for value in taken if value.op is not None and value.rank > 0]
    return [o.materialized_val_inference() if o.op_type.startswith("constexpr") else o.val.val for o in makers]


def test_the_mean_error_behind_quantized_operations_is_zero(converted: windfall.Model) -> None:
    is_half = converted.message.mlProgram.functions["main"].opset == "CoreML6"
    given = samples(1, 4, 8, 8, count=20)
    small = quantize_weights(converted, 2, "kmeans", smallest=100, calibration=given)
    for value, axes in (("first", (0, 1, 3, 4)), ("rows", (0, 1))):
        name = f"{value}_cast_fp16" if is_half else value
        off = outputs(converted, given, name) - outputs(small, given, name)
        assert np.abs(off).max() > 0.1
        # Biases in float16 have steps.
        np.testing.assert_allclose(off.mean(axis=axes), 0, atol=2e-3 if is_half else 1e-4)


def block_of(spec: Any) -> Any:
    function = spec.mlProgram.functions["main"]
    return function.block_specializations[function.opset]


def add_product(spec: Any, name: str, weight: Name, source: str = "x", **arguments: Any) -> None:
    """Add a product with a matrix, which becomes an output."""
    block = block_of(spec)
    add_operation(block, "linear", {name: Output(np.float32, (1, 24))}, x=Name(source), weight=weight, **arguments)
    block.outputs.append(name)
    spec.description.output.add(name=name).type.multiArrayType.dataType = _FLOAT32


def outcomes(spec: Any, *wish: Any, given: Samples | None = None, **settings: Any) -> dict[tuple[str, str], str]:
    calibration = Calibration(samples(1, SIZE, count=3) if given is None else given)
    quantize_weights(windfall.load(spec), *wish, calibration=calibration, **settings)
    return calibration.outcomes


def test_a_weight_that_several_operations_take_is_not_fitted_to_one() -> None:
    spec, _ = one_operation("linear", 8, np.float32)
    add_product(spec, "again", Name("fc_weight"))
    assert outcomes(spec, 4) == {("fc", "weight"): "is taken by other operations, too"}


def test_a_bias_that_several_operations_take_stays() -> None:
    spec, _ = one_operation("linear", 8, np.float32)
    weight = add_constant(block_of(spec), "other", random(24, SIZE, seed=8))
    add_product(spec, "other_fc", weight, bias=Name("fc_bias"))
    model = windfall.load(spec)
    small = quantize_weights(model, 3, "kmeans", calibration=samples(1, SIZE))
    before, after = ([w for w in read(m) if w.shape == (24,)] for m in (model, small))
    np.testing.assert_array_equal(before, after)
    plain = quantize_weights(model, 3, "kmeans")
    for name in ("fc", "other_fc"):
        assert error(model, small, samples(1, SIZE), name) < error(model, plain, samples(1, SIZE), name)


def test_operations_in_branches() -> None:
    spec, _ = one_operation("linear", 8, np.float32)
    block = block_of(spec)
    weight = add_constant(block, "inner", random(24, SIZE, seed=8))
    cond = add_operation(block, "cond", {"chosen": Output(np.float32, (1, 24))}, pred=np.array(True))
    for name in ("then", "else"):
        inner = cond.blocks.add()
        add_operation(inner, "linear", {name: Output(np.float32, (1, 24))}, x=Name("x"), weight=weight)
        inner.outputs.append(name)
    found = outcomes(spec, 4)
    assert found["fc", "weight"] == "calibrated"
    assert list(found.values())[1:] == ["lies in a branch or a loop, whose values cannot be seen"]


def test_other_operators_and_arguments_that_are_not_known() -> None:
    spec = linear_spec(random(24, SIZE), x=np.zeros((1, SIZE)))
    block = block_of(spec)
    table = add_constant(block, "table", random(40, 24, seed=1))
    rows = {"indices": np.array([3], np.int32), "axis": np.int32(0)}
    add_operation(block, "gather", {"row": Output(np.float32, (1, 24))}, x=table, **rows)
    first = add_constant(block, "first", random(24, 24, seed=2))
    add_operation(block, "mul", {"turned": Output(np.float32, (1, 24))}, x=Name("fc"), y=np.float32(2))
    add_operation(block, "reshape", {"column": Output(np.float32, (24, 1))}, x=Name("turned"), shape=np.array([24, 1]))
    add_operation(block, "matmul", {"product": Output(np.float32, (24, 1))}, x=first, y=Name("column"))
    weight = add_constant(block, "w", random(24, 24, seed=3))
    add_product(spec, "of a constant", weight, add_constant(block, "constant", random(1, 24)))
    kernel = add_constant(block, "kernel", random(8, 4, 3, 3, seed=4))
    one = add_constant(block, "one", np.ones((1, 1), np.float32))
    add_operation(block, "shape", {"strides": Output(np.int32, (2,))}, x=one)
    sizes = np.array([1, 4, 4, 2], np.int32)
    add_operation(block, "reshape", {"plane": Output(np.float32, sizes.tolist())}, x=Name("x"), shape=sizes)
    conv = {"x": Name("plane"), "weight": kernel, "strides": Name("strides"), "pad_type": "same"}
    add_operation(block, "conv", {"conv": Output(np.float32, (1, 8, 4, 2))}, **conv)
    assert outcomes(spec, 4) == {
        ("fc", "weight"): "calibrated",
        ("row", "x"): "is of a kind that has no calibration",
        ("product", "x"): "is of a kind that has no calibration",
        ("of a constant", "weight"): "its input cannot be seen",
        ("conv", "weight"): "has arguments that are not known before the program runs",
    }


@pytest.mark.parametrize(
    ("wish", "reason"),
    [
        ((4, "linear", "per_block"), "per_block has no calibration"),
        ((4, "kmeans", "per_grouped_channel"), "per_grouped_channel has no calibration"),
        ((4, "kmeans", "per_channel"), "has several lookup tables, which have no calibration"),
    ],
)
def test_blocks_and_several_tables_are_as_without_samples(wish: tuple[Any, ...], reason: str) -> None:
    spec, _ = one_operation("linear", 8, np.float32)
    calibration = Calibration(samples(1, SIZE, count=3))
    model = windfall.load(spec)
    given: dict[str, Any] = {"group_size": 8, "select": lambda weight: not weight.is_vector}
    small = quantize_weights(model, *wish, calibration=calibration, **given)
    assert calibration.outcomes == {("fc", "weight"): reason}
    assert small.message == quantize_weights(model, *wish, **given).message


def test_groups_that_do_not_divide_the_channels_have_a_scale_each_and_are_calibrated() -> None:
    spec, _ = one_operation("linear", 8, np.float32)
    assert set(outcomes(spec, 4, "linear", "per_grouped_channel", group_size=7).values()) == {"calibrated"}


def test_functions_that_the_samples_are_not_for() -> None:
    spec, _ = one_operation("linear", 8, np.float32)
    spec.mlProgram.functions["other"].CopyFrom(spec.mlProgram.functions["main"])
    for name in ("main", "other"):
        described = spec.description.functions.add(name=name)
        described.input.extend(spec.description.input)
        described.output.extend(spec.description.output)
    spec.description.ClearField("input")
    spec.description.ClearField("output")
    spec.description.defaultFunctionName = "main"
    reason = "lies in another function than the samples are for"
    assert outcomes(spec, 4) == {("main/fc", "weight"): "calibrated", ("other/fc", "weight"): reason}
    calibration = Calibration(samples(1, SIZE, count=3))
    quantize_weights(windfall.load(spec, function="other"), 4, calibration=calibration)
    assert calibration.outcomes == {("main/fc", "weight"): reason, ("other/fc", "weight"): "calibrated"}


def test_states_are_kept_from_one_sample_to_the_next() -> None:
    spec, _ = one_operation("linear", 8, np.float32)
    function, block = spec.mlProgram.functions["main"], block_of(spec)
    set_type(function.inputs.add(name="total").type.stateType.wrappedType, MIL_pb2.FLOAT32, (1, SIZE))
    state = spec.description.state.add(name="total").type.stateType.arrayType
    state.shape.extend((1, SIZE))
    state.dataType = _FLOAT32
    product = block.operations.pop()
    vector = Output(np.float32, (1, SIZE))
    add_operation(block, "read_state", {"before": vector}, input_=Name("total"))
    add_operation(block, "add", {"sum": vector}, x=Name("before"), y=Name("x"))
    product.inputs["x"].arguments[0].name = "sum"
    block.operations.append(product)
    add_operation(block, "write_state", {}, input_=Name("total"), data=Name("sum"))
    model, given = windfall.load(spec), samples(1, SIZE, count=40)
    small = quantize_weights(model, 3, "kmeans", calibration=given)
    # The same sums without a state.
    alone, _ = one_operation("linear", 8, np.float32)
    sums = np.cumsum([sample["x"] for sample in given], axis=0, dtype=np.float32)
    expected = quantize_weights(windfall.load(alone), 3, "kmeans", calibration=[{"x": x} for x in sums])
    for found, weight in zip(read(small), read(expected), strict=True):
        np.testing.assert_allclose(found, weight, rtol=1e-4, atol=1e-4)


def test_a_pipeline_of_a_program_and_a_network() -> None:
    program, _ = one_operation("linear", 8, np.float32)
    fields: dict[str, Any] = {
        "inputChannels": 24,
        "outputChannels": 16,
        "weights": {"floatValue": random(16, 24, seed=2)},
    }
    network = layer_spec("innerProduct", np.zeros((1, 24)), **fields)
    network.description.input[0].name = network.neuralNetwork.layers[0].input[0] = "fc"
    kinds = {n: array_kind(1, size, dtype="FLOAT32") for n, size in (("x", SIZE), ("fc", 24), ("y0", 16))}
    program.description.output[0].type.multiArrayType.shape.extend((1, 24))
    spec = pipeline_spec([program, network], {"x": kinds["x"]}, {"y0": kinds["y0"]})
    model, given = windfall.load(spec), samples(1, SIZE)
    calibration = Calibration(given)
    small = quantize_weights(model, 3, "kmeans", calibration=calibration)
    assert list(calibration.outcomes.values()) == ["calibrated"] * 2
    plain = quantize_weights(model, 3, "kmeans")
    held_out = samples(1, SIZE, seed=7)
    assert error(model, small, held_out, "y0") < 0.6 * error(model, plain, held_out, "y0")
    alone = quantize_weights(windfall.load(program), 3, "kmeans", calibration=given)
    for found, expected in zip(read(small)[:2], read(alone), strict=True):
        np.testing.assert_array_equal(found, expected)


def test_a_pipeline_of_a_network_and_a_program() -> None:
    program, _ = one_operation("linear", 8, np.float32)
    program.description.input[0].name = program.mlProgram.functions["main"].inputs[0].name = "twice"
    block_of(program).operations[-1].inputs["x"].arguments[0].name = "twice"
    network = layer_spec("activation", np.zeros((1, SIZE)), linear={"alpha": 2})
    network.description.output[0].name = network.neuralNetwork.layers[0].output[0] = "twice"
    network.description.output[0].type.multiArrayType.shape.extend((1, SIZE))
    given = {"x0": array_kind(1, SIZE, dtype="FLOAT32")}
    spec = pipeline_spec([network, program], given, {"fc": array_kind(1, 24, dtype="FLOAT32")})
    inputs = correlated(1, SIZE)
    small = quantize_weights(windfall.load(spec), 4, calibration=[{"x0": x} for x in inputs])
    alone = quantize_weights(windfall.load(program), 4, calibration=[{"twice": 2 * x} for x in inputs])
    for found, expected in zip(read(small), read(alone), strict=True):
        np.testing.assert_array_equal(found, expected)


def test_a_program_of_photos() -> None:
    spec = linear_spec(random(16, 3, 3, 3), operator="conv", x=np.zeros((1, 3, 8, 8)), dims=(1, 16, 6, 6))
    picture = spec.description.input[0].type.imageType
    picture.width, picture.height, picture.colorSpace = 8, 8, 20
    model = windfall.load(spec)
    rng = np.random.default_rng(0)
    pixels = [np.kron(rng.integers(0, 256, (2, 2, 3)), np.ones((4, 4, 1))).astype(np.uint8) for _ in range(8)]
    photos = [Image.fromarray(one) for one in pixels]
    small = quantize_weights(model, 3, "kmeans", calibration=photos)
    plain = quantize_weights(model, 3, "kmeans")
    given = [{"x": photo} for photo in photos]
    assert error(model, small, given) < 0.5 * error(model, plain, given)


@pytest.mark.parametrize("wish", [{"select": ["second"]}, {"requantize": True}])
def test_weights_of_earlier_opsets_are_raised_and_seen(wish: dict[str, Any]) -> None:
    spec, _ = one_operation("linear", 6, np.float32)
    second = add_constant(block_of(spec), "other", random(24, 24, seed=3))
    add_product(spec, "second", second, "fc")
    first = quantize_weights(windfall.load(spec), 2, "kmeans", select="fc")
    given = samples(1, SIZE)
    small = quantize_weights(first, 4, upgrade=True, calibration=given, **wish)
    plain = quantize_weights(first, 4, upgrade=True, **wish)
    assert small.message.mlProgram.functions["main"].opset == "CoreML8"
    assert error(first, small, given, "second") < 0.6 * error(first, plain, given, "second")


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ([], "there are no samples to calibrate with, must be at least one"),
        ([{"x": np.ones((1, 7))}], "sample 1 does not fit the model: input 'x'"),
        (
            [{"x": np.full((1, SIZE), np.float32(3e38))}],
            "sample 1 makes the value 'x' of the model larger than 1e+15, infinite or not a number; leave",
        ),
    ],
)
def test_samples_that_will_not_do(given: Any, message: str) -> None:
    model = windfall.load(one_operation("linear", 8, np.float32)[0])
    with pytest.raises(windfall.FeatureError) as raised:
        quantize_weights(model, 4, calibration=given)
    assert str(raised.value).startswith(message)


def test_a_bias_that_becomes_larger_than_float16_has_is_named() -> None:
    spec, _ = one_operation("linear", 8, np.float16)
    constants = [o for o in block_of(spec).operations if o.outputs[0].name == "fc_bias"]
    constants[0].attributes["val"].immediateValue.tensor.bytes.values = np.full(24, 65504, np.float16).tobytes()
    given = [{"x": sample["x"] + 5000} for sample in samples(1, SIZE)]
    with pytest.raises(windfall.FormatError) as raised:
        quantize_weights(windfall.load(spec), 1, "kmeans", calibration=given)
    assert re.fullmatch(
        r"bias of layer 'fc' \(linear\) of the model has the value [0-9e+.]+, float16 ends at 65504; "
        "leave it out with select",
        str(raised.value),
    )
