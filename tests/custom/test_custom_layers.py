"""Custom layers that are evaluated or encoded, and all that their classes may get wrong."""

import pickle
import threading
import traceback
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import windfall
from tests.classical import array, pipeline_spec
from tests.custom.layers import Doubled, EncodedDoubled, loaded, network, returning
from tests.custom.support import scaled
from windfall.custom.program import CutProgram, compile_parts
from windfall.errors import FeatureError, FormatError, UnsupportedError
from windfall.runtime.engine import EngineOptions, engine_named

STYLE = Path(__file__).parents[2] / "examples/style_transfer/models/city.mlmodel"
X = np.array([[1, -2, 3], [-4, 5, -6]], np.float32)
ONE = network(("Mine", ["x"], ["y"]))
WHO = "layer 'mine0' (custom, className 'Mine') of the model"


def graphs(model: Any) -> int:
    program = model.compiled.program
    return program.graphs if isinstance(program, CutProgram) else 1


@pytest.mark.parametrize(("found", "count"), [(Doubled, 2), (EncodedDoubled, 1)])
def test_a_layer_between_others(found: Any, count: int) -> None:
    """abs -> * 2 -> + abs: with NumPy the graph is cut there, with operators it is not."""
    spec = network(("abs", ["x"], ["a"]), ("Mine", ["a"], ["b"]), ("add", ["a", "b"], ["y"]))
    model = loaded(spec, Mine=found)
    np.testing.assert_array_equal(model.predict({"x": X})["y"], abs(X) * 3)
    assert graphs(model) == count


def test_what_does_not_need_the_layer_lies_in_the_graph_before_it() -> None:
    layers = [("abs", ["x"], ["a"]), ("Mine", ["a"], ["b"]), ("abs", ["x"], ["c"]), ("Mine", ["c"], ["d"]),
              ("add", ["b", "d"], ["e"]), ("Mine", ["e"], ["y"])]  # fmt: skip
    model = loaded(network(*layers), Mine=Doubled)
    np.testing.assert_array_equal(model.predict({"x": X})["y"], abs(X) * 8)
    assert graphs(model) == 2


def test_layers_one_behind_another_have_no_graph_between_them() -> None:
    model = loaded(network(("Mine", ["x"], ["a"]), ("Mine", ["a"], ["b"]), ("Mine", ["b"], ["y"])), Mine=Doubled)
    np.testing.assert_array_equal(model.predict({"x": X})["y"], X * 8)
    assert graphs(model) == 0


def test_several_inputs_and_outputs() -> None:
    found = returning(lambda inputs: [inputs[0] + inputs[1], inputs[0] - inputs[1]])
    spec = network(("Mine", ["x", "z"], ["sum", "y"]), inputs=["x", "z"], outputs=["sum", "y"])
    result = loaded(spec, Mine=found).predict({"x": X, "z": X * 3})
    np.testing.assert_array_equal(result["sum"], X * 4)
    np.testing.assert_array_equal(result["y"], X * -2)


def test_inner_values_can_be_asked_for_and_only_what_they_need_is_computed() -> None:
    calls: list[Any] = []
    found = returning(lambda inputs: calls.append(inputs) or [inputs[0] * np.float32(2)])
    model = loaded(network(("abs", ["x"], ["a"]), ("Mine", ["a"], ["b"]), ("abs", ["b"], ["y"])), Mine=found)
    result = model.predict({"x": X}, outputs=["a"])
    np.testing.assert_array_equal(result["a"], abs(X))
    assert calls == []
    result = model.predict({"x": X}, outputs=["b", "x"])
    np.testing.assert_array_equal(result["b"], abs(X) * 2)
    np.testing.assert_array_equal(result["x"], X)


def test_a_constant_may_go_into_a_layer() -> None:
    spec = network(("Mine", ["c"], ["a"]), ("add", ["a", "x"], ["y"]))
    layer = spec.neuralNetwork.layers.add(name="constant", output=["c"])
    layer.loadConstantND.shape.extend(X.shape)
    layer.loadConstantND.data.floatValue.extend(X.ravel())
    spec.neuralNetwork.layers.sort(key=lambda layer: layer.name != "constant")
    np.testing.assert_array_equal(loaded(spec, Mine=Doubled).predict({"x": X})["y"], X * 3)


