"""Branches and loops give what the same Python gives."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import windfall
from tests.support import fill
from windfall.lowering.neural_network import control_flow
from windfall.spec.proto import Model_pb2

Layer = dict[str, Any]


def layer(kind: str, inputs: str = "", outputs: str = "", **fields: Any) -> Layer:
    """Return the fields of a layer that is named after its type and what it writes."""
    name = f"{kind}_{outputs}" if outputs else kind
    return {"name": name, "input": inputs.split(), "output": outputs.split(), kind: fields}


def network(*layers: Layer) -> dict[str, Any]:
    return {"layers": list(layers)}


def linear(source: str, target: str, alpha: float, beta: float) -> Layer:
    return layer("activation", source, target, linear={"alpha": alpha, "beta": beta})


def copy(source: str, target: str) -> Layer:
    return layer("copy", source, target)


def update(name: str, alpha: float, beta: float) -> list[Layer]:
    """``name = alpha * name + beta``, in a body."""
    return [linear(name, f"{name}_next", alpha, beta), copy(f"{name}_next", name)]


def constant(name: str, value: float) -> Layer:
    return layer("loadConstantND", "", name, shape=[1], data=np.array([value], np.float32))


def branch(condition: str, then: list[Layer], otherwise: list[Layer] = []) -> Layer:  # noqa: B006  # not changed
    networks = {"ifBranch": network(*then)} | ({"elseBranch": network(*otherwise)} if otherwise else {})
    return layer("branch", condition, "", **networks)


def loop(body: list[Layer], most: int = 0, count: str = "", condition: tuple[str, list[Layer]] | None = None) -> Layer:
    fields: dict[str, Any] = {"bodyNetwork": network(*body), "maxLoopIterations": most}
    if condition:
        fields |= {"conditionVar": condition[0], "conditionNetwork": network(*condition[1])}
    return layer("loop", count, "", **fields)


def below(name: str, limit: float) -> tuple[str, list[Layer]]:
    """``while name < limit``."""
    return "goes_on", [layer("lessThan", name, "goes_on", alpha=limit)]


def model(layers: list[Layer], inputs: dict[str, Any], *outputs: str) -> Any:
    spec = Model_pb2.Model(specificationVersion=5)
    spec.neuralNetwork.arrayInputShapeMapping = 1
    for name, value in inputs.items():
        array = {"shape": list(np.shape(value)), "dataType": "FLOAT32"}
        fill(spec.description.input.add(name=name), {"type": {"multiArrayType": array}})
    for name in outputs:
        fill(spec.description.output.add(name=name), {"type": {"multiArrayType": {"dataType": "FLOAT32"}}})
    fill(spec.neuralNetwork, network(*layers))
    return spec


def run(layers: list[Layer], inputs: dict[str, Any], *outputs: str) -> Any:
    arrays = {name: np.array(value, np.float32) for name, value in inputs.items()}
    results = windfall.load(model(layers, arrays, *outputs), threads=1).predict(arrays)
    values = [results[name] for name in outputs]
    return values[0] if len(values) == 1 else values


@pytest.mark.parametrize(("condition", "expected"), [(1, 6), (-1, 6), (2e-6, 6), (0, 4), (5e-7, 4), (-5e-7, 4)])
def test_a_branch_is_taken_above_1e_6(condition: float, expected: float) -> None:
    layers = [branch("c", [linear("x", "y", 2, 0)], [linear("x", "y", 1, 1)])]
    np.testing.assert_array_equal(run(layers, {"c": [condition], "x": [3]}, "y"), [expected])


@pytest.mark.parametrize("condition", [0, 1])
def test_a_branch_without_else_leaves_the_old_value(condition: float) -> None:
    layers = [linear("x", "y", 1, 0), branch("c", [linear("x", "z", 2, 0), copy("z", "y")]), linear("y", "out", 1, 0)]
    np.testing.assert_array_equal(run(layers, {"c": [condition], "x": [3]}, "out", "y"), [[6 if condition else 3]] * 2)


@pytest.mark.parametrize("condition", [0, 1])
def test_both_branches_may_hand_on_values_from_outside(condition: float) -> None:
    layers = [branch("c", [copy("x", "y"), copy("x", "z")], [copy("w", "y"), copy("y", "z")])]
    expected = [3] if condition else [4]
    y, z = run(layers, {"c": [condition], "x": [3], "w": [4]}, "y", "z")
    np.testing.assert_array_equal(y, expected)
    np.testing.assert_array_equal(z, expected)


@pytest.mark.parametrize("condition", [0, 1])
def test_branches_may_give_different_sizes(condition: float) -> None:
    double = layer("concatND", "x x", "y", axis=0)
    layers = [branch("c", [double], [copy("x", "y")]), linear("y", "out", 2, 1)]
    x = np.arange(3)
    np.testing.assert_array_equal(
        run(layers, {"c": [condition], "x": x}, "out"), 2 * np.tile(x, 2 if condition else 1) + 1
    )


@pytest.mark.parametrize("condition", [0, 1])
def test_branches_may_give_different_ranks(condition: float) -> None:
    layers = [branch("c", [layer("expandDims", "x", "y", axes=[0])], [copy("x", "y")])]
    assert run(layers, {"c": [condition], "x": [1, 2]}, "y").shape == ((1, 2) if condition else (2,))


def test_a_layer_that_needs_the_rank_says_that_it_is_unknown() -> None:
    layers = [
        branch("c", [layer("expandDims", "x", "y", axes=[0])], [copy("x", "y")]),
        layer("softmaxND", "y", "out", axis=-1),
    ]
    with pytest.raises(windfall.FormatError, match=r"'softmaxND_out'.* known only at run time"):
        run(layers, {"c": [1], "x": [1, 2]}, "out")


@pytest.mark.parametrize("condition", [0, 1])
def test_a_branch_in_a_branch(condition: float) -> None:
    inner = branch("d", [linear("x", "y", 2, 0)], [linear("x", "y", 3, 0)])
    layers = [branch("c", [inner, linear("y", "z", 1, 1)], [linear("x", "z", 0, 0)])]
    expected = 7 if condition else 0
    np.testing.assert_array_equal(run(layers, {"c": [condition], "d": [0], "x": [2]}, "z"), [expected])


def test_a_branch_that_writes_nothing_for_outside_is_left_out() -> None:
    layers = [branch("c", [linear("x", "y", 2, 0)]), linear("x", "out", 1, 0)]
    np.testing.assert_array_equal(run(layers, {"c": [1], "x": [3]}, "out"), [3])


@pytest.mark.parametrize("most", [1, 2, 7])
def test_a_for_loop(most: int) -> None:
    x = 1.5
    for _ in range(most):
        x = 2 * x - 1
    result = run([linear("x0", "x", 1, 0), loop(update("x", 2, -1), most)], {"x0": [1.5]}, "x")
    np.testing.assert_array_equal(result, [x])


def test_a_loop_may_copy_over_an_input() -> None:
    x, y = run([loop(update("x", 2, 0), 3), linear("x", "y", 1, 1)], {"x": [1, 2]}, "x", "y")
    np.testing.assert_array_equal(x, [8, 16])
    np.testing.assert_array_equal(y, [9, 17])


@pytest.mark.parametrize("count", [0, 1, 5, -2, 3.5])
def test_a_loop_takes_its_count_from_its_input(count: float) -> None:
    result = run([loop(update("x", 1, 1), most=99, count="n")], {"n": [count], "x": [10]}, "x")
    np.testing.assert_array_equal(result, [10 + max(0, int(count))])


@pytest.mark.parametrize("start", [0, 9.5, 10, 11])
def test_a_while_loop(start: float) -> None:
    x, steps = start, 0
    while x < 10:
        x, steps = 2 * x + 1, steps + 1
    layers = [
        constant("steps", 0),
        loop([*update("x", 2, 1), *update("steps", 1, 1)], condition=below("x", 10)),
        copy("goes_on", "seen"),
    ]
    found, count, seen = run(layers, {"x": [start]}, "x", "steps", "seen")
    np.testing.assert_array_equal([found, count, seen], [[x], [steps], [0]])


@settings(deadline=None, max_examples=25)
@given(start=st.integers(-3, 8), limit=st.integers(-3, 8), most=st.integers(0, 6), given_count=st.booleans())
def test_a_while_loop_with_a_maximum(start: int, limit: int, most: int, given_count: bool) -> None:
    x, runs = start, 0
    # Without an input, a maximum of 0 is none.
    while x < limit and (runs < most or (most == 0 and not given_count)):
        x, runs = x + 1, runs + 1
    body = loop(update("x", 1, 1), 77 if given_count else most, "n" if given_count else "", below("x", limit))
    np.testing.assert_array_equal(run([body], {"x": [start], "n": [most]}, "x"), [x])


def test_a_condition_may_copy_over_values() -> None:
    condition = ("goes_on", [*update("x", 1, 1), layer("lessThan", "x", "goes_on", alpha=4)])
    x, y = run([loop(update("y", 1, 10), condition=condition)], {"x": [0], "y": [0]}, "x", "y")
    np.testing.assert_array_equal([x, y], [[4], [30]])


@pytest.mark.parametrize("most", [1, 4])
def test_shapes_may_grow(most: int) -> None:
    body = [layer("concatND", "x x", "longer", axis=1), copy("longer", "x")]
    x = np.arange(6).reshape(2, 3)
    y = run([loop(body, most), linear("x", "y", 1, 1)], {"x": x}, "y")
    np.testing.assert_array_equal(y, np.tile(x, (1, 2**most)) + 1)


def test_a_rank_that_grows_is_an_error_where_a_layer_needs_it() -> None:
    body = [layer("expandDims", "x", "deeper", axes=[0]), copy("deeper", "x")]
    with pytest.raises(windfall.FormatError, match=r"'expandDims_deeper'.* is known only at run time"):
        run([loop(body, 3)], {"x": [1, 2]}, "x")


def test_a_rank_may_change_where_no_layer_needs_it() -> None:
    body = [layer("copy", "y", "x")]
    assert run([loop(body, 3), layer("copy", "x", "out")], {"x": [1, 2], "y": [[1, 2]]}, "out").shape == (1, 2)


def test_what_a_body_makes_can_be_used_after_a_for_loop() -> None:
    layers = [loop([linear("x", "double", 2, 0), copy("double", "x")], 3), linear("double", "y", 1, 1)]
    y, double = run(layers, {"x": [1]}, "y", "double")
    np.testing.assert_array_equal([y, double], [[9], [8]])


def test_two_loops_may_use_the_same_names_inside() -> None:
    layers = [loop(update("x", 2, 0), 3), loop(update("x", 1, 1), 2)]
    np.testing.assert_array_equal(run(layers, {"x": [1]}, "x"), [10])


def test_a_loop_in_a_loop() -> None:
    total = 0
    for i in range(4):
        for _ in range(i):
            total += 1
    layers = [
        constant("i", 0),
        loop([loop(update("total", 1, 1), count="i"), *update("i", 1, 1)], 4),
    ]
    np.testing.assert_array_equal(run(layers, {"total": [0]}, "total"), [total])


def test_a_while_loop_in_a_while_loop() -> None:
    x, y = 0, 0
    while x < 5:
        while y < 7:
            x, y = x + 1, y + 3
        x, y = x + 1, 0
    inner = loop(
        [*update("x", 1, 1), *update("y", 1, 3)], condition=("more", [layer("lessThan", "y", "more", alpha=7)])
    )
    outer = loop([inner, *update("x", 1, 1), linear("y", "zero", 0, 0), copy("zero", "y")], condition=below("x", 5))
    found = run([outer], {"x": [0], "y": [0]}, "x", "y")
    np.testing.assert_array_equal(found, [[x], [y]])


@settings(deadline=None, max_examples=25)
@given(start=st.integers(1, 40))
def test_a_branch_in_a_loop(start: int) -> None:
    """The steps of Collatz's sequence until 1."""
    x, steps = start, 0
    while x > 1:
        x, steps = 3 * x + 1 if x % 2 else x // 2, steps + 1
    layers = [
        constant("steps", 0),
        constant("two", 2),
        loop(
            [
                layer("modBroadcastable", "x two", "odd"),
                branch("odd", [linear("x", "next", 3, 1)], [linear("x", "next", 0.5, 0)]),
                copy("next", "x"),
                *update("steps", 1, 1),
            ],
            condition=("goes_on", [layer("greaterThan", "x", "goes_on", alpha=1)]),
        ),
    ]
    np.testing.assert_array_equal(run(layers, {"x": [start]}, "steps", "x"), [[steps], [1]])


