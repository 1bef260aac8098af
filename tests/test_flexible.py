"""Models whose inputs have several sizes run as models of each size do."""

import logging
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import windfall
from tests.shapes.models import array, convolution, image, network, random_array, random_image
from tests.support import fill
from windfall.errors import EngineError, LoweringError, UnsupportedError, WindfallError
from windfall.flexible import OFTEN, VARIABLE
from windfall.runtime import ranged as ranged_runtime
from windfall.runtime.choices import Choice

CHANNELS = 2
few = settings(deadline=None, max_examples=25, suppress_health_check=[HealthCheck.too_slow])
edges = st.tuples(st.integers(0, 2), st.integers(0, 2))
pairs = st.tuples(st.integers(1, 3), st.integers(1, 3))


def _borders(amounts: Any) -> dict[str, Any]:
    return {"borderAmounts": [{"startEdgeSize": start, "endEdgeSize": end} for start, end in amounts]}


def _convolution(kernel: Any, stride: int, how: str, amounts: Any, transposed: bool) -> dict[str, Any]:
    made = convolution(CHANNELS, CHANNELS, kernel, stride, how, isDeconvolution=transposed)
    if how == "valid":
        made["convolution"]["valid"] = {"paddingAmounts": _borders(amounts)}
    return made


def _pooling(kernel: Any, stride: int, how: str, kind: str) -> dict[str, Any]:
    padding = {"paddingAmounts": [0, 0]} if how == "includeLastPixel" else {}
    return {"pooling": {"type": kind, "kernelSize": kernel, "stride": [stride, stride], how: padding}}


convolutions = st.builds(
    _convolution, pairs, st.integers(1, 2), st.sampled_from(["same", "valid"]), st.tuples(edges, edges), st.booleans()
)
paddings = st.builds(
    lambda kind, amounts: {"padding": {kind: {}, "paddingAmounts": _borders(amounts)}},
    st.sampled_from(["constant", "reflection", "replication"]),
    st.tuples(edges, edges),
)
upsamplings = st.builds(
    lambda factors, mode: {"upsample": {"scalingFactor": list(factors), "mode": mode}},
    pairs,
    st.sampled_from(["NN", "BILINEAR"]),
)
poolings = st.builds(
    _pooling,
    pairs,
    st.integers(1, 2),
    st.sampled_from(["same", "valid", "includeLastPixel"]),
    st.sampled_from(["MAX", "AVERAGE"]),
)
crops = st.builds(lambda amounts: {"crop": {"cropAmounts": _borders(amounts)}}, st.tuples(edges, edges))
pointwise = st.sampled_from(
    [
        {"activation": {"ReLU": {}}},
        {"activation": {"sigmoidHard": {"alpha": 0.2, "beta": 0.5}}},
        {"unary": {"type": "ABS", "scale": 1.0}},
        {"mvn": {"acrossChannels": False, "normalizeVariance": True, "epsilon": 0.1}},
    ]
)
layers = st.lists(st.one_of(convolutions, paddings, upsamplings, poolings, crops, pointwise), min_size=1, max_size=5)
sizes = st.lists(st.tuples(st.integers(1, 12), st.integers(1, 12)), min_size=1, max_size=3)


def array_network(parts: list[dict[str, Any]], height: int = 6, width: int = 6) -> Any:
    return network(parts, [array("x", [CHANNELS, height, width])], [array("y")])


def ranged(spec: Any, least: int = 1, most: int = 2048) -> Any:
    """Let the last two axes of the first input be of any size in a range; whether the layers take it is not asked."""
    feature = spec.description.input[0].type
    if feature.HasField("imageType"):
        for name in ("widthRange", "heightRange"):
            fill(getattr(feature.imageType.imageSizeRange, name), {"lowerBound": least, "upperBound": most})
        return spec
    *rest, _, _ = feature.multiArrayType.shape
    for low, high in [*((size, size) for size in rest), (least, most), (least, most)]:
        feature.multiArrayType.shapeRange.sizeRanges.add(lowerBound=low, upperBound=high)
    return spec


def listed(spec: Any, *dims: tuple[int, int]) -> Any:
    """Let the last two axes of the first input have some sizes."""
    kind = spec.description.input[0].type.multiArrayType
    for height, width in dims:
        kind.enumeratedShapes.shapes.add(shape=[kind.shape[0], height, width])
    return spec


