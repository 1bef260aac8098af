"""Graphs that are cut: whatever the network, the numbers are those of the same network in one piece, and of NumPy."""

from typing import Any

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.custom.layers import Doubled, EncodedDoubled, loaded, network
from windfall.custom.program import CutProgram

X = np.array([[0.5, -1, 2], [-0.25, 1, -2]], np.float32)
NUMPY = {"abs": abs, "add": lambda a, b: a + b, "max": np.maximum, "Mine": lambda a: a * 2}
INPUTS = {"abs": 1, "add": 2, "max": 2, "Mine": 1}


@st.composite
def networks(draw: Any) -> Any:
    """Some layers, each of which takes any values before it; the last two are outputs."""
    kinds = draw(st.lists(st.sampled_from(list(INPUTS)), min_size=2, max_size=9))
    layers = []
    for number, kind in enumerate(kinds):
        before = st.sampled_from(["x", *(f"v{index}" for index in range(number))])
        layers.append((kind, [draw(before) for _ in range(INPUTS[kind])], [f"v{number}"]))
    return layers


def numbers(layers: Any) -> dict[str, Any]:
    values = {"x": X}
    for kind, takes, (gives,) in layers:
        values[gives] = NUMPY[kind](*(values[name] for name in takes))
    return values


def turns(layers: Any, outputs: Any) -> int:
    """How many graphs there must be: the most there are in a row on the way to an output, one after another."""
    depth = {"x": 0}  # an odd number is a graph, an even one what is between two
    for kind, takes, (gives,) in layers:
        earliest = max(depth[name] for name in takes)
        depth[gives] = earliest + (earliest % 2 != (kind != "Mine"))
    needed = set(outputs)
    for _, takes, (gives,) in reversed(layers):
        if gives in needed:
            needed |= set(takes)
    return len({depth[gives] for kind, _, (gives,) in layers if gives in needed and kind != "Mine"})


@settings(max_examples=30, deadline=None)
@given(networks())
def test_any_network_gives_the_same_cut_and_uncut(layers: Any) -> None:
    outputs = [f"v{len(layers) - 2}", f"v{len(layers) - 1}"]
    spec, expected = network(*layers, outputs=outputs), numbers(layers)
    cut = loaded(spec, Mine=Doubled)
    for model in (cut, loaded(spec, Mine=EncodedDoubled)):
        result = model.predict({"x": X})
        rows = model.predict_batch([{"x": X}, {"x": X}])
        for name in outputs:
            np.testing.assert_array_equal(result[name], expected[name])
            np.testing.assert_array_equal(rows[1][name], expected[name])
    program = cut.compiled.program
    if isinstance(program, CutProgram):
        assert program.graphs == turns(layers, outputs)


def test_weights_and_what_is_computed_of_them_are_in_each_graph_that_needs_them() -> None:
    """Both graphs add the same weights, one of them made of a constant by operators: neither is handed on."""
    spec = network(("add", ["x", "c"], ["a"]), ("Mine", ["a"], ["b"]), ("add", ["b", "c"], ["y"]))
    layers = spec.neuralNetwork.layers
    constant = layers.add(name="constant", output=["k"])
    constant.loadConstantND.shape.extend((200, 3))
    constant.loadConstantND.data.floatValue.extend(np.arange(600))
    part = layers.add(name="part", input=["k"], output=["c"])
    part.sliceStatic.beginIds.extend([0, 0])
    part.sliceStatic.endIds.extend([2, 3])
    part.sliceStatic.strides.extend([1, 1])
    part.sliceStatic.beginMasks.extend([False, False])
    part.sliceStatic.endMasks.extend([False, False])
    layers.sort(key=lambda layer: {"constant": 0, "part": 1}.get(layer.name, 2))
    model = loaded(spec, Mine=Doubled)
    c = np.arange(6, dtype=np.float32).reshape(2, 3)
    np.testing.assert_array_equal(model.predict({"x": X})["y"], (X + c) * 2 + c)
    program = model.compiled.program
    assert isinstance(program, CutProgram)
    assert [step.inputs for step in program._steps] == [["x"], ["a"], [program._steps[1].outputs[0]]]


def test_weights_that_a_layer_takes_are_handed_to_it() -> None:
    """What operators make of a constant is computed by the first graph, for the layer and for the graph behind it."""
    spec = network(("Mine", ["c"], ["b"]), ("add", ["b", "x"], ["y"]))
    layers = spec.neuralNetwork.layers
    constant = layers.add(name="constant", output=["k"])
    constant.loadConstantND.shape.extend((2, 3))
    constant.loadConstantND.data.floatValue.extend(-np.arange(6))
    absolute = layers.add(name="absolute", input=["k"], output=["c"])
    absolute.unary.type, absolute.unary.scale = absolute.unary.ABS, 1
    layers.sort(key=lambda layer: {"constant": 0, "absolute": 1}.get(layer.name, 2))
    result = loaded(spec, Mine=Doubled).predict({"x": X})["y"]
    np.testing.assert_array_equal(result, X + 2 * np.arange(6, dtype=np.float32).reshape(2, 3))