@settings(deadline=None, max_examples=30)
@given(stop=st.integers(-1, 8), skip=st.integers(-1, 8), deep=st.booleans(), conditional=st.booleans())
def test_break_and_continue(stop: int, skip: int, deep: bool, conditional: bool) -> None:
    i, total, checks = 0, 0, 0
    for _ in range(6):
        checks += conditional
        i += 1
        if i == stop:
            break
        if i == skip:
            continue
        total += i
    else:
        checks += conditional
    stopping = [branch("is_stop", [layer("loopBreak")])]
    body = [
        *update("i", 1, 1),
        layer("equal", "i", "is_stop", alpha=stop),
        *([branch("one", stopping)] if deep else stopping),
        layer("equal", "i", "is_skip", alpha=skip),
        branch("is_skip", [layer("loopContinue")]),
        layer("addBroadcastable", "total i", "sum"),
        copy("sum", "total"),
    ]
    condition = ("one_more", [*update("checks", 1, 1), linear("one", "one_more", 1, 0)]) if conditional else None
    layers = [constant("one", 1), loop(body, 6, condition=condition)]
    found = run(layers, {"i": [0], "total": [0], "checks": [0]}, "i", "total", "checks")
    np.testing.assert_array_equal(found, [[i], [total], [checks]])


def test_a_break_ends_the_inner_loop_only() -> None:
    inner = loop([*update("x", 1, 1), layer("loopBreak"), linear("x", "more", 1, 100), copy("more", "x")], 5)
    np.testing.assert_array_equal(
        run([loop([inner, linear("x", "y", 1, 10), copy("y", "x")], 3)], {"x": [0]}, "x"), [33]
    )