def result(model: windfall.Model, x: Any) -> Any:
    (name,) = (feature.name for feature in model.description.inputs)
    (found,) = model.predict({name: x}).values()
    return np.asarray(found)


def outcome(model: windfall.Model, x: Any) -> Any:
    """Return the result, or the type of the error."""
    try:
        return result(model, x)
    except WindfallError as error:
        return type(error)


@pytest.mark.parametrize("engine", ["onnxruntime", "openvino"])
@few
@given(parts=layers, dims=sizes)
def test_a_range_gives_what_a_model_of_each_size_gives(engine: str, parts: Any, dims: Any) -> None:
    """Fully convolutional networks of random layers; sizes that are too small for a layer are the same error."""
    flexible = windfall.load(ranged(array_network(parts)), engine=engine, threads=1)
    for height, width in dims:
        x = random_array(CHANNELS, height, width)
        expected = outcome(windfall.load(array_network(parts, height, width), engine="onnxruntime", threads=1), x)
        found = outcome(flexible, x)
        if isinstance(expected, type):
            assert found is expected
        else:
            np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)


def _with_gain(monkeypatch: pytest.MonkeyPatch, gain: float) -> None:
    """Let a program of one size be so many times as fast as one for all."""
    monkeypatch.setattr("windfall.runtime.ranged._gain", lambda *_: gain)


def programs(model: windfall.Model) -> int:
    return len(model._programs)


STRIDED = [convolution(CHANNELS, 4, stride=2), {"activation": {"ReLU": {}}}, convolution(4, CHANNELS)]
SIZED = [_pooling((2, 2), 2, "includeLastPixel", "AVERAGE")]
SIZED[0]["pooling"]["includeLastPixel"] = {"paddingAmounts": [1, 1]}
"""A layer that needs to know the size of its input."""


