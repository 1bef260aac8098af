"""Custom layers among others: as operators anywhere, evaluated wherever the graph can be cut."""

from typing import Any

import numpy as np
import pytest

import windfall
from tests.custom.layers import Doubled, EncodedDoubled
from tests.lowering.neural_network.test_control_flow import branch, constant, copy, layer, linear, loop, model
from tests.support import layer_spec
from windfall.errors import FeatureError, UnsupportedError
from windfall.lowering.gaps import unsupported

X = np.array([3.0], np.float32)


def doubled(source: str, target: str) -> Any:
    return layer("custom", source, target, className="Mine")


def run(layers: Any, found: type[windfall.CustomLayer]) -> Any:
    spec = model(layers, {"x": X}, "y")
    return windfall.load(spec, custom_layers={"Mine": found}).predict({"x": X})["y"]


IN_LOOP = [copy("x", "y"), loop([doubled("y", "z"), copy("z", "y")], 3)]
IN_BRANCH = [copy("x", "y"), branch("x", [doubled("y", "z"), copy("z", "y")])]
AFTER_STOP = [
    copy("x", "y"),
    loop([branch("x", [layer("loopBreak")]), doubled("y", "z"), copy("z", "y")], 2),
]
BELOW_NINE = ("on", [doubled("y", "d"), layer("lessThan", "d", "on", alpha=9)])
IN_CONDITION = [copy("x", "y"), loop([linear("y", "n", 1, 1), copy("n", "y")], 5, condition=BELOW_NINE)]


@pytest.mark.parametrize(("layers", "expected"), [(IN_LOOP, 24), (IN_BRANCH, 6), (AFTER_STOP, 3), (IN_CONDITION, 5)])
def test_operators_run_in_loops_and_branches(layers: Any, expected: float) -> None:
    np.testing.assert_array_equal(run(layers, EncodedDoubled), [expected])


@pytest.mark.parametrize("layers", [IN_LOOP, IN_BRANCH, AFTER_STOP, IN_CONDITION])
def test_in_loops_and_branches_a_layer_needs_operators(layers: Any) -> None:
    with pytest.raises(UnsupportedError) as error:
        run(layers, Doubled)
    name = "custom_d" if layers is IN_CONDITION else "custom_z"
    assert str(error.value) == (
        f"layer {name!r} (custom, className 'Mine') of the model lies in a loop or a branch, where the graph cannot be "
        "cut; give its class an encode method"
    )


@pytest.mark.parametrize("found", [Doubled, EncodedDoubled])
def test_loops_and_branches_stand_before_and_behind(found: Any) -> None:
    """The graphs inside of them use values of before the cut and of behind it."""
    layers = [
        constant("c", 10),
        copy("x", "y"),
        loop([layer("add", "y c", "n"), copy("n", "y")], 2),  # 23
        doubled("y", "d"),  # 46
        branch("d", [layer("add", "d y", "s"), layer("add", "s x", "y2")], [copy("d", "y2")]),  # 46 + 23 + 3
        layer("add", "y2 c", "y_last"),
        linear("y_last", "result", 1, 0),
    ]
    spec = model(layers, {"x": X}, "result")
    result = windfall.load(spec, custom_layers={"Mine": found}).predict({"x": X})["result"]
    np.testing.assert_array_equal(result, [82])


def test_without_a_class_a_layer_is_a_gap() -> None:
    spec = layer_spec("custom", X, className="Mine")
    assert list(unsupported(spec)) == [
        (
            "layer 'layer' (custom, className 'Mine'): needs a class of yours: @windfall.custom_layer(CLASS_NAME), or "
            "load(..., custom_layers={CLASS_NAME: CLASS})"
        )
    ]


def test_an_output_that_is_too_large_names_the_layer() -> None:
    huge = type("Huge", (Doubled,), {"output_shapes": lambda self, shapes: [[2**20, 2**20]]})
    with pytest.raises(FeatureError, match=r"^layer 'custom_y' \(custom, className 'Mine'\) of the model: a tensor of"):
        run([doubled("x", "y")], huge)


@pytest.mark.parametrize("count", [0, 2])
def test_a_wrong_number_of_outputs_is_refused(count: int) -> None:
    spec = layer_spec("custom", X, outputs=2, className="Mine")
    found = type("Several", (EncodedDoubled,), {"encode": lambda self, graph, inputs: list(inputs) * count})
    loaded = windfall.load(spec, custom_layers={"Mine": found})
    if count == 2:
        np.testing.assert_array_equal(loaded.predict({"x0": X})["y1"], X)
        return
    with pytest.raises(FeatureError, match="encode returned a list of 0, must return a list of 2"):
        loaded.predict({"x0": X})