def test_arrays_of_a_flexible_shape() -> None:
    spec = network(("abs", ["x"], ["a"]), ("Mine", ["a"], ["y"]))
    del spec.description.output[0].type.multiArrayType.shape[:]
    for least, most in ((1, 5), (3, 3)):
        ranges = spec.description.input[0].type.multiArrayType.shapeRange
        ranges.sizeRanges.add(lowerBound=least, upperBound=most)
    model = loaded(spec, Mine=Doubled)
    for rows in (1, 2, 5):
        x = np.full((rows, 3), -1, np.float32)
        np.testing.assert_array_equal(model.predict({"x": x})["y"], np.full((rows, 3), 2))


def test_sequences_of_any_length_share_a_program() -> None:
    spec = windfall.custom.make_network({"x": (2, 1, 1)}, {"y": (2, 1, 1)})
    windfall.custom.add_layer(spec, "Mine", inputs=["x"], outputs=["y"])
    seen: list[Any] = []

    class Seen(Doubled):
        def output_shapes(self, input_shapes: Any) -> Any:
            seen.append(input_shapes)
            return input_shapes

    model = loaded(spec, Mine=Seen)
    for length in (1, 3):
        x = np.ones((length, 1, 2, 1, 1), np.float32)
        np.testing.assert_array_equal(model.predict({"x": x})["y"].ravel(), np.full(2 * length, 2))
    assert ["Seq1", 1, 2, 1, 1] in [shapes[0] for shapes in seen]


def test_a_size_may_be_known_at_run_time_alone() -> None:
    """A layer leaves out the first step of a sequence; how many there are shows when it runs."""
    spec = windfall.custom.make_network({"x": (2, 1, 1)}, {"y": (2, 1, 1)})
    windfall.custom.add_layer(spec, "Mine", inputs=["x"], outputs=["a"])
    spec.neuralNetwork.layers.add(name="relu", input=["a"], output=["y"]).activation.ReLU.SetInParent()

    class Rest(Doubled):
        def output_shapes(self, input_shapes: Any) -> Any:
            first, *others = input_shapes[0]
            return [[None if isinstance(first, str) else first - 1, *others]]

        def evaluate(self, inputs: Any) -> Any:
            return [inputs[0][1:].copy()]

    model = loaded(spec, Mine=Rest)
    for length in (3, 5):
        x = np.arange(length * 2, dtype=np.float32).reshape(length, 1, 2, 1, 1)
        np.testing.assert_array_equal(model.predict({"x": x})["y"], x[1:])


def test_a_classifier_whose_scores_a_layer_gives() -> None:
    spec = windfall.custom.make_network({"x": (2,)}, {"label": str, "scores": dict[str, float]})
    spec.neuralNetworkClassifier.stringClassLabels.vector.extend(["a", "b"])
    spec.description.predictedFeatureName, spec.description.predictedProbabilitiesName = "label", "scores"
    windfall.custom.add_layer(spec, "Mine", inputs=["x"], outputs=["p"])
    result = loaded(spec, Mine=Doubled).predict({"x": [0.125, 0.375]})
    assert result == {"label": "b", "scores": {"a": 0.25, "b": 0.75}}


def test_quantizing_leaves_the_weights_of_a_layer_alone() -> None:
    spec = windfall.custom.make_network({"x": (64,)}, {"y": (64,)})
    windfall.custom.add_layer(spec, "Mine", inputs=["x"], outputs=["a"], weights=[np.linspace(0, 1, 5000)])
    product = spec.neuralNetwork.layers.add(name="product", input=["a"], output=["y"]).innerProduct
    product.inputChannels = product.outputChannels = 64
    product.weights.floatValue.extend(np.linspace(-1, 1, 64 * 64))
    model = loaded(spec, Mine=Doubled)
    small = windfall.quantize_weights(model, 8)
    assert small.spec.neuralNetwork.layers[0] == spec.neuralNetwork.layers[0]
    assert small.spec.neuralNetwork.layers[1] != spec.neuralNetwork.layers[1]
    x = {"x": np.linspace(0, 1, 64)}
    np.testing.assert_allclose(small.predict(x)["y"], model.predict(x)["y"], rtol=0.02)


