"""Weights of ML programs in fewer bits, against NumPy and what coremltools reads."""

import gc
import logging
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

import windfall
from tests.classical import array, pipeline_spec
from tests.programs import Name, Output, add_operation
from tests.quantization.programs.models import add_constant, linear_spec
from windfall.quantization import Weight, quantization_report, quantize_weights
from windfall.quantization.networks import layers
from windfall.quantization.programs.blocks import Blocks
from windfall.quantization.weight import values_of

TABLES = (1, 2, 3, 4, 6, 8)


def random(*shape: int, seed: int = 0, dtype: Any = np.float32) -> NDArray[Any]:
    return np.random.default_rng(seed).normal(size=shape).astype(dtype)


def read(model: windfall.Model) -> list[NDArray[np.float32]]:
    """Return the weights as they are read back."""
    return [values_of(model._file, w) for layer in layers(model._file, model.message) for w in layer.weights]


def operators(model: windfall.Model) -> list[str]:
    (function,) = model.message.mlProgram.functions.values()
    (block,) = function.block_specializations.values()
    return [operation.type for operation in block.operations]


def errors(model: windfall.Model, weight: NDArray[Any]) -> NDArray[np.float64]:
    return np.abs(read(model)[0].astype(np.float64) - weight)


def steps(weight: NDArray[np.float64], levels: int, *, symmetric: bool, axes: tuple[int, ...]) -> NDArray[np.float64]:
    """Return how far the numbers lie apart that values along some axes are rounded to."""
    low = np.minimum(weight.min(axis=axes, keepdims=True), 0)
    high = np.maximum(weight.max(axis=axes, keepdims=True), 0)
    most = np.abs(weight).max(axis=axes, keepdims=True)
    return most / (levels // 2) if symmetric else (high - low) / levels


@pytest.mark.parametrize("dtype", [np.float32, np.float16])
@pytest.mark.parametrize("opset", [6, 7, 8])
@pytest.mark.parametrize("mode", ["linear", "linear_symmetric"])
@pytest.mark.parametrize("bits", [4, 8])
def test_linear_values_are_off_by_half_a_step(mode: str, bits: int, opset: int, dtype: Any) -> None:
    weight = random(8, 64, dtype=dtype)
    weight[3] += 5  # all above 0
    weight[4] = 0
    model = windfall.load(linear_spec(weight, opset))
    small = quantize_weights(model, bits, mode, upgrade=True)
    step = steps(weight.astype(np.float64), 2**bits - 1, symmetric=mode != "linear", axes=(1,))
    # Scales of float16 are rounded up, by a thousandth at most.
    assert (errors(small, weight) <= step * 0.5005 + 1e-6).all()
    assert (read(small)[0][4] == 0).all()


@pytest.mark.parametrize("dtype", [np.float32, np.float16])
@pytest.mark.parametrize("opset", [6, 8])
@pytest.mark.parametrize("bits", TABLES)
def test_tables_are_the_best_ones_and_values_take_the_nearest_entry(bits: int, opset: int, dtype: Any) -> None:
    weight = random(16, 48, dtype=dtype)
    small = quantize_weights(windfall.load(linear_spec(weight, opset)), bits, "kmeans", upgrade=True)
    (found,) = read(small)
    entries = np.unique(found)
    assert len(entries) <= 2**bits
    nearest = np.abs(weight[..., np.newaxis].astype(np.float64) - entries).min(axis=-1)
    np.testing.assert_allclose(np.abs(found - weight), nearest, atol=1e-6)
    if dtype == np.float32:
        network = quantize_weights(windfall.load(_network(weight)), bits, "kmeans")
        np.testing.assert_array_equal(found, read(network)[0])


def _network(weight: NDArray[Any]) -> Any:
    from tests.support import layer_spec

    fields = {"inputChannels": weight.shape[1], "outputChannels": weight.shape[0], "weights": {"floatValue": weight}}
    return layer_spec("innerProduct", np.zeros(weight.shape[1]), **fields)


@pytest.mark.parametrize(
    ("granularity", "size", "grid"),
    [
        ("per_tensor", 32, (1, 1)),
        ("per_channel", 32, (8, 1)),
        ("per_grouped_channel", 4, (2, 1)),
        ("per_grouped_channel", 3, (8, 1)),
        ("per_block", 16, (8, 4)),
        ("per_block", 48, (8, 1)),
    ],
)
@pytest.mark.parametrize("mode", ["linear", "kmeans"])
def test_each_block_has_its_own_scale_or_table(mode: str, granularity: str, size: int, grid: tuple[int, int]) -> None:
    weight = random(8, 64)
    model = windfall.load(linear_spec(weight))
    small = quantize_weights(model, 4, mode, granularity, group_size=size, smallest=0, select=lambda w: True)
    blocks = Blocks(grid, (8, 64))
    for found, values in zip(blocks.rows(read(small)[0]), blocks.rows(weight), strict=True):
        part = windfall.load(linear_spec(values.reshape(1, -1)))
        alone = quantize_weights(part, 4, mode, "per_tensor", select=lambda w: True)
        np.testing.assert_allclose(found, read(alone)[0][0], atol=1e-6)


@given(st.lists(st.tuples(st.integers(1, 3), st.integers(1, 3)), min_size=1, max_size=4))
@settings(max_examples=50, deadline=None)
def test_blocks_are_taken_apart_and_put_together(sizes: list[tuple[int, int]]) -> None:
    grid, shape = tuple(g for g, _ in sizes), tuple(g * b for g, b in sizes)
    array = np.arange(np.prod(shape)).reshape(shape)
    blocks = Blocks(grid, shape)
    rows = blocks.rows(array)
    np.testing.assert_array_equal(blocks.restored(rows), array)
    first = array[tuple(slice(0, b) for _, b in sizes)]
    np.testing.assert_array_equal(rows[0], first.reshape(-1))


CASES: dict[str, tuple[Any, tuple[int, ...], dict[str, Any], int]] = {
    "linear": ("linear", (16, 32), {"x": np.zeros((1, 32))}, 0),
    "conv": ("conv", (16, 4, 3, 3), {"x": np.zeros((1, 4, 5, 5)), "dims": (1, 16, 3, 3)}, 0),
    "conv_transpose": ("conv_transpose", (4, 16, 3, 3), {"x": np.zeros((1, 4, 5, 5)), "dims": (1, 16, 7, 7)}, 1),
    "matmul": ("matmul", (32, 16), {"x": np.zeros((1, 32)), "dims": (1, 16)}, 1),
    "matmul transposed": (
        "matmul",
        (16, 32),
        {"x": np.zeros((1, 32)), "dims": (1, 16), "transpose_y": np.array(True)},
        0,
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_scales_run_along_the_output_channels_and_predictions_use_what_is_read(name: str) -> None:
    operator, shape, arguments, axis = CASES[name]
    weight = random(*shape) * np.logspace(-2, 2, 16).reshape([-1 if i == axis else 1 for i in range(len(shape))])
    weight = weight.astype(np.float32)
    model = windfall.load(linear_spec(weight, operator=operator, **arguments))
    small = quantize_weights(model, 8)
    others = tuple(i for i in range(len(shape)) if i != axis)
    step = steps(weight.astype(np.float64), 255, symmetric=False, axes=others)
    assert (errors(small, weight) <= step * 0.5001 + 1e-9).all()
    x = random(*arguments["x"].shape, seed=1)
    same = windfall.load(linear_spec(read(small)[0], operator=operator, **arguments))
    np.testing.assert_allclose(small.predict({"x": x})["fc"], same.predict({"x": x})["fc"], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("opset", [5, 6, 8])
@pytest.mark.parametrize(
    "wish",
    [
        {"bits": 8},
        {"bits": 8, "mode": "linear_symmetric", "granularity": "per_tensor"},
        {"bits": 4, "mode": "linear_symmetric", "granularity": "per_block"},
        {"bits": 4},
        {"bits": 2, "mode": "kmeans"},
        {"bits": 3, "mode": "kmeans"},
        {"bits": 6, "mode": "linear_lut", "granularity": "per_grouped_channel", "group_size": 4},
        {"bits": 16},
    ],
)
def test_coremltools_reads_the_same_values(opset: int, wish: dict[str, Any], tmp_path: Path) -> None:
    weight = random(16, 64)
    small = quantize_weights(windfall.load(linear_spec(weight, opset)), upgrade=True, **wish)
    path = small.save(tmp_path / "small.mlpackage")
    np.testing.assert_array_equal(read(windfall.load(path))[0], read(small)[0])
    assert (small.message.specificationVersion, _opset(small)) in [(7, "CoreML6"), (9, "CoreML8")]
    (found,) = _coremltools_weights(path)
    np.testing.assert_allclose(found, read(small)[0], rtol=1e-6, atol=1e-7)


def _opset(model: windfall.Model) -> str:
    return str(model.message.mlProgram.functions["main"].opset)


def _coremltools_weights(path: Path) -> list[NDArray[Any]]:
    """Return what coremltools makes of the arguments named ``weight``."""
    logging.disable(logging.WARNING)
    import coremltools
    from coremltools.converters.mil.frontend.milproto.load import load

    model = coremltools.models.MLModel(str(path), skip_model_load=True)
    spec = model.get_spec()
    program = load(spec, spec.specificationVersion, model.weights_dir)
    logging.disable(logging.NOTSET)
    weights = [o.inputs["weight"].op for o in program.functions["main"].operations if "weight" in o.inputs]
    return [o.materialized_val_inference() if o.op_type.startswith("constexpr") else o.val.val for o in weights]


def test_an_upgrade_goes_as_far_as_it_must_and_the_error_says_so() -> None:
    model = windfall.load(linear_spec(random(16, 64), 5))
    with pytest.raises(windfall.UnsupportedError) as error:
        quantize_weights(model, 4)
    assert str(error.value) == (
        "weight of 'fc' of the model: 4 bits per_channel in linear needs CoreML8 (iOS 18), the program is of CoreML5 "
        "(iOS 15); raise it with upgrade=True (--upgrade), or ask for other bits"
    )
    with pytest.raises(windfall.UnsupportedError, match=r"float16 in place of float32 needs CoreML6 \(iOS 16\)"):
        quantize_weights(model, 16)
    assert _opset(quantize_weights(model, 4, "kmeans", upgrade=True)) == "CoreML6"
    assert _opset(quantize_weights(model, 4, upgrade=True)) == "CoreML8"
    assert _opset(model) == "CoreML5"


@pytest.mark.parametrize("operator", ["constexpr_lut_to_dense", "constexpr_affine_dequantize"])
def test_weights_of_earlier_opsets_are_carried_along(operator: str, tmp_path: Path) -> None:
    mode, bits = ("kmeans", 2) if operator.endswith("dense") else ("linear", 8)
    spec = linear_spec(random(16, 64), 6)
    block = spec.mlProgram.functions["main"].block_specializations["CoreML6"]
    second = add_constant(block, "other", random(8, 64, seed=3))
    add_operation(block, "linear", {"second": Output(np.float32, (1, 8))}, x=Name("x"), weight=second)
    block.outputs.append("second")
    spec.description.output.add(name="second").type.multiArrayType.dataType = 65568
    model = windfall.load(spec)
    first = quantize_weights(model, bits, mode, select="fc")
    assert operator in operators(first)
    both = quantize_weights(first, 4, select="second", upgrade=True)
    assert _opset(both) == "CoreML8"
    np.testing.assert_array_equal(read(both)[0], read(first)[0])
    x = random(1, 64, seed=2)
    both.save(tmp_path / "both.mlpackage")
    result = windfall.load(tmp_path / "both.mlpackage").predict({"x": x})
    np.testing.assert_allclose(result["fc"], first.predict({"x": x})["fc"], rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(_coremltools_weights(tmp_path / "both.mlpackage")[0], read(first)[0], atol=1e-7)


def test_an_operator_that_a_later_opset_changed_stands_in_the_way() -> None:
    spec = linear_spec(random(16, 64), 6)
    block = spec.mlProgram.functions["main"].block_specializations["CoreML6"]
    add_operation(block, "crop_resize", {"crop": Output(np.float32, (1, 1, 1, 1, 1))}, x=Name("x"))
    with pytest.raises(windfall.UnsupportedError) as error:
        quantize_weights(windfall.load(spec), 4, upgrade=True)
    assert str(error.value) == (
        "the model cannot be raised to CoreML8 (iOS 18): operation 'crop' is crop_resize, which takes boxes in place "
        "of roi there; convert the model anew for that system"
    )


@pytest.mark.parametrize(
    ("wish", "message"),
    [
        (
            {"bits": 5, "mode": "kmeans"},
            "bits is 5 for weight of 'fc' of the model, ML programs have 1, 2, 3, 4, 6 and 8 in mode 'kmeans'",
        ),
        (
            {"bits": 3},
            (
                "bits is 3 for weight of 'fc' of the model, ML programs have 4 and 8 in mode 'linear'; other widths "
                "need a lookup table, as in mode kmeans"
            ),
        ),
        ({"group_size": 0}, "group_size is 0, must be a whole number from 1 on"),
        (
            {"select": {"fd": 4, "x": 2}},
            "select has 'fd' (and 1 more), which no layer of the model with weights is called; such are 'fc'",
        ),
    ],
)
def test_wishes_that_programs_do_not_have(wish: dict[str, Any], message: str) -> None:
    with pytest.raises(windfall.UnsupportedError) as error:
        quantize_weights(windfall.load(linear_spec(random(16, 64))), **wish)
    assert str(error.value) == message


def test_networks_have_no_groups_and_one_table() -> None:
    model = windfall.load(_network(random(16, 64)))
    with pytest.raises(windfall.UnsupportedError) as error:
        quantize_weights(model, 4, granularity="per_block")
    assert str(error.value) == (
        "granularity is 'per_block', the neural networks of the model have scales per tensor and per channel; leave it "
        "out, or convert the model to an ML program"
    )
    with pytest.raises(windfall.UnsupportedError, match="have one lookup table for each weight; leave it out"):
        quantize_weights(model, 4, "kmeans", "per_channel")


@pytest.mark.parametrize("dtype", [np.float32, np.float16])
@pytest.mark.parametrize(("bits", "mode"), [(8, "linear"), (4, "kmeans"), (16, "linear")])
def test_dequantized_weights_are_constants_again(bits: int, mode: str, dtype: Any) -> None:
    small = quantize_weights(windfall.load(linear_spec(random(16, 64, dtype=dtype))), bits, mode)
    back = quantize_weights(small, mode="dequantize")
    assert operators(back) == ["const", "linear"]
    # What is declared as float16 is rounded to that.
    np.testing.assert_array_equal(read(back)[0], read(small)[0].astype(dtype).astype(np.float32))


def test_weights_that_are_quantized_already() -> None:
    small = quantize_weights(windfall.load(linear_spec(random(16, 64))), 8)
    with pytest.raises(windfall.FormatError) as error:
        quantize_weights(small, 4)
    assert str(error.value) == (
        "weight of layer 'fc' (linear) of the model is quantized to 8 bits already; give requantize=True, or start "
        "from the original"
    )
    again = quantize_weights(small, 4, "kmeans", requantize=True)
    assert operators(again) == ["constexpr_lut_to_dense", "linear"]
    assert len(np.unique(read(again)[0])) == 16


def test_values_that_are_not_finite_are_named() -> None:
    weight = random(16, 64)
    weight[2, 3] = np.nan
    with pytest.raises(windfall.FormatError) as error:
        quantize_weights(windfall.load(linear_spec(weight)), 8)
    assert str(error.value) == (
        "weight of layer 'fc' (linear) of the model has values that are infinite or not numbers; leave it out with "
        "select"
    )


def test_values_beyond_float16_are_refused() -> None:
    weight = random(16, 64)
    weight[0, 0] = 1e6
    with pytest.raises(windfall.FormatError, match=r"has the value 1e\+06, float16 ends at 65504; leave it out"):
        quantize_weights(windfall.load(linear_spec(weight)), 16)


def test_small_weights_vectors_and_whole_selections() -> None:
    spec = linear_spec(random(16, 64), bias=random(16))
    model = windfall.load(spec)
    seen: list[Weight] = []
    quantize_weights(model, 8, select=seen.append)
    assert [(w.layer, w.layer_type, w.field, w.shape, w.is_vector) for w in seen] == [
        ("fc", "linear", "weight", (16, 64), False)
    ]
    assert operators(quantize_weights(model, 8, smallest=2000)) == ["const", "linear"]
    few = windfall.load(linear_spec(random(8, 32)))
    assert operators(quantize_weights(few, 8, "kmeans")) == ["const", "linear"]  # a table of 256 is no gain
    assert operators(quantize_weights(model, select={"fc_weight": 4})) == ["constexpr_blockwise_shift_scale", "linear"]
    assert operators(quantize_weights(model, select={"fc": None})) == ["const", "linear"]


def test_a_table_of_the_users_own() -> None:
    def thirds(bits: int, weight: NDArray[np.float32]) -> tuple[Any, Any]:
        return np.linspace(-1, 1, 2**bits), np.arange(weight.size).reshape(weight.shape) % 2**bits

    model = windfall.load(linear_spec(random(16, 64)))
    small = quantize_weights(model, 2, "custom_lut", function=thirds)
    expected = np.linspace(-1, 1, 4).astype(np.float32)[np.arange(16 * 64) % 4].reshape(16, 64)
    np.testing.assert_array_equal(read(small)[0], expected)
    with pytest.raises(windfall.FormatError, match="mode 'custom_lut' gives one; leave granularity out"):
        quantize_weights(model, 2, "custom_lut", "per_channel", function=thirds)


def test_programs_in_pipelines_and_the_report() -> None:
    kind = array(1, 64, dtype="FLOAT32"), array(1, 16, dtype="FLOAT32")
    member = linear_spec(random(16, 64))
    spec = pipeline_spec([member, _network(random(8, 16, seed=1))], {"x": kind[0]}, {"y0": array(8, dtype="FLOAT32")})
    model = windfall.load(spec)
    small = quantize_weights(model, 4, "kmeans", smallest=1000)
    change, other = quantization_report(model, small).layers
    assert other.bytes_after == other.bytes_before
    change = replace(change, layer=change.layer.rpartition("/")[2])
    assert (change.layer, change.type, change.values, change.bytes_before) == ("fc", "linear", 1024, 4096)
    assert change.bytes_after == 1024 // 2 + 16 * 4
    assert change.snr is not None
    assert 19 < change.snr < 22


def test_the_original_stays_and_a_copy_outlives_it(tmp_path: Path) -> None:
    weight = random(16, 64)
    path = windfall.load(linear_spec(weight)).save(tmp_path / "model.mlpackage")
    before = {p: p.read_bytes() for p in path.rglob("*") if p.is_file()}
    small = quantize_weights(windfall.load(path), 4)
    folder = small._file.blobs.weights if small._file.blobs else None
    assert {p: p.read_bytes() for p in path.rglob("*") if p.is_file()} == before
    assert folder is not None
    assert folder.is_dir()
    x = random(1, 64)
    expected = small.predict({"x": x})["fc"]
    saved = small.save(tmp_path / "small.mlpackage")
    del small
    gc.collect()  # a model and what it is compiled to refer to each other
    assert not folder.exists()
    np.testing.assert_array_equal(windfall.load(saved).predict({"x": x})["fc"], expected)
