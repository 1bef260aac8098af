"""Whole models: what they become, and that all bounds hold on the samples held out."""

import json
import math
from typing import Any
from xml.etree import ElementTree as ET

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

import windfall
from tests.comparison.support import classifier, rows
from tests.quantization.programs.models import linear_spec
from tests.shrinking.support import SIDE, matrix, picture_spec, samples, sum_model, sum_spec
from windfall.comparison import Measure
from windfall.comparison.measures import MEASURES
from windfall.quantization import quantization_report, quantize_weights
from windfall.shrinking import ShrinkResult
from windfall.shrinking.criteria import NAMES
from windfall.shrinking.evaluation import MOST_MEASURED, split
from windfall.shrinking.options import Means, assemble, layers_of


def decibels(model: Any, small: Any, cases: list[dict[str, Any]], output: str = "y0") -> list[float]:
    """The signal-to-noise ratio of each sample, by NumPy alone."""
    pairs = [(model.predict(case)[output], small.predict(case)[output]) for case in cases]
    return [10 * math.log10(np.sum(x.astype(float) ** 2) / np.sum((x.astype(float) - y) ** 2)) for x, y in pairs]


def held_out(result: ShrinkResult, cases: list[Any]) -> list[Any]:
    return [cases[int(name.removeprefix("sample ")) - 1] for name in result.held_out]


def photos(count: int = 6) -> list[Image.Image]:
    rng = np.random.default_rng(5)
    return [Image.fromarray(rng.integers(0, 256, (12, 16, 3), np.uint8)) for _ in range(count)]


@pytest.fixture(scope="module")
def at_30() -> ShrinkResult:
    return windfall.shrink(sum_model(), samples(), {"snr": 30})


def test_the_layer_that_matters_gets_more_bits(at_30: ShrinkResult) -> None:
    bits = {layer.layer: layer.bits for layer in at_30.layers}
    assert bits["loud"] is not None
    assert bits["quiet"] is not None
    assert bits["loud"] > bits["quiet"]


def test_the_bound_holds_on_the_samples_held_out(at_30: ShrinkResult) -> None:
    found = decibels(sum_model(), at_30.model, held_out(at_30, samples()))
    assert np.mean(found) >= 30
    assert at_30.kept[0].value == pytest.approx(np.mean(found), abs=1e-3)
    assert at_30.kept[0].score.least == pytest.approx(min(found), abs=1e-3)


def test_the_file_is_smaller_than_with_all_layers_alike(at_30: ShrinkResult) -> None:
    cases = held_out(at_30, samples())
    alike = [quantize_weights(sum_model(), bits, mode) for bits in range(1, 9) for mode in ("kmeans", "linear")]
    holding = [model._file.size for model in alike if np.mean(decibels(sum_model(), model, cases)) >= 30]
    assert at_30.size_after < min(holding)
    assert at_30.size_after == len(at_30.model.spec.SerializeToString())
    best = at_30.best_width
    assert best is not None
    assert best.size in holding


def test_a_result_that_was_not_asked_for_worst_may_have_worse_samples() -> None:
    result = windfall.shrink(sum_model(), samples(), {"snr": 30}, worst=True)
    assert min(decibels(sum_model(), result.model, held_out(result, samples()))) >= 30
    assert result.worst
    assert result.kept[0].value == result.kept[0].score.least


@settings(max_examples=4, deadline=None)
@given(st.floats(5, 60), st.floats(0.001, 1))
def test_the_bound_holds_whatever_it_is(bound: float, share: float) -> None:
    model = sum_model(share)
    result = windfall.shrink(model, samples(4), {"snr": bound})
    assert np.mean(decibels(model, result.model, held_out(result, samples(4)))) >= bound - 1e-6


def test_the_same_every_time(at_30: ShrinkResult) -> None:
    again = windfall.shrink(sum_model(), samples(), {"snr": 30})
    assert again.to_dict() == at_30.to_dict()
    assert again.model.spec.SerializeToString() == at_30.model.spec.SerializeToString()


def test_several_threads_find_the_same(at_30: ShrinkResult) -> None:
    threaded = windfall.shrink(windfall.load(sum_spec(), threads=3), samples(), {"snr": 30})
    assert [layer.bits for layer in threaded.layers] == [layer.bits for layer in at_30.layers]