def test_the_engine_that_suits_the_largest_part_runs_all() -> None:
    calls: list[int] = []

    class Choosing:
        name = "auto"

        def compile(self, model: Any, options: Any) -> Any:
            calls.append(len(model.proto))
            return engine_named("onnxruntime").compile(model, options)

    model = loaded(
        network(("abs", ["x"], ["a"]), ("Mine", ["a"], ["b"]), ("abs", ["b"], ["c"]), ("add", ["c", "a"], ["y"])),
        Mine=Doubled,
    )
    program = compile_parts(model._lower({"x": (2, 3)}, ["y"]), model._customs, Choosing(), EngineOptions())
    np.testing.assert_array_equal(program.run({"x": X})[0], abs(X) * 3)
    assert len(calls) == 1
    assert isinstance(program, CutProgram)
    (many,) = program.run_many([{"x": X}])
    np.testing.assert_array_equal(many[0], abs(X) * 3)


def test_a_layer_in_a_network_in_a_pipeline() -> None:
    spec = pipeline_spec(
        [scaled("x", 2.0), network(("abs", ["x"], ["a"]), ("Mine", ["a"], ["y"]), shape=(3,)), scaled("z", 10.0, "y")],
        {"x": array(3)}, {"z": array(3)},
    )  # fmt: skip
    for found in (Doubled, EncodedDoubled):
        model = loaded(spec, Mine=found)
        np.testing.assert_allclose(model.predict({"x": [1, -2, 3]})["z"], [40, 80, 120])
        rows = model.predict_batch([{"x": [1, -2, 3]}, {"x": [0, 0, 1]}])
        np.testing.assert_allclose([row["z"] for row in rows], [[40, 80, 120], [0, 0, 40]])


class Attributes(windfall.CustomLayer):
    def __init__(self, parameters: Any, weights: Any) -> None:
        assert (self.name, self.description) == ("layer", "as I said")
        super().__init__(parameters, weights)

    def output_shapes(self, input_shapes: Any) -> Any:
        return input_shapes

    def evaluate(self, inputs: Any) -> Any:
        seen.append((dict(self.parameters), self.weights))
        return inputs


seen: list[Any] = []


def test_parameters_of_every_type_and_weights_as_they_are() -> None:
    spec = windfall.custom.make_network({"x": (2, 3)}, {"y": (2, 3)}, exact=True)
    given = {"double": 0.5, "text": "ä", "int": -7, "long": 2**40, "bool": True, "small long": np.int64(3)}
    layer = windfall.custom.add_layer(
        spec, "Mine", inputs=["x"], outputs=["y"], name="layer", description="as I said", parameters=given,
        weights=[np.array([[1.5, 2], [3, 4]]), np.zeros(0)],
    )  # fmt: skip
    kinds = {name: value.WhichOneof("value") for name, value in layer.custom.parameters.items()}
    assert kinds == {"double": "doubleValue", "text": "stringValue", "int": "intValue", "long": "longValue",
                     "bool": "boolValue", "small long": "longValue"}  # fmt: skip
    # Weights in the other forms: float16, 4 bits with a scale for each of two channels, 2 bits with a table, int8.
    weights = layer.custom.weights
    weights.add(float16Value=np.array([1, -2], np.float16).tobytes())
    linear = weights.add(rawValue=bytes([0x12, 0x34]))
    linear.quantization.numberOfBits = 4
    linear.quantization.linearQuantization.scale.extend([1, 10])
    table = weights.add(rawValue=bytes([0b00011011]))
    table.quantization.numberOfBits = 2
    table.quantization.lookupTableQuantization.floatValue.extend([5, 6, 7, 8])
    integers = weights.add(int8RawValue=bytes([0xFF, 2]))
    integers.quantization.linearQuantization.scale.append(0.5)
    loaded(spec, Mine=Attributes).predict({"x": X})
    parameters, arrays = seen.pop()
    assert parameters == given
    assert [type(parameters[name]) for name in given] == [float, str, int, int, bool, int]
    expected = [[1.5, 2, 3, 4], [], [1, -2], [1, 2, 30, 40], [5, 6, 7, 8], [-0.5, 1]]
    assert [weight.tolist() for weight in arrays] == expected
    assert {(weight.dtype, weight.flags.writeable) for weight in arrays} == {(np.dtype(np.float32), False)}


