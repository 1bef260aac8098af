import gc
import json
import threading
import time
import weakref

import numpy as np
import pytest
from PIL import Image

import windfall
from tests.classical import array, model_spec, optional
from tests.lowering.classical.tree_support import branch, classifier, leaf
from tests.lowering.ml_program.test_states import accumulator
from tests.support import fill, layer_spec
from windfall.batches import MANY_ROWS
from windfall.errors import FeatureError, UnsupportedError
from windfall.features import fitting
from windfall.features.fitting import fit, open_photo
from windfall.runtime.engine import available_cores
from windfall.spec.proto import Model_pb2
from windfall.streams import Settings, programs, running
from windfall.streams.runner import Runner
from windfall.streams.ways import MOST_MEASURED, STACK, STACKS_OF_DEVICES, Way, candidates, fastest


def linear(inputs, count):
    weights = np.arange(1.0, count + 1)
    return model_spec(
        "glmRegressor", inputs, {"y": "double"}, {"weights": [{"value": weights}], "offset": [0.5]}, predicted="y"
    )


MIXED = {"a": "double", "b": "int64", "c": array(2, dtype="FLOAT32")}
TREE = [branch(0, 0, 0, 0, 0.0, 1, 2), leaf(0, 1, 0.25), leaf(0, 2, 1.0)]


@pytest.mark.parametrize("rows", [0, 1, 3, MANY_ROWS - 1, MANY_ROWS, 1000])
def test_a_table_a_list_and_predictions_one_by_one_agree(rows):
    model = windfall.load(linear(MIXED, 4), threads=2)
    rng = np.random.default_rng(rows)
    table = {"a": rng.normal(size=rows), "b": rng.integers(-9, 9, rows), "c": rng.normal(size=(rows, 2)).astype("f4")}
    expected = table["a"] + 2 * table["b"] + table["c"].astype(float) @ [3, 4] + 0.5
    got = model.predict_batch(table)["y"]
    assert got.shape == (rows,)
    np.testing.assert_allclose(got, expected, rtol=1e-13, atol=1e-13)
    lists = [{name: column[row] for name, column in table.items()} for row in range(rows)]
    one_by_one = list(model.predict_batch(iter(lists)))
    np.testing.assert_allclose([one["y"] for one in one_by_one], expected, rtol=1e-13, atol=1e-13)
    assert all(isinstance(one["y"], float) for one in one_by_one)
    np.testing.assert_allclose([model.predict(one)["y"] for one in lists[:3]], expected[:3], rtol=1e-13)


def test_many_rows_of_a_classifier_keep_their_order():
    model = windfall.load(classifier(TREE, 1, {"stringClassLabels": {"vector": ["no", "yes"]}}))
    x = np.random.default_rng(0).normal(size=(2000, 2))
    got = model.predict_batch({"x": x})
    np.testing.assert_array_equal(got["label"] == "yes", x[:, 0] > 0)
    np.testing.assert_array_equal(got["scores"]["yes"], np.where(x[:, 0] > 0, 1, 0.25))
    rows = model.predict_batch([{"x": row} for row in x])
    assert rows[0] == model.predict({"x": x[0]})
    assert [row["label"] for row in rows] == got["label"].tolist()


def test_optional_columns_may_be_left_out_and_may_have_gaps():
    model = windfall.load(
        model_spec(
            "treeEnsembleRegressor",
            {"a": optional("double"), "b": "double"},
            {"y": "double"},
            {"treeEnsemble": {"nodes": TREE, "numPredictionDimensions": 1}},
            predicted="y",
        )
    )
    np.testing.assert_array_equal(model.predict_batch({"a": [-1.0, None, 1.0], "b": [0, 0, 0]})["y"], [0.25, 1, 1])
    np.testing.assert_array_equal(model.predict_batch({"b": [0, 0]})["y"], [1, 1])


class Series(list):
    def to_numpy(self):
        return np.array(self)


class Frame:
    """What data frames of several libraries have in common."""

    columns = ("a", "b")

    def __getitem__(self, name):
        return Series({"a": [1.0, 2.0], "b": [3, 4]}[name])


def test_a_data_frame_is_a_table():
    model = windfall.load(linear({"a": "double", "b": "int64"}, 2))
    np.testing.assert_array_equal(model.predict_batch(Frame())["y"], [7.5, 10.5])


def network():
    spec = layer_spec("activation", np.zeros(2), linear={"alpha": 2.0, "beta": 1.0})
    return windfall.load(spec)