def test_modes_are_limited() -> None:
    result = windfall.shrink(sum_model(), samples(), {"snr": 30}, modes="linear")
    assert {layer.mode for layer in result.layers} == {"linear"}


def test_several_metrics_hold_at_once() -> None:
    bounds = {"snr": 20, "cosine": 0.999, "error": 1.0}
    result = windfall.shrink(sum_model(), samples(), bounds)
    model = sum_model()
    pairs = [(model.predict(c)["y0"], result.model.predict(c)["y0"]) for c in held_out(result, samples())]
    assert np.mean([x @ y / np.linalg.norm(x) / np.linalg.norm(y) for x, y in pairs]) >= 0.999
    assert np.mean([np.abs(x - y).max() for x, y in pairs]) <= 1.0
    assert [metric.name for metric in result.kept] == list(bounds)


def test_pictures() -> None:
    model = windfall.load(picture_spec(), threads=1)
    result = windfall.shrink(model, photos(), {"psnr": 32})
    pairs = [
        [np.asarray(one.predict({"photo": photo})["styled"], float) for one in (model, result.model)]
        for photo in held_out(result, photos())
    ]
    ratios = [10 * math.log10(255**2 / np.mean((x - y) ** 2)) for x, y in pairs]
    assert np.mean(ratios) >= 32
    assert result.kept[0].value == pytest.approx(np.mean(ratios))
    assert result.size_after < result.size_before


def test_a_classifier_keeps_its_accuracy() -> None:
    names = [f"class {number}" for number in range(SIDE)]
    model = classifier(np.eye(SIDE) + 0.02 * matrix(4), names)
    cases = rows(*np.eye(SIDE)[:12])
    result = windfall.shrink(model, cases, {"accuracy": 1.0, "top1": 1.0}, labels=names[:12])
    kept = held_out(result, list(zip(cases, names, strict=False)))
    assert [result.model.predict(case)["label"] for case, _ in kept] == [name for _, name in kept]
    assert result.size_after < quantize_weights(model, 8)._file.size


def test_a_model_that_gives_labels_alone() -> None:
    names = [f"class {number}" for number in range(SIDE)]
    model = classifier(np.eye(SIDE) + 0.02 * matrix(4), names, scores="")
    result = windfall.shrink(model, rows(*np.eye(SIDE)[:12]), {"agreement": 1.0})
    given = held_out(result, rows(*np.eye(SIDE)[:12]))
    assert [result.model.predict(case) for case in given] == [model.predict(case) for case in given]
    assert result.size_after < quantize_weights(model, 8)._file.size


def test_a_function_of_ones_own() -> None:
    def off(reference: Any, candidate: Any) -> float:
        return float(np.abs(reference["y0"] - candidate["y0"]).mean())

    result = windfall.shrink(sum_model(), samples(), {"off": 0.2}, metrics={"off": Measure(off, "lower")})
    model = sum_model()
    found = [off(model.predict(case), result.model.predict(case)) for case in held_out(result, samples())]
    assert np.mean(found) <= 0.2


def test_tables_are_those_of_kmeans() -> None:
    result = windfall.shrink(sum_model(), samples(), {"snr": 30}, modes="kmeans")
    bits = {layer.layer: layer.bits for layer in result.layers}
    expected = quantize_weights(sum_model(), 8, "kmeans", select=bits)
    assert result.model.spec.SerializeToString() == expected.spec.SerializeToString()


@pytest.mark.parametrize(("opset", "upgrade"), [(6, False), (6, True), (8, False)])
def test_ml_programs(opset: int, upgrade: bool) -> None:
    model = windfall.load(linear_spec(matrix(1, 32, 64), opset), threads=1)
    cases = [{"x": row[np.newaxis]} for row in matrix(2, 5, 64)]
    result = windfall.shrink(model, cases, {"snr": 18}, upgrade=upgrade)
    assert np.mean(decibels(model, result.model, held_out(result, cases), "fc")) >= 18
    assert result.layers[0].bits == 4
    functions = result.model.message.mlProgram.functions
    assert {function.opset for function in functions.values()} == {f"CoreML{opset}"}
    widths = {point.width.partition(" ")[0] for point in result.curve if point.width}
    assert widths == {"1", "2", "4", "6", "8", "float16"} | ({"3"} if upgrade or opset == 8 else set())