def test_damaged_parameters_and_weights_are_named() -> None:
    spec = network(("Mine", ["x"], ["y"]))
    spec.neuralNetwork.layers[0].custom.parameters["size"].SetInParent()
    with pytest.raises(FormatError) as error:
        loaded(spec, Mine=Doubled).predict({"x": X})
    assert str(error.value) == f"{WHO}: the parameter 'size' has no value, must have one"
    spec = network(("Mine", ["x"], ["y"]))
    spec.neuralNetwork.layers[0].custom.weights.add(rawValue=b"ab").quantization.numberOfBits = 9
    with pytest.raises(FormatError) as error:
        loaded(spec, Mine=Doubled).predict({"x": X})
    assert str(error.value) == (
        "cannot lower layer 'mine0' (custom) of the model: weights[0] quantization.numberOfBits is 9, must be 1 to 8"
    )


def test_missing_classes_are_named_together() -> None:
    spec = network(("One", ["x"], ["a"]), ("Two", ["a"], ["b"]), ("One", ["b"], ["y"]))
    model = windfall.load(spec, custom_layers={"Three": Doubled})
    with pytest.raises(UnsupportedError) as error:
        model.predict({"x": X})
    assert str(error.value) == (
        "the model needs classes of yours: custom layer 'One' ('one0', 'one2'), custom layer 'Two' ('two1'); register "
        "them with @windfall.custom_layer(NAME), or give them to load(..., custom_layers={NAME: CLASS}); see all with: "
        "windfall inspect MODEL"
    )
    needs = model.description.dependencies
    assert [(one.name, one.used_by, one.registered) for one in needs] == [
        ("One", "one0", False), ("Two", "two1", False), ("One", "one2", False),
    ]  # fmt: skip
    assert str(model.description).count("missing") == 3
    both = loaded(spec, One=Doubled, Two=EncodedDoubled)
    assert str(both.description).count("found") == 3
    assert [one.registered for one in both.description.dependencies] == [True] * 3
    assert both.description.runnable
    np.testing.assert_array_equal(both.predict({"x": X})["y"], X * 8)


@pytest.mark.parametrize(
    ("result", "text"),
    [
        ([], "a list of 0, must return a list of 1"),
        ([X, X], "a list of 2, must return a list of 1"),
        (None, "NoneType, must return a list of 1"),
        ([X.astype(np.float64)], "an array of float64, must return float32 arrays"),
        ([[1.0]], "list, must return float32 arrays"),
        ([X[:1]], "the shape [1, 3], output_shapes says [2, 3]"),
        (
            lambda inputs: [np.full_like(inputs[0], np.nan)],
            "NaN, and its inputs have none; if that is meant, set allows_nan of its class",
        ),
    ],
)
def test_what_evaluate_returns_is_checked(result: Any, text: str) -> None:
    with pytest.raises(FeatureError) as error:
        loaded(ONE, Mine=returning(result)).predict({"x": X})
    assert str(error.value) == f"{WHO}: evaluate returned {text}"


def test_an_array_alone_stands_for_a_list_of_one() -> None:
    np.testing.assert_array_equal(loaded(ONE, Mine=returning(lambda inputs: -inputs[0])).predict({"x": X})["y"], -X)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_nan_goes_through_and_may_be_meant(value: float) -> None:
    x = X.copy()
    x[0, 0] = value
    result = loaded(ONE, Mine=returning(lambda inputs: inputs)).predict({"x": x})["y"]
    np.testing.assert_array_equal(result, x)
    meant = returning(lambda inputs: [inputs[0] * np.float32(value)], allows_nan=True)
    np.testing.assert_array_equal(loaded(ONE, Mine=meant).predict({"x": X})["y"], X * np.float32(value))


@pytest.mark.parametrize(
    ("shapes", "text"),
    [
        ([], "output_shapes returned a list of 0, must return a list of 1"),
        (3, "output_shapes returned int, must return a list of 1"),
        (["abc"], "output_shapes returned 'abc', must return a list of sizes for each output"),
        ([[2, -3]], "output_shapes returned [2, -3], must return a list of sizes for each output"),
        ([[2, 1.5]], "output_shapes returned [2, 1.5], must return a list of sizes for each output"),
        ([[2**40]], "a tensor of shape [1099511627776] needs 4,398,046,511,104 bytes, must be at most"),
        ([[2, None]], "output_shapes returned [(2, None)] for inputs of known shapes, must return numbers"),
    ],
)
def test_what_output_shapes_returns_is_checked(shapes: Any, text: str) -> None:
    with pytest.raises(FeatureError) as error:
        loaded(ONE, Mine=returning([X], shapes)).predict({"x": X})
    assert str(error.value).startswith(f"{WHO}: {text}")