def test_weights_inside_a_loop_are_found() -> None:
    rng = np.random.default_rng(0)
    weights = rng.normal(size=(40, 40)).astype(np.float32) / 6
    dense = layer("innerProduct", "x", "y", inputChannels=40, outputChannels=40, weights=weights)
    x = rng.normal(size=(1, 40)).astype(np.float32)
    found = run([loop([dense, copy("y", "x")], 5)], {"x": x}, "x")
    np.testing.assert_allclose(found, x @ np.linalg.matrix_power(weights.T, 5), rtol=1e-4, atol=1e-5)


def test_a_model_with_loops_can_be_kept_in_the_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WINDFALL_CACHE", str(tmp_path / "cache"))
    weights = np.eye(64, dtype=np.float32) * 2
    dense = layer("innerProduct", "x", "y", inputChannels=64, outputChannels=64, weights=weights)
    x = np.arange(64, dtype=np.float32)[None]
    path = tmp_path / "model.mlmodel"
    path.write_bytes(model([loop([dense, copy("y", "x")], 3)], {"x": x}, "x").SerializeToString())
    for _ in range(2):
        np.testing.assert_array_equal(windfall.load(path, threads=1).predict({"x": x})["x"], 8 * x)
    assert list((tmp_path / "cache").iterdir())