def test_a_layer_is_not_taken_for_one_whose_name_ends_alike() -> None:
    spec = sum_spec()
    spec.neuralNetwork.layers[1].name = "inner/loud"
    model = windfall.load(spec, threads=1)
    means = Means()
    layers, _ = layers_of(model, means)
    assert [layer.path for layer in layers] == ["loud", "inner/loud"]
    wanted = {"loud": (8, "linear"), "inner/loud": (3, "kmeans")}
    choice = tuple([(o.bits, o.mode) for o in layer.options].index(wanted[layer.path]) for layer in layers)
    report = quantization_report(model, assemble(model, layers, choice, means))
    assert [change.bytes_after for change in report.layers] == [
        layer.options[place].size for layer, place in zip(layers, choice, strict=True)
    ]
    assert report.layers[0].bytes_after > 1600
    assert report.layers[1].bytes_after == 1600 * 3 // 8 + 4 * 2**3


def test_layers_that_cannot_be_quantized_stay_and_are_named() -> None:
    spec = sum_spec()
    spec.neuralNetwork.layers[0].innerProduct.weights.floatValue[5] = math.inf
    spec.neuralNetwork.layers[0].innerProduct.weights.floatValue[6] = 1
    model = windfall.load(spec, threads=1)
    cases = [{"x0": np.where(np.arange(SIDE) == 5, 0.1, case["x0"]).astype(np.float32)} for case in samples(4)]
    result = windfall.shrink(model, cases, {"error": 5})
    assert [layer.layer for layer in result.layers] == ["quiet"]
    assert "a layer stays as it is: weights of layer 'loud' (innerProduct) of" in result.warnings[-1]
    assert "has values that are infinite or not numbers" in result.warnings[-1]


def test_one_sample_is_both_and_says_so() -> None:
    result = windfall.shrink(sum_model(), samples(1), {"snr": 25})
    assert result.measured == result.held_out == ("sample 1",)
    assert result.warnings[0].startswith("there is one sample: what holds for it was sought on it")
    assert "Note: there is one sample" in str(result)


@pytest.mark.parametrize("count", [2, 3, 7, 8, 24, 100])
def test_samples_are_split(count: int) -> None:
    measured, held = split(list(range(count)))  # type: ignore[arg-type]  # any list is split alike
    assert sorted([*measured, *held]) == list(range(count))
    assert 1 <= len(measured) <= MOST_MEASURED
    assert len(held) >= len(measured)


def test_every_measure_has_a_short_name() -> None:
    assert set(NAMES.values()) == {title for measures in MEASURES.values() for title in measures}


def test_the_result_as_dictionaries_and_tables(at_30: ShrinkResult) -> None:
    found = json.loads(json.dumps(at_30.to_dict(), allow_nan=False))
    assert found["size_after"] == at_30.size_after
    assert [layer["layer"] for layer in found["layers"]] == ["loud", "quiet"]
    assert found["kept"][0]["bound"] == 30
    assert len(found["curve"]) == len(at_30.curve)
    assert [point["size"] for point in found["curve"]] == sorted(point["size"] for point in found["curve"])
    text = str(at_30)
    for part in ("loud", "quiet", "All layers alike", "Size and snr", "X the result", "30.00 dB"):
        assert part in text
    assert all(len(line) <= 80 for line in text.splitlines())


def test_the_curve_is_a_picture(at_30: ShrinkResult, tmp_path: Any) -> None:
    path = at_30.save_curve(tmp_path / "curve.svg")
    root = ET.fromstring(path.read_text(encoding="utf-8"))  # noqa: S314  # our own file
    name = "{http://www.w3.org/2000/svg}"
    assert root.tag == f"{name}svg"
    dots = [dot for dot in root.iter(f"{name}circle") if len(dot)]
    assert len(dots) == len(at_30.curve)
    width, height = float(root.attrib["width"]), float(root.attrib["height"])
    assert all(0 < float(dot.attrib["cx"]) < width and 0 < float(dot.attrib["cy"]) < height for dot in dots)
    assert sum(dot.attrib["fill"] == "#d33" for dot in dots) == 1