def encoding(function: Any) -> type[windfall.CustomLayer]:
    return type("Encoding", (windfall.CustomLayer,), {"encode": lambda self, graph, inputs: function(graph, inputs)})


@pytest.mark.parametrize(
    ("function", "text"),
    [
        (lambda graph, inputs: [], "encode returned a list of 0, must return a list of 1"),
        (lambda graph, inputs: X, "encode returned an array of float32, must return a list of 1"),
        (lambda graph, inputs: [3], "encode returned 3, must return values of the graph"),
        (
            lambda graph, inputs: graph.op("Shape", inputs[0]),
            "encode returned INT64, must return float32; add a Cast",
        ),
    ],
)
def test_what_encode_returns_is_checked(function: Any, text: str) -> None:
    with pytest.raises(FeatureError) as error:
        loaded(ONE, Mine=encoding(function)).predict({"x": X})
    assert str(error.value) == f"{WHO}: {text}"


@pytest.mark.parametrize("said", [[2, 4], [6]])
def test_operators_must_give_the_shapes_that_the_class_says(said: Any) -> None:
    found = type("Both", (EncodedDoubled,), {"output_shapes": lambda self, shapes: [said]})
    with pytest.raises(FeatureError) as error:
        loaded(ONE, Mine=found).predict({"x": X})
    assert str(error.value) == f"{WHO}: encode returned the shape [2, 3], output_shapes says {said}"


def test_a_value_of_an_earlier_graph_is_refused() -> None:
    kept: list[Any] = []

    def function(graph: Any, inputs: Any) -> Any:
        kept.append(graph.op("Abs", inputs[0]))
        return kept[0]

    model = loaded(network(("Mine", ["x"], ["a"]), ("abs", ["a"], ["y"])), Mine=encoding(function))
    np.testing.assert_array_equal(model.predict({"x": X})["y"], abs(X))
    with pytest.raises(FeatureError, match=r"encode returned .*, must return values of the graph"):
        model.predict({"x": X}, outputs=["a"])


def test_operators_that_do_not_fit_are_an_error_at_once() -> None:
    found = encoding(lambda graph, inputs: graph.op("MatMul", inputs[0], inputs[0]))
    with pytest.raises(ValueError, match="Incompatible dimensions") as error:
        loaded(ONE, Mine=found).predict({"x": X})
    assert error.value.__notes__ == [f"raised by {WHO}"]


def test_encode_may_return_its_inputs_and_has_shapes() -> None:
    def function(graph: Any, inputs: Any) -> Any:
        assert graph.shape(inputs[0]) == (2, 3)
        return inputs

    np.testing.assert_array_equal(loaded(ONE, Mine=encoding(function)).predict({"x": X})["y"], X)


@pytest.mark.parametrize("method", ["__init__", "output_shapes", "evaluate", "encode"])
def test_errors_of_the_users_code_stay_and_name_the_layer(method: str) -> None:
    def failing(*_: Any) -> Any:
        raise KeyError("mine")

    found = type("Failing", (Doubled,), {method: failing})
    with pytest.raises(KeyError, match="mine") as error:
        loaded(ONE, Mine=found).predict({"x": X})
    assert error.value.__notes__ == [f"raised by {WHO}"]
    assert traceback.extract_tb(error.value.__traceback__)[-1].name == "failing"


def test_an_error_in_evaluate_batch_names_the_layer() -> None:
    def failing(*_: Any) -> Any:
        raise OSError("mine")

    model = loaded(ONE, Mine=type("Failing", (Doubled,), {"evaluate_batch": failing}))
    with pytest.raises(OSError, match="mine") as error:
        model.predict_batch({"x": np.stack([X, X])})
    assert error.value.__notes__ == [f"raised by {WHO}"]


