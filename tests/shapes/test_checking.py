"""What a model can take, and what stands in the way."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import windfall
from tests.programs import Name
from tests.shapes.models import array, convolution, image, mobile, network, program, random_array, weights
from windfall import shapes
from windfall.errors import UnsupportedError

STYLES = sorted((Path(__file__).parents[2] / "examples/style_transfer/models").glob("*.mlmodel"))


@pytest.mark.parametrize("path", STYLES, ids=lambda path: path.stem)
def test_the_grain_of_the_style_networks_has_one_size(path: Path) -> None:
    report = shapes.check(windfall.load(path))
    for axis in ("width", "height"):
        found = report.axis("image", axis)
        assert not found.is_flexible
        assert found.sizes == "256 only"
        assert (found.above.layer, found.above.type) == ("grain", "bias")
    assert report.trials == ()


def test_without_it_they_take_what_their_padding_allows() -> None:
    spec = windfall.load(STYLES[0]).spec
    layers = spec.neuralNetwork.layers
    grain = next(layer for layer in layers if layer.name == "grain")
    for layer in layers:
        layer.input[:] = ["image" if name == "grain" else name for name in layer.input]
    layers.remove(grain)
    report = shapes.check(windfall.load(spec), run=False)
    assert [one.sizes for one in report.axes] == ["5..", "5.."]
    assert report.axes[0].below.layer == "conv1_pad"
    assert report.axes[0].below.size == 4
    assert report.together is None


def test_a_mobile_network_whose_pooling_is_global() -> None:
    report = shapes.check(windfall.load(mobile()))
    assert [one.sizes for one in report.axes] == ["1..", "1.."]
    assert report.rewrites == ()
    assert [trial.sizes["image"] for trial in report.trials] == [(24, 40), (42, 26)]
    assert all(trial.agrees for trial in report.trials)


def test_a_classifier_with_a_fully_connected_head() -> None:
    report = shapes.check(windfall.load(mobile(pooled=False)))
    for one in report.axes:
        assert one.sizes == "25..32"  # three strides of 2 round up
        assert (one.above.layer, one.above.type, one.above.size) == ("fc1", "innerProduct", 33)
        assert (one.below.layer, one.below.size) == ("fc1", 24)
        assert "inputChannels is 512" in one.above.reason
    assert all(trial.agrees for trial in report.trials)


def test_a_pooling_of_the_default_size_is_to_be_rewritten() -> None:
    pooling = {"type": "AVERAGE", "kernelSize": [4, 4], "stride": [1, 1], "valid": {}}
    report = shapes.check(windfall.load(mobile(pooling=pooling)), run=False)
    assert report.rewrites == ("pool (pooling): globalPooling",)
    assert [one.sizes for one in report.axes] == ["1..", "1.."]


def u_shaped(depth: int, size: int) -> Any:
    """Halved some times, doubled as often, and added to the input."""
    half = {"pooling": {"type": "MAX", "kernelSize": [2, 2], "stride": [2, 2], "valid": {}}}
    double = {"upsample": {"scalingFactor": [2, 2], "mode": "NN"}}
    layers = [{**half, "input": ["x"], "output": ["h"]}, *[half] * (depth - 1), *[double] * (depth - 1)]
    layers += [{**double, "output": ["up"]}, {"add": {}, "input": ["x", "up"], "name": "sum"}]
    return network(layers, [array("x", [2, size, size])], [array("y", [2, size, size])])


@pytest.mark.parametrize(("depth", "size"), [(1, 8), (3, 16), (4, 48)])
def test_a_u_goes_in_steps(depth: int, size: int) -> None:
    found = shapes.check(windfall.load(u_shaped(depth, size)), run=False).axis("x", "axis 1")
    assert (found.step, found.least, found.most) == (2**depth, 2**depth, None)
    assert found.between.layer == "sum"
    # Each size that is named goes and no other, up to a limit.
    goes = [_takes(u_shaped(depth, size), length) for length in range(1, 2 * size)]
    assert goes == [length % found.step == 0 for length in range(1, 2 * size)]


def _takes(spec: Any, height: int) -> bool:
    shape = spec.description.input[0].type.multiArrayType.shape
    shape[1] = height
    try:
        return bool(windfall.load(spec).predict({"x": np.zeros(shape)}))
    except windfall.WindfallError:
        return False


def test_channels_are_what_the_first_layer_takes() -> None:
    report = shapes.check(windfall.load(network([convolution(3, 2)], [array("x", [3, 8, 8])], [array("y")])), run=False)
    assert [one.sizes for one in report.axes] == ["3 only", "1..", "1.."]
    assert report.axes[0].above.layer == "convolution0"


def test_axes_that_must_be_equal_are_found() -> None:
    """Tokens and their mask, and heads whose targets hold the length."""
    table = weights(10, 6)
    spec = program(
        {"ids": np.zeros((1, 8), np.int32), "mask": random_array(1, 8, 1)},
        [
            ("gather", "e", (1, 8, 6), {"x": table, "indices": Name("ids"), "axis": np.int32(0)}),
            ("concat", "m", (1, 8, 7), {"values": [Name("e"), Name("mask")], "axis": np.int32(2), "interleave": False}),
            ("reshape", "y", (1, 56), {"x": Name("m"), "shape": [1, 56]}),
        ],
    )
    report = shapes.check(windfall.load(spec))
    assert report.axis("ids", "axis 1").tied == ("mask axis 1",)
    assert report.axis("ids", "axis 1").sizes == "1.."
    assert all(trial.agrees for trial in report.trials)
    assert len(report.trials) == 2
    assert str(report).count("must be that of") == 4  # batches, too


def test_a_square_is_told_from_two_sides() -> None:
    """A picture times itself turned on its side: width and height must be equal."""
    layers = [
        {"transpose": {"axes": [0, 2, 1]}, "input": ["x"], "output": ["t"]},
        {"add": {}, "input": ["x", "t"], "name": "sum"},
    ]
    spec = network(layers, [array("x", [2, 8, 8])], [array("y")], exact=True)
    report = shapes.check(windfall.load(spec))
    assert report.axis("x", "axis 1").tied == ("x axis 2",)
    assert report.axis("x", "axis 1").sizes == "1.."


def test_a_target_that_holds_a_size_is_to_be_rewritten() -> None:
    """Rows of 64 of an array of 64 columns: other widths would go in steps of 8 alone, and for the wrong rows."""
    layers = [{"reshapeStatic": {"targetShape": [-1, 64]}, "name": "rows"}]
    spec = network(layers, [array("x", [8, 64])], [array("y")], exact=True)
    report = shapes.check(windfall.load(spec))
    assert [one.sizes for one in report.axes] == ["1..", "1.."]
    assert report.rewrites == ("rows (reshapeStatic): rankPreservingReshape to [0, 0]",)
    assert all(trial.agrees for trial in report.trials)


def test_sizes_that_do_not_go_together() -> None:
    """The sum of two arrays of 1: any size of either goes, but not two different ones."""
    layers = [{"addBroadcastable": {}, "input": ["x", "y"], "name": "sum"}]
    spec = network(layers, [array("x", [1]), array("y", [1])], [array("z")], exact=True)
    report = shapes.check(windfall.load(spec))
    assert [one.sizes for one in report.axes] == ["1..", "1.."]
    assert all(trial.agrees for trial in report.trials)
    model = windfall.load(spec)
    flexible = shapes.set_range(shapes.set_range(model, "x", axes={0: (1, 4)}), "y", axes={0: (1, 4)})
    assert flexible.predict({"x": random_array(3), "y": random_array(3)})["z"].shape == (3,)
    with pytest.raises(windfall.FormatError, match=r"cannot lower layer 'sum' \(addBroadcastable\)"):
        flexible.predict({"x": random_array(3), "y": random_array(2)})


def test_the_report_as_text_and_as_json() -> None:
    report = shapes.check(windfall.load(mobile(pooled=False)))
    found = json.loads(json.dumps(report.to_dict()))
    assert found["axes"][0]["above"] == {
        "layer": "fc1",
        "type": "innerProduct",
        "reason": "inputChannels is 512, must be the product of [640, 1, 1], the input's last sizes",
        "size": 33,
    }
    assert found["axes"][0]["flexible"]
    assert found["trials"][0]["agrees"]
    text = str(report)
    assert " image   width         32   25..32 " in text
    assert "at 24: fc1" in text
    assert "same as a model of that size" in text
    with pytest.raises(KeyError):
        report.axis("image", "depth")


def test_a_model_that_does_not_run_is_refused() -> None:
    spec = network([{"custom": {"className": "Mine"}, "name": "own"}], [image("image", 8, 8)], [array("y")])
    with pytest.raises(UnsupportedError, match=r"^the model cannot be run: layer 'own' \(custom, className 'Mine'\): "):
        shapes.check(windfall.load(spec))


def test_sizes_that_go_by_no_rule_are_told() -> None:
    """Halved twice rounding up, doubled once and added: 4 of 8 sizes in a row go."""
    half = {"pooling": {"type": "MAX", "kernelSize": [2, 2], "stride": [2, 2], "same": {}}}
    layers: list[dict[str, Any]] = [{**half, "output": ["a"]}, {**half, "output": ["b"]}]
    layers += [{"upsample": {"scalingFactor": [2, 2], "mode": "NN"}, "output": ["up"]}]
    layers += [{"add": {}, "input": ["a", "up"], "name": "sum"}]
    spec = network(layers, [array("x", [2, 12, 16])], [array("y", [2, 12, 16])])
    report = shapes.check(windfall.load(spec))
    found = report.axis("x", "axis 1")
    assert found.has_gaps
    assert found.sizes.endswith(", not all")
    assert found.between.layer == "sum"
    assert not _takes(type(spec).FromString(spec.SerializeToString()), found.between.size)
    with pytest.raises(UnsupportedError, match=r"layer 'sum' \(add\): "):
        shapes.set_range(windfall.load(spec), "x", axes={1: (11, 40)})