@pytest.mark.parametrize("rank5", [True, False])
def test_layers_of_planes_inside_and_outside_of_a_loop(rank5: bool) -> None:
    """Views of rank 4 that a body makes are not used outside of it."""
    scale = {"shapeScale": [1], "scale": np.array([2], np.float32)}
    pool = layer("pooling", "y", "z", type="MAX", kernelSize=[1, 1], stride=[1, 1], valid={})
    layers = [
        layer("scale", "x", "y", **scale),
        loop([pool, layer("scale", "z", "w", **scale), copy("w", "y")], 3),
        layer("pooling", "y", "out", type="MAX", kernelSize=[2, 2], stride=[2, 2], valid={}),
    ]
    x = np.arange(32, dtype=np.float32).reshape(2, 4, 4)
    spec = model(layers, {"x": x}, "out")
    spec.neuralNetwork.arrayInputShapeMapping = 0 if rank5 else 1
    found = windfall.load(spec, threads=1).predict({"x": x})["out"]
    np.testing.assert_array_equal(found.reshape(2, 2, 2), 16 * x[:, 1::2, 1::2])


def test_a_loop_without_end_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(control_flow, "MOST_ITERATIONS", 1000)
    endless = [loop(update("x", 1, 1), condition=below("x", 1001))]
    with pytest.raises(windfall.EngineError) as info:
        run(endless, {"x": [0]}, "x")
    assert str(info.value) == (
        "the loop layer 'loop' has run 1,000 times without end, the most that a loop may run; "
        "check its conditionNetwork, or the input that gives the number"
    )
    np.testing.assert_array_equal(run(endless, {"x": [1]}, "x"), [1001])


@pytest.mark.parametrize(("count", "fails"), [(10, False), (11, True), (1e30, True)])
def test_a_count_above_the_limit_is_an_error(monkeypatch: pytest.MonkeyPatch, count: float, fails: bool) -> None:
    monkeypatch.setattr(control_flow, "MOST_ITERATIONS", 10)
    layers = [loop(update("x", 1, 1), count="n")]
    if not fails:
        np.testing.assert_array_equal(run(layers, {"n": [count], "x": [0]}, "x"), [count])
        return
    with pytest.raises(windfall.EngineError, match="the loop layer 'loop' has run 10 times without end"):
        run(layers, {"n": [count], "x": [0]}, "x")