def test_a_network_computes_row_by_row():
    x = np.float32([[1, 2], [3, 4], [5, 6]])
    np.testing.assert_array_equal(network().predict_batch({"x0": x})["y0"], 2 * x + 1)
    rows = network().predict_batch([{"x0": row} for row in x])
    np.testing.assert_array_equal([row["y0"] for row in rows], 2 * x + 1)


def test_pictures_come_as_a_list():
    spec = Model_pb2.Model(specificationVersion=1)
    for features, name in ((spec.description.input, "x"), (spec.description.output, "y")):
        fill(features.add(name=name), {"type": {"imageType": {"width": 3, "height": 2, "colorSpace": "RGB"}}})
    layer = spec.neuralNetwork.layers.add(name="layer", input=["x"], output=["y"])
    fill(layer, {"activation": {"linear": {"alpha": 1.0, "beta": 1.0}}})
    pictures = [Image.new("RGB", (3, 2), (i, i, i)) for i in range(3)]
    got = windfall.load(spec).predict_batch({"x": pictures})["y"]
    assert [picture.getpixel((0, 0)) for picture in got] == [(1, 1, 1), (2, 2, 2), (3, 3, 3)]


@pytest.mark.parametrize(
    ("inputs", "text"),
    [
        (5, "the inputs are of type int, must be a dictionary of columns or a list of dictionaries"),
        ("abc", "the inputs are of type str, must be a dictionary of columns or a list of dictionaries"),
        ({"a": [1.0], "z": [2.0]}, "the model has no input 'z'; its inputs are 'a', 'b', 'c'"),
        ({"a": 1.0}, "input 'a' is float, must be a list or an array with a value for each row"),
        (np.array(3), "the inputs are of type ndarray, must be a dictionary of columns or a list of dictionaries"),
        ({"a": {1, 2}}, "input 'a' is set, must be a list or an array with a value for each row"),
        ({"a": {1: 2}}, "input 'a' is dict, must be a list or an array with a value for each row"),
        ({"a": np.float64(1)}, "input 'a' is float64, must be a list or an array with a value for each row"),
        (
            {"a": [1.0], "b": [1, 2]},
            "the inputs have different numbers of rows, {'a': 1, 'b': 2}; each must have as many",
        ),
        ({"a": [1.0, 2.0]}, "input 'b' is missing in row 0; give a value for each of ['a', 'b', 'c']"),
        (
            {"a": [1.0, None], "b": [1, 2], "c": np.zeros((2, 2))},
            "input 'a' is missing in row 1; give a value for each of ['a', 'b', 'c']",
        ),
        (
            {"a": [1.0], "b": [0.5], "c": np.zeros((1, 2))},
            "input 'b' has numbers that int64 cannot hold; round or clip them first",
        ),
        ({"a": [1.0], "b": [1], "c": np.zeros((1, 3))}, "input 'c' has shape [3], must be [2]; reshape it"),
        (
            [{"a": 1.0, "b": 1, "c": [0, 0]}, {"q": 1}],
            "the model has no input 'q'; its inputs are 'a', 'b', 'c'",
        ),
        (
            [1],
            ("the inputs are of type int, must be a dictionary with a value for each of ['a', 'b', 'c']"),
        ),
    ],
)
def test_inputs_that_do_not_fit(inputs, text):
    with pytest.raises(FeatureError) as error:
        windfall.load(linear(MIXED, 4)).predict_batch(inputs)
    assert str(error.value) == text


def image_network(alpha=1.0, least=1, most=64):
    """A network from a picture of a range of sizes to one: a 3x3 mean, times ``alpha``."""
    spec = Model_pb2.Model(specificationVersion=4)
    sizes = {"lowerBound": least, "upperBound": most}
    image = {"width": 8, "height": 6, "colorSpace": "RGB",
             "imageSizeRange": {"widthRange": sizes, "heightRange": sizes}}  # fmt: skip
    for features, name in ((spec.description.input, "x"), (spec.description.output, "y")):
        fill(features.add(name=name), {"type": {"imageType": image}})
    pooling = {"type": "AVERAGE", "kernelSize": [3, 3], "stride": [1, 1], "same": {}}
    layers = [
        {"name": "mean", "input": ["x"], "output": ["m"], "pooling": pooling},
        {"name": "times", "input": ["m"], "output": ["y"], "activation": {"linear": {"alpha": alpha}}},
    ]
    fill(spec, {"neuralNetwork": {"layers": layers}})
    return windfall.load(spec, threads=2)