def test_a_range_is_compiled_once() -> None:
    model = windfall.load(ranged(array_network(STRIDED)), engine="onnxruntime")
    for size in range(5, 25):
        assert result(model, random_array(CHANNELS, size, size + 3)).shape == (
            CHANNELS,
            -(-size // 2),
            -(-(size + 3) // 2),
        )
    assert programs(model) == 1


def test_listed_sizes_share_a_program() -> None:
    model = windfall.load(listed(array_network(STRIDED), (6, 6), (8, 12), (5, 7)), engine="onnxruntime")
    (compiled,) = model.compile_sizes()
    for height, width in [(8, 12), (6, 6), (5, 7)]:
        x = random_array(CHANNELS, height, width)
        fixed = windfall.load(array_network(STRIDED, height, width), engine="onnxruntime")
        np.testing.assert_allclose(result(model, x), result(fixed, x), rtol=1e-5, atol=1e-6)
    assert programs(model) == 1
    assert list(model._programs.values()) == [compiled]


def test_pictures_have_one_program_for_all_sizes() -> None:
    parts = [convolution(3, 3, stride=2), {"upsample": {"scalingFactor": [2, 2]}}]
    spec = network(parts, [image("image", 8, 8)], [array("y")])
    model = windfall.load(ranged(spec), engine="onnxruntime")
    from PIL import Image

    for width, height in [(8, 8), (11, 6), (5, 30)]:
        picture = Image.fromarray(random_image(width, height))
        fixed = windfall.load(network(parts, [image("image", width, height)], [array("y")]), engine="onnxruntime")
        np.testing.assert_allclose(result(model, picture), result(fixed, picture), rtol=1e-5, atol=1e-4)
    assert programs(model) == 1


def test_where_a_layer_needs_a_size_each_has_a_program(caplog: pytest.LogCaptureFixture) -> None:
    model = windfall.load(ranged(array_network(SIZED)), engine="onnxruntime")
    with caplog.at_level(logging.INFO, "windfall"):
        for size in (6, 7, 8):
            x = random_array(CHANNELS, size, size)
            fixed = windfall.load(array_network(SIZED, size, size), engine="onnxruntime")
            np.testing.assert_allclose(result(model, x), result(fixed, x), rtol=1e-5)
    told = [record.message for record in caplog.records if "compiled for each size" in record.message]
    assert len(told) == 1
    assert "includeLastPixel with AVERAGE needs an input whose H and W are known" in told[0]
    assert programs(model) == 3


def test_only_sizes_that_may_be_too_small_or_far_too_large_are_lowered(monkeypatch: pytest.MonkeyPatch) -> None:
    from windfall.lowering.neural_network import network as lowering

    seen = []
    original = lowering.lower_network
    monkeypatch.setattr(
        lowering,
        "lower_network",
        lambda file, shapes, names: seen.append(shapes["x"][-2:]) or original(file, shapes, names),
    )
    model = windfall.load(ranged(array_network(STRIDED)), engine="onnxruntime")
    for height, width in [(6, 6), (9, 7), (6, 48), (5, 9), (6, 80), (6, 80)]:
        result(model, random_array(CHANNELS, height, width))
    assert seen == [(5, 9), (6, 80)]  # the first is compiled for its own sake, as the default size


def test_an_error_at_one_size_is_that_of_a_model_of_that_size() -> None:
    padded = [{"padding": {"reflection": {}, "paddingAmounts": _borders([(3, 3), (3, 3)])}}]
    model = windfall.load(ranged(array_network(padded)), engine="onnxruntime")
    result(model, random_array(CHANNELS, 6, 6))
    with pytest.raises(LoweringError, match="must be smaller than the input for a reflection, which has 2 along H"):
        result(model, random_array(CHANNELS, 2, 6))
    assert result(model, random_array(CHANNELS, 9, 9)).shape == (CHANNELS, 15, 15)
    assert programs(model) == 1


def test_a_size_of_which_nothing_would_be_left_is_an_error() -> None:
    cropped = [{"crop": {"cropAmounts": _borders([(1, 1), (0, 0)])}}]
    model = windfall.load(ranged(array_network(cropped)), engine="onnxruntime")
    assert result(model, random_array(CHANNELS, 6, 6)).shape == (CHANNELS, 4, 6)
    with pytest.raises(LoweringError, match="must leave at least one pixel of 2 along H"):
        result(model, random_array(CHANNELS, 2, 6))


@pytest.mark.parametrize(
    ("parts", "gain", "engine"),
    [
        pytest.param(STRIDED, 1.0, "onnxruntime", id="one program"),
        pytest.param(STRIDED, 1.0, "openvino", id="one program of OpenVINO"),
        pytest.param(STRIDED, 1.2, "onnxruntime", id="some more in the background"),
        pytest.param(SIZED, 1.0, "onnxruntime", id="one for each size"),
    ],
)
def test_predictions_of_many_sizes_from_many_threads(
    parts: Any, gain: float, engine: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    _with_gain(monkeypatch, gain)
    model = windfall.load(ranged(array_network(parts)), threads=1, engine=engine)
    given_ = [random_array(CHANNELS, 4 + 2 * (i % 5), 4 + 2 * (i % 7)) for i in range(35)]
    expected = [
        result(windfall.load(array_network(parts, *x.shape[1:]), threads=1, engine="onnxruntime"), x) for x in given_
    ]
    with ThreadPoolExecutor(6) as pool:
        found = list(pool.map(lambda i: result(model, given_[i % 35]), range(140)))
    for number, one in enumerate(found):
        np.testing.assert_allclose(one, expected[number % 35], rtol=1e-5, atol=1e-6)


def test_openvino_runs_all_sizes() -> None:
    model = windfall.load(ranged(array_network(STRIDED)), engine="openvino", threads=1)
    result(model, random_array(CHANNELS, 6, 6))
    (compiled,) = model._programs.values()
    assert compiled.program.engine == "openvino"


def test_auto_takes_the_engine_that_is_faster_at_the_default_size(monkeypatch: pytest.MonkeyPatch) -> None:
    for engine in ("openvino", "onnxruntime"):
        choice = Choice(engine, "so it is", {})
        monkeypatch.setattr("windfall.runtime.ranged.faster_engine", lambda *_, choice=choice: choice)
        model = windfall.load(ranged(array_network(STRIDED)), threads=1)
        result(model, random_array(CHANNELS, 9, 7))
        (compiled,) = model._programs.values()
        assert (compiled.program.engine, compiled.program.choice) == (engine, choice)


def test_as_many_programs_stay_as_the_setting_says(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, "2")
    spec = listed(array_network(STRIDED), (6, 6), (8, 8), (10, 10), (12, 12))
    model = windfall.load(spec, engine="onnxruntime")
    monkeypatch.setattr("windfall.runtime.ranged.compile_ranged", _refuse)
    assert len(model.compile_sizes()) == 4
    assert programs(model) == 2


def _refuse(*_: Any) -> None:
    raise EngineError("not today")


@pytest.mark.parametrize("setting", ["0", "-1", "many", ""])
def test_a_setting_that_is_no_number(monkeypatch: pytest.MonkeyPatch, setting: str) -> None:
    monkeypatch.setenv(VARIABLE, setting)
    model = windfall.load(array_network(STRIDED))
    with pytest.raises(UnsupportedError) as caught:
        result(model, random_array(CHANNELS, 6, 6))
    rule = "must be a whole number of at least 1; change or unset it"
    assert str(caught.value) == f"WINDFALL_PROGRAMS is {setting!r}, {rule}"


def test_where_it_pays_a_size_of_a_range_that_is_used_often_gets_a_program(monkeypatch: pytest.MonkeyPatch) -> None:
    _with_gain(monkeypatch, 1.2)
    model = windfall.load(ranged(array_network(STRIDED)), threads=1, engine="onnxruntime")
    x, rare = random_array(CHANNELS, 9, 7), random_array(CHANNELS, 6, 11)
    expected = [result(windfall.load(array_network(STRIDED, *one.shape[1:]), threads=1), one) for one in (x, rare)]
    np.testing.assert_allclose(result(model, rare), expected[1], rtol=1e-5, atol=1e-6)
    for _ in range(OFTEN):
        assert programs(model) == 1
        np.testing.assert_allclose(result(model, x), expected[0], rtol=1e-5, atol=1e-6)
    for thread in threading.enumerate():
        if thread.name == "windfall-compile":
            thread.join()
    assert programs(model) == 2
    assert (("x", (1, 1, CHANNELS, 9, 7)),) in [shapes for shapes, _ in model._programs]
    np.testing.assert_allclose(result(model, x), expected[0], rtol=1e-5, atol=1e-6)


def test_where_it_does_not_pay_it_gets_none(monkeypatch: pytest.MonkeyPatch) -> None:
    _with_gain(monkeypatch, 1.02)
    model = windfall.load(ranged(array_network(STRIDED)), threads=1, engine="onnxruntime")
    for _ in range(2 * OFTEN):
        result(model, random_array(CHANNELS, 9, 7))
    assert "windfall-compile" not in [thread.name for thread in threading.enumerate()]
    assert programs(model) == 1


def test_where_it_pays_each_listed_size_has_a_program(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    _with_gain(monkeypatch, 1.25)
    model = windfall.load(listed(array_network(STRIDED), (6, 6), (8, 12), (5, 7)), engine="onnxruntime")
    with caplog.at_level(logging.INFO, "windfall"):
        assert len(model.compile_sizes()) == 3
    assert "the model is compiled for each size: that is 1.25 times as fast" in caplog.messages
    for height, width in [(8, 12), (6, 6), (5, 7)]:
        x = random_array(CHANNELS, height, width)
        fixed = windfall.load(array_network(STRIDED, height, width), engine="onnxruntime")
        np.testing.assert_array_equal(result(model, x), result(fixed, x))
    assert programs(model) == 3


@pytest.mark.parametrize(("work", "timed"), [(1, True), (10**12, False)], ids=["a lot", "little"])
def test_both_programs_are_timed_once_where_they_differ_and_have_work(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, work: int, timed: bool
) -> None:
    monkeypatch.setenv("WINDFALL_CACHE", str(tmp_path))
    monkeypatch.setattr(ranged_runtime, "LEAST_WORK", work)
    # As if a rewrite that needs sizes had fired in one graph alone.
    monkeypatch.setattr(
        ranged_runtime, "_work", lambda graph: len(graph.input[0].type.tensor_type.shape.dim[3].dim_param)
    )
    calls = []
    monkeypatch.setattr(
        ranged_runtime, "best_times", lambda runs, _: calls.append(runs) or dict.fromkeys(runs, 2.0) | {"one size": 1.0}
    )
    for _ in range(2):
        model = windfall.load(ranged(array_network(STRIDED)), threads=1, engine="onnxruntime")
        result(model, random_array(CHANNELS, 9, 7))
        assert model._flexible._gain == (2.0 if timed else 1.0)
    assert len(calls) == timed


def test_programs_that_do_the_same_are_not_timed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ranged_runtime, "LEAST_WORK", 1)
    monkeypatch.setattr(ranged_runtime, "best_times", None)
    model = windfall.load(ranged(array_network(STRIDED, 20, 20)), threads=1, engine="onnxruntime")
    result(model, random_array(CHANNELS, 9, 7))
    assert model._flexible._gain == 1.0