@pytest.mark.parametrize(("result", "what"), [([], "a list of 0"), (None, "NoneType")])
def test_what_evaluate_batch_returns_is_checked(result: Any, what: str) -> None:
    model = loaded(ONE, Mine=type("Wrong", (Doubled,), {"evaluate_batch": lambda self, batch: result}))
    with pytest.raises(FeatureError) as error:
        model.predict_batch([{"x": X}, {"x": X}])
    assert str(error.value) == (
        f"{WHO}: evaluate_batch returned {what}, must return a list of 2, the outputs of each prediction"
    )


def test_a_batch_goes_through_a_layer_at_once() -> None:
    sizes: list[int] = []

    class Many(Doubled):
        def evaluate_batch(self, batch: Any) -> Any:
            sizes.append(len(batch))
            doubled = np.stack([inputs[0] for inputs in batch]) * np.float32(2)
            return [[one] for one in doubled]

    spec = network(("abs", ["x"], ["a"]), ("Mine", ["a"], ["b"]), ("add", ["a", "b"], ["y"]))
    model = loaded(spec, Mine=Many)
    xs = np.arange(40 * 6, dtype=np.float32).reshape(40, 2, 3) - 100
    np.testing.assert_array_equal(model.predict_batch({"x": xs})["y"], abs(xs) * 3)
    rows = model.predict_batch([{"x": x} for x in xs[:3]])
    np.testing.assert_array_equal([row["y"] for row in rows], abs(xs[:3]) * 3)
    assert sizes == [32, 8, 3]
    assert model.predict_batch([]) == []


def test_inputs_are_not_copied_cannot_be_written_to_and_may_be_kept() -> None:
    kept: list[Any] = []
    spec = network(("abs", ["x"], ["a"]), ("Mine", ["a", "x"], ["y"]))
    model = loaded(spec, Mine=returning(lambda inputs: kept.append(inputs) or [inputs[0] + inputs[1]], [[2, 3]]))
    x = X.copy()
    model.predict({"x": x})
    model.predict({"x": X * 7})
    np.testing.assert_array_equal(kept[0][0], abs(X))
    assert np.shares_memory(kept[0][1], x)
    with pytest.raises(ValueError, match="read-only"):
        kept[0][1][:] = 0


def test_results_are_the_callers_own() -> None:
    """A layer gives back what it was given, which is the caller's."""
    x = X.copy()
    result = loaded(ONE, Mine=returning(lambda inputs: inputs)).predict({"x": x})["y"]
    assert not np.shares_memory(result, x)
    result[:] = 0
    np.testing.assert_array_equal(x, X)


def test_an_object_is_made_once_for_each_layer() -> None:
    made: list[str] = []

    class Counted(Doubled):
        def __init__(self, parameters: Any, weights: Any) -> None:
            made.append(self.name)
            super().__init__(parameters, weights)

    model = loaded(network(("Mine", ["x"], ["a"]), ("Mine", ["a"], ["y"])), Mine=Counted)
    assert made == []
    model.predict({"x": X})
    model.predict({"x": X}, outputs=["a"])
    assert made == ["mine0", "mine1"]