def test_an_endless_loop_inside_another_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(control_flow, "MOST_ITERATIONS", 10)
    inner = loop(update("y", 1, 0), condition=below("y", 5)) | {"name": "it's\ninner"}
    with pytest.raises(windfall.EngineError, match='the loop layer "it\'s inner" has run 10 times'):
        run([loop([inner, *update("x", 1, 1)], 3)], {"x": [0], "y": [0]}, "x")


def nested(depth: int) -> Layer:
    return loop(update("x", 1, 1) if depth == 1 else [nested(depth - 1)], 1)


ERRORS: dict[str, tuple[list[Layer], str]] = {
    "two conditions": (
        [branch("x2", [linear("x", "y", 1, 0)])],
        "input is 'x2' [2], does not fit the layer: a tensor of shape [2] cannot be reshaped to []",
    ),
    "an empty branch": ([branch("x", [])], "ifBranch must have layers"),
    "one branch": (
        [branch("x", [linear("x", "y", 1, 0)]), linear("y", "z", 1, 0)],
        "input is y, is made in only one branch of layer 'branch', must be in both",
    ),
    "an empty body": ([loop([], 1)], "bodyNetwork must have layers"),
    "a condition without a name": (
        [loop(update("x", 1, 1), condition=("", below("x", 1)[1]))],
        "conditionVar must be set if there is a conditionNetwork, and only then",
    ),
    "a name that no condition makes": (
        [loop(update("x", 1, 1), condition=("x", below("x", 1)[1]))],
        "conditionVar is x, must be made by the conditionNetwork",
    ),
    "no count": (
        [loop(update("x", 1, 1))],
        "maxLoopIterations is 0, must be 1 to 1,000,000 without an input and a conditionNetwork",
    ),
    "a large count": (
        [loop(update("x", 1, 1), 2**63)],
        "maxLoopIterations is 9223372036854775808, must be 1 to 1,000,000 without an input and a conditionNetwork",
    ),
    "a break in a condition": (
        [loop(update("x", 1, 1), condition=("c", [*below("x", 1)[1], layer("loopBreak"), linear("x", "c", 1, 0)]))],
        "conditionNetwork must hold no loopBreak and no loopContinue",
    ),
    "a break outside": ([layer("loopBreak")], "layer must be in the bodyNetwork of a loop"),
    "a continue outside": ([branch("x", [layer("loopContinue")])], "layer must be in the bodyNetwork of a loop"),
    "a body that may not run": (
        [loop([linear("x", "y", 1, 0)], count="x"), linear("y", "z", 1, 0)],
        "input is y, is made only inside layer 'loop', whose body may never run",
    ),
    "a name written again": (
        [loop([linear("x", "x2", 1, 0)], 1)],
        "output is x2, another layer or input has that name; names must differ",
    ),
    "outputs": ([loop(update("x", 1, 1), 1) | {"output": ["y"]}], "output is ['y'], must be 0 names"),
    "deep nesting": ([nested(9)], "layer lies in 8 others, must lie in at most 7"),
    "many stops": (
        [loop([*[branch("x", [layer("loopContinue")])] * 40, *update("x", 1, 1)], 1)],
        "layer comes after 32 that may stop an iteration, the most there may be",
    ),
}


@pytest.mark.parametrize("case", ERRORS)
def test_errors(case: str) -> None:
    layers, message = ERRORS[case]
    with pytest.raises(windfall.FormatError) as info:
        run(layers, {"x": [1], "x2": [1, 2]}, "x")
    assert str(info.value).partition(": ")[2] == message


def test_the_deepest_nesting_runs() -> None:
    np.testing.assert_array_equal(run([nested(8)], {"x": [1]}, "x"), [2])


def test_an_output_that_one_branch_makes_is_refused() -> None:
    with pytest.raises(windfall.FormatError, match=r"has no value 'y'.*; it is made in only one branch of layer"):
        run([branch("x", [linear("x", "y", 1, 0)])], {"x": [1]}, "y")


def test_layers_inside_that_cannot_be_run_are_named() -> None:
    unknown = layer("custom", "x", "y", className="Mine")
    spec = model([loop([branch("x", [unknown])], 2)], {"x": [1]}, "x")
    with pytest.raises(windfall.UnsupportedError, match="'loop/bodyNetwork/branch/ifBranch/custom_y'"):
        windfall.load(spec).compiled  # noqa: B018  # a property that compiles
    assert "loop/bodyNetwork/branch/ifBranch/custom_y" in str(windfall.load(spec).description)