def picture(seed, size=(8, 6)):
    pixels = np.random.default_rng(seed).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    return Image.fromarray(pixels)


def same(one, other):
    np.testing.assert_array_equal(np.asarray(one["y"]), np.asarray(other["y"]))


SIZES = [(8, 6), (5, 9), (16, 16)]
WAYS = [Way(0), Way(1), Way(2), Way(3), Way(1, 4)]


@pytest.mark.parametrize("way", WAYS, ids=str)
def test_each_way_gives_what_single_predictions_do_in_order(way, monkeypatch):
    monkeypatch.setattr(running, "candidates", lambda *_, **__: [way])
    monkeypatch.setattr(running._Batch, "_is_long", lambda *_: True)
    model = image_network()
    items = [{"x": picture(seed, SIZES[seed // 4 % 3])} for seed in range(40)]
    expected = [model.predict(item) for item in items]
    for given in (items, iter(items)):
        got = list(model.predict_batch(given))
        assert len(got) == 40
        for one, other in zip(got, expected, strict=True):
            same(one, other)


# Two are computed alone; of the rest, 1 is too little for a stack, and 4 are enough.
@pytest.mark.parametrize(("count", "stacks"), [(27, 3), (30, 4)])
def test_a_graphics_card_computes_stacks_that_are_not_full(monkeypatch, count, stacks):
    run, seen = programs.Stacked.run, []
    monkeypatch.setattr(programs.Stacked, "run", lambda self, many: seen.append(len(many)) or run(self, many))
    monkeypatch.setattr(running, "candidates", lambda *_, **__: [Way(1, 8)])
    monkeypatch.setattr(running, "_FIRST", 0.0)
    monkeypatch.setattr(running._Batch, "_is_long", lambda *_: True)
    monkeypatch.setattr(running.Runner, "is_cpu", False)
    model = image_network()
    items = [{"x": picture(seed)} for seed in range(count)]
    expected = [model.predict(item) for item in items]
    got = model.predict_batch(items)
    for one, other in zip(got, expected, strict=True):
        same(one, other)
    assert seen == [8] * stacks


@pytest.mark.parametrize("streams", [None, 1, 2, 5])
def test_a_generator_without_end_is_asked_for_a_few_items_ahead(streams, monkeypatch):
    monkeypatch.setattr(running._Batch, "_is_long", lambda *_: True)
    taken = 0

    def endless():
        nonlocal taken
        while True:
            taken += 1
            yield {"x": picture(taken)}

    model = image_network()
    results = model.predict_batch(endless(), streams=streams)
    assert taken == 0
    for number in range(1, 400):
        same(next(results), model.predict({"x": picture(number)}))
        # What is measured is kept until it is complete: stacks for each thread at most.
        assert taken - number <= (2 * 6 if streams else STACK * 2 * 2 * 3 + MOST_MEASURED)
    results.close()
    assert not batch_threads()
    with pytest.raises(StopIteration):
        next(results)


def batch_threads():
    return [thread.name for thread in threading.enumerate() if thread.name.startswith("windfall-batch")]


def test_a_list_gives_a_list_and_what_is_none_an_iterator():
    model = image_network()
    items = [{"x": picture(seed)} for seed in range(3)]
    assert isinstance(model.predict_batch(items), list)
    assert isinstance(model.predict_batch(tuple(items)), list)
    assert model.predict_batch([]) == []
    assert list(model.predict_batch(iter([]))) == []
    assert not isinstance(model.predict_batch(dict(enumerate(items)).values()), list)


BAD = "image 'x' is str, must be a Pillow image or a uint8 array [H, W, 3]; try PIL.Image.open(path)"


@pytest.mark.parametrize("streams", [None, 1, 3])
def test_an_item_that_fails_is_raised_returned_or_skipped(streams):
    model = image_network()
    items = [{"x": picture(seed)} for seed in range(9)]
    items[4] = {"x": "no picture"}
    results = model.predict_batch(iter(items), streams=streams)
    for item in items[:4]:
        same(next(results), model.predict(item))
    with pytest.raises(FeatureError) as error:
        next(results)
    assert str(error.value) == BAD
    assert list(results) == []
    assert not batch_threads()
    with pytest.raises(FeatureError, match="must be a Pillow image"):
        model.predict_batch(items, streams=streams)
    returned = model.predict_batch(items, streams=streams, on_error="return")
    assert [isinstance(one, Exception) for one in returned] == [number == 4 for number in range(9)]
    assert str(returned[4]) == BAD
    same(returned[8], model.predict(items[8]))
    skipped = list(model.predict_batch(iter(items), streams=streams, on_error="skip"))
    assert len(skipped) == 8
    same(skipped[4], model.predict(items[5]))


@pytest.mark.parametrize("streams", [None, 1, 3])
def test_what_an_iterable_raises_comes_behind_the_results_before_it(streams):
    def broken():
        for seed in range(5):
            yield {"x": picture(seed)}
        raise KeyError("gone")

    results = image_network().predict_batch(broken(), streams=streams)
    assert len([next(results) for _ in range(5)]) == 5
    with pytest.raises(KeyError, match="gone"):
        next(results)
    assert not batch_threads()


def test_an_iterator_that_is_dropped_ends_its_threads():
    results = image_network().predict_batch(({"x": picture(seed)} for seed in range(99)), streams=2)
    next(results)
    assert batch_threads()
    del results
    gc.collect()
    assert not batch_threads()


def test_pictures_and_paths_of_pictures_are_fitted(tmp_path):
    spec = image_network().spec
    spec.description.input[0].type.imageType.ClearField("imageSizeRange")
    model = windfall.load(spec)
    large = picture(0, (20, 10))
    large.save(tmp_path / "large.png")
    expected = model.predict({"x": fit(large, (8, 6))})
    for item in (large, tmp_path / "large.png", str(tmp_path / "large.png")):
        same(model.predict_batch([item])[0], expected)
    same(model.predict_batch([large], fit="scaleFill")[0], model.predict({"x": fit(large, (8, 6), "scaleFill")}))
    missing, found = model.predict_batch(iter([tmp_path / "none.png", large]), on_error="return")
    assert str(missing) == f"cannot open {tmp_path / 'none.png'}: No such file or directory; check the path"
    same(found, expected)


def test_a_large_jpeg_is_unpacked_at_a_fraction_of_its_size(tmp_path, monkeypatch):
    path = tmp_path / "wide.jpg"
    gradient = np.linspace(0, 255, 800, dtype=np.uint8)
    Image.fromarray(np.broadcast_to(gradient, (600, 800)).copy()).convert("RGB").save(path, quality=95)
    whole = fit(open_photo(path), (8, 6))
    monkeypatch.setattr(fitting, "LARGE_PHOTO", 1000)
    assert open_photo(path).size == (800, 600)
    assert open_photo(path, lambda size: (8, 6)).size == (100, 75)
    assert open_photo(path, lambda size: size).size == (800, 600)
    fitted = fit(open_photo(path, lambda size: (8, 6)), (8, 6))
    assert np.abs(np.asarray(fitted).astype(int) - np.asarray(whole)).max() <= 2


def test_the_fastest_way_is_remembered(monkeypatch):
    monkeypatch.setattr(running._Batch, "_is_long", lambda *_: True)
    measured = []

    def fastest(seconds):
        measured.append(list(seconds))
        return Way(2)

    monkeypatch.setattr(running, "fastest", fastest)
    model = image_network()
    items = [{"x": picture(seed)} for seed in range(1500)]
    expected = [np.asarray(model.predict(item)["y"]) for item in items]
    for _ in range(2):
        np.testing.assert_array_equal([np.asarray(one["y"]) for one in model.predict_batch(iter(items))], expected)
    assert measured == [[Way(0), Way(1), Way(2), Way(1, STACK)]]
    ((key, way),) = model._batching.ways.items()
    assert key == ((("x", (1, 6, 8, 3)),), None)
    assert way == Way(2)
    assert [one for _, one in model._batching._programs] == [Way(2)]


@pytest.mark.parametrize(
    "damage", [None, "", "[]", "{}", '{"streams": 99, "stack": 1}', '{"streams": "a", "stack": 1}']
)
def test_the_fastest_way_is_remembered_in_the_cache(damage, monkeypatch, tmp_path):
    monkeypatch.setenv("WINDFALL_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(running._Batch, "_is_long", lambda *_: True)
    measured = []
    monkeypatch.setattr(running, "fastest", lambda seconds: measured.append(len(seconds)) or Way(2))
    image_network().save(tmp_path / "model.mlmodel")
    items = [{"x": picture(seed)} for seed in range(1500)]
    expected = [np.asarray(one["y"]) for one in image_network().predict_batch(items[:40], streams=1)]
    for turn in range(2):
        model = windfall.load(tmp_path / "model.mlmodel")
        got = [np.asarray(one["y"]) for one in model.predict_batch(items)]
        np.testing.assert_array_equal(got[:40], expected)
        assert list(model._batching.ways.values()) == [Way(2)]
        (entry,) = (tmp_path / "cache").glob("*.way")
        assert json.loads(entry.read_text()) == {"streams": 2, "stack": 1}
        if turn == 0 and damage is not None:
            entry.write_text(damage)
    assert measured == [4] * (1 if damage is None else 2)


def test_a_model_that_the_cache_does_not_have_has_no_entry(monkeypatch, tmp_path):
    monkeypatch.setenv("WINDFALL_CACHE", str(tmp_path))
    monkeypatch.setattr(programs, "_finding", lambda *_: pytest.fail("it was lowered"))
    monkeypatch.setattr(running._Batch, "_is_long", lambda *_: True)
    model = image_network()
    assert len(model.predict_batch([{"x": picture(seed)} for seed in range(1500)])) == 1500
    assert len(model._batching.ways) == 1


def test_nothing_is_compiled_for_a_batch_that_is_over(monkeypatch):
    monkeypatch.setattr(running.Runner, "agrees", lambda *_: pytest.fail("it was"))
    model = image_network()
    assert len(list(model.predict_batch({"x": picture(seed)} for seed in range(20)))) == 20
    assert not model._batching.ways


def test_a_way_with_other_results_is_not_taken(monkeypatch):
    model = image_network()
    runner = Runner(model, Settings())
    runner.alone((0, {"x": picture(0)}))
    runner.alone((1, {"x": picture(1)}))
    assert runner.agrees(Way(2))
    runner.seen.tensors[0][0, 0, 0, 0] ^= 1
    assert not runner.agrees(Way(2))
    assert not runner.agrees(Way(1, 4))


def test_the_fastest_is_that_which_takes_least_unless_it_gains_little():
    assert fastest({Way(1): 1.0, Way(2): 0.97}) == Way(1)
    assert fastest({Way(0): 1.0, Way(1): 0.97, Way(2): 0.96}) == Way(0)
    assert fastest({Way(1): 1.0, Way(2): 0.9, Way(1, STACK): 0.8}) == Way(1, STACK)
    assert candidates(0.0001, 4, is_cpu=True) == [Way(0), Way(1), Way(4), Way(1, STACK)]
    assert candidates(0.1, 4, is_cpu=True) == [Way(0), Way(1), Way(4)]
    assert candidates(0.1, 4, is_cpu=False) == [Way(1), *(Way(1, count) for count in STACKS_OF_DEVICES)]
    assert candidates(0.1, 1, is_cpu=True) == [Way(0), Way(1)]


def test_errors_of_many_rows_are_those_of_the_rows_to_blame():
    model = windfall.load(linear({"a": "double", "b": "int64"}, 2))
    rows = [{"a": float(row), "b": row} for row in range(50)]
    rows[7], rows[30] = {"a": 1.0}, {"a": 1.0, "b": 1, "c": 2}
    got = model.predict_batch(iter(rows), on_error="return")
    values = list(got)
    assert str(values[7]) == "input 'b' is missing; give a value for each of ['a', 'b']"
    assert str(values[30]) == "the model has no input 'c'; its inputs are 'a', 'b'"
    good = [row for row in range(50) if row not in (7, 30)]
    assert [values[row]["y"] for row in good] == [row + 2 * row + 0.5 for row in good]
    assert [one["y"] for one in model.predict_batch(rows, on_error="skip")] == [values[row]["y"] for row in good]
    results = model.predict_batch(iter(rows))
    assert len([next(results) for _ in range(7)]) == 7
    with pytest.raises(FeatureError, match="'b' is missing"):
        next(results)


@pytest.mark.parametrize(
    ("options", "kind", "text"),
    [
        ({"on_error": "drop"}, FeatureError, "on_error is 'drop', must be one of: raise, return, skip"),
        ({"streams": 0}, UnsupportedError, "streams is 0, must be 1 to 1024, or None for as many as are fastest"),
        ({"streams": True}, UnsupportedError, "streams is True, must be 1 to 1024, or None for as many as are fastest"),
        ({"fit": "crop"}, FeatureError, "fit is 'crop', must be one of: centerCrop, scaleFit, scaleFill"),
    ],
)
def test_options_that_are_unknown(options, kind, text):
    with pytest.raises(kind) as error:
        image_network().predict_batch(iter([]), **options)
    assert str(error.value) == text


def test_a_table_has_a_value_for_each_row():
    with pytest.raises(FeatureError) as error:
        image_network().predict_batch({"x": []}, on_error="skip")
    assert str(error.value) == (
        "on_error is 'skip', must be 'raise' for a table, whose columns have a value for each row; "
        "give a list of dictionaries"
    )


def test_a_picture_for_a_model_without_an_image_input():
    with pytest.raises(FeatureError) as error:
        network().predict_batch([picture(0)])
    assert str(error.value) == (
        "the item is a picture, and the model is not one of one image input; give dictionaries, its inputs are "
        "'x0' (array)"
    )


def test_a_model_with_states_is_refused():
    with pytest.raises(FeatureError) as error:
        windfall.load(accumulator()).predict_batch([{"x": [1, 2, 3]}])
    assert str(error.value) == (
        "the model keeps the states 'total': a prediction depends on those before it; call predict for one after "
        "another, with state = model.make_state()"
    )


@pytest.mark.parametrize(
    ("length", "elapsed", "is_long"),
    [(-1, 7.9, False), (-1, 8.1, True), (12, 0.1, False), (13, 0.1, True)],
)
def test_ways_are_measured_where_a_batch_is_long_enough_for_it(length, elapsed, is_long):
    model = image_network()
    model._compile_seconds = 2.0
    batch = running._Batch(model, iter(range(length)) if length >= 0 else (one for one in ()), Settings())
    assert batch._is_long(elapsed, each=1.0) == is_long


@pytest.mark.parametrize(("length", "is_long"), [(12, False), (13, True)])
def test_on_a_graphics_card_less_is_long_enough(monkeypatch, length, is_long):
    monkeypatch.setattr(running.Runner, "is_cpu", False)
    model = image_network()
    model._compile_seconds = 20.0
    batch = running._Batch(model, iter(range(length)), Settings())
    assert batch._is_long(0.1, each=1 / 24) == is_long


def test_a_batch_that_begins_with_items_that_fail_is_measured_all_the_same(monkeypatch):
    monkeypatch.setattr(running._Batch, "_is_long", lambda *_: True)
    model = image_network()
    items = [{"x": None}] * 5 + [{"x": picture(seed)} for seed in range(1500)]
    got = model.predict_batch(items, on_error="return")
    assert [isinstance(one, FeatureError) for one in got] == [number < 5 for number in range(1505)]
    assert len(model._batching.ways) == 1


def test_an_error_that_is_returned_keeps_no_item_alive():
    class Item(dict):
        pass

    item = Item(x="no picture")
    alive = weakref.ref(item)
    (error,) = image_network().predict_batch([item], on_error="return")
    del item
    gc.collect()
    assert alive() is None
    assert str(error) == BAD


def test_streams_of_openvino():
    pytest.importorskip("openvino")
    x = np.random.default_rng(0).normal(size=(40, 3, 8, 8)).astype(np.float32)
    spec = layer_spec("activation", x[0], linear={"alpha": 2.0, "beta": 1.0})
    model = windfall.load(spec, engine="openvino", threads=2)
    assert model.compiled.program.engine == "openvino"
    got = list(model.predict_batch(({"x0": one} for one in x), streams=3))
    np.testing.assert_array_equal([one["y0"] for one in got], 2 * x + 1)
    ((_, program),) = model._batching._programs.items()
    # OpenVINO has no more streams than cores.
    assert program._compiled.get_property("NUM_STREAMS") == min(3, available_cores())


def test_large_photos_are_in_memory_one_at_a_time(tmp_path, monkeypatch):
    picture(0, (20, 10)).save(tmp_path / "photo.png")
    inside, most = 0, 0
    unpack, scale = fitting.open_photo, fitting.fit_photo

    def opened(*arguments):
        nonlocal inside, most
        inside += 1
        most = max(most, inside)
        time.sleep(0.01)
        return unpack(*arguments)

    def fitted(*arguments):
        nonlocal inside
        result = scale(*arguments)
        inside -= 1
        return result

    monkeypatch.setattr(fitting, "LARGE_PHOTO", 100)
    monkeypatch.setattr(fitting, "open_photo", opened)
    monkeypatch.setattr(fitting, "fit_photo", fitted)
    assert len(image_network().predict_batch([tmp_path / "photo.png"] * 12, streams=4)) == 12
    assert most == 1