def test_a_slow_layer_holds_up_nobody_else() -> None:
    """Two threads are inside of the layer at the same time: each waits there for the other."""
    both = threading.Barrier(2, timeout=30)
    model = loaded(ONE, Mine=returning(lambda inputs: (both.wait() and inputs) or inputs))
    results: list[Any] = []
    threads = [threading.Thread(target=lambda: results.append(model.predict({"x": X})["y"])) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    np.testing.assert_array_equal(results, [X, X])


def test_a_layer_may_predict_with_its_own_model() -> None:
    models: list[Any] = []

    def halved(inputs: Any) -> Any:
        if abs(inputs[0]).max() < 2:
            return [inputs[0].copy()]
        return [models[0].predict({"x": inputs[0] / np.float32(2)})["y"]]

    models.append(loaded(ONE, Mine=returning(halved)))
    np.testing.assert_array_equal(models[0].predict({"x": X})["y"], X / 4)


def test_a_layer_that_predicts_without_end_is_an_error_with_one_note() -> None:
    models: list[Any] = []
    models.append(loaded(ONE, Mine=returning(lambda inputs: models[0].predict({"x": inputs[0]})["y"])))
    with pytest.raises(RecursionError) as error:
        models[0].predict({"x": X})
    assert error.value.__notes__ == [f"raised by {WHO}"]


@pytest.mark.parametrize("method", ["__init__", "output_shapes", "encode"])
def test_a_model_cannot_predict_before_it_is_ready(method: str) -> None:
    models: list[Any] = []
    found = type("Early", (Doubled,), {method: lambda *_: models[0].predict({"x": X})})
    models.append(loaded(ONE, Mine=found))
    with pytest.raises(UnsupportedError) as error:
        models[0].predict({"x": X})
    assert str(error.value) == (
        "the model is asked to predict by the constructor, output_shapes or encode of its own custom part, before it "
        "is ready; only evaluate and predict may do so"
    )


def test_a_model_is_saved_as_it_is(tmp_path: Path) -> None:
    path = loaded(ONE, Mine=Doubled).save(tmp_path / "mine.mlmodel")
    assert windfall.load(path).spec == ONE
    package = loaded(ONE, Mine=Doubled).save(tmp_path / "mine.mlpackage")
    np.testing.assert_array_equal(windfall.load(package, custom_layers={"Mine": Doubled}).predict({"x": X})["y"], X * 2)


def test_the_cache_keeps_no_graph_with_the_users_code(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A class that changes between two starts gives its new results; without such a layer there is an entry."""
    cache = tmp_path / "cache"
    monkeypatch.setenv("WINDFALL_CACHE", str(cache))
    path = windfall.load(network(("abs", ["x"], ["a"]), ("Mine", ["a"], ["y"]))).save(tmp_path / "mine.mlmodel")
    for factor in (2, 3):
        found = encoding(lambda graph, inputs, f=factor: graph.op("Mul", inputs[0], graph.constant(np.float32(f))))
        model = windfall.load(path, custom_layers={"Mine": found})
        np.testing.assert_array_equal(model.predict({"x": X})["y"], abs(X) * factor)
    assert not list(cache.glob("*.onnx"))
    plain = windfall.load(network(("abs", ["x"], ["y"]))).save(tmp_path / "plain.mlmodel")
    windfall.load(plain).predict({"x": X})
    assert len(list(cache.glob("*.onnx"))) == 1


def test_a_copy_of_a_model_of_another_file_has_layers_of_its_own() -> None:
    model = loaded(ONE, Mine=Doubled)
    model.predict({"x": X})
    other = model._of_file(windfall.load(network(("Mine", ["x"], ["a"]), ("abs", ["a"], ["y"])))._file)
    np.testing.assert_array_equal(other.predict({"x": X})["y"], abs(X) * 2)
    assert other._customs is not model._customs


def test_models_are_not_pickled() -> None:
    with pytest.raises(TypeError) as error:
        pickle.dumps(loaded(ONE, Mine=Doubled))
    assert str(error.value) == (
        "<windfall.Model 'the model', neuralNetwork> cannot be pickled or copied; give the path, and load it where it "
        "is needed"
    )


def test_an_encoded_layer_leaves_the_same_graph_as_a_built_in_one() -> None:
    """In the middle of a real network, whose layers work on planes of rank 4 behind its five axes."""
    spec = windfall.load(STYLE).spec
    layers = spec.neuralNetwork.layers
    built_in = windfall.load(spec).compiled.onnx
    relu = [layer.name for layer in layers if layer.activation.HasField("ReLU")][5]
    windfall.custom.add_layer(spec, "Mine", replaces=relu)
    found = encoding(lambda graph, x: graph.restore(graph.op("Relu", graph.planes(x[0])), like=x[0]))
    custom = loaded(spec, Mine=found).compiled.onnx
    operators = [[node.op_type for node in proto.graph.node] for proto in (built_in, custom)]
    assert operators[0] == operators[1]
    assert operators[0].count("Conv") + operators[0].count("ConvTranspose") == 16


def test_the_graph_of_a_cut_model_shows_the_layer() -> None:
    model = loaded(network(("abs", ["x"], ["a"]), ("Mine", ["a"], ["y"])), Mine=Doubled)
    proto = model.compiled.onnx
    assert [(node.domain, node.op_type) for node in proto.graph.node] == [("", "Abs"), ("windfall.custom", "Mine")]
    assert ("windfall.custom", 1) in [(one.domain, one.version) for one in proto.opset_import]
