import gc
import threading
import weakref
from multiprocessing.pool import ThreadPool

import numpy as np
import onnx
import onnxruntime as ort
import pytest

import windfall
from tests.support import layer_spec
from windfall.errors import LoweringError, UnsupportedError
from windfall.spec.proto import Model_pb2


def chain(*kinds, shape=(2, 3, 4)):
    """Return a network of unary functions in a row, x0 -> v0 -> v1 ... -> y0."""
    spec = layer_spec("activation", np.zeros(shape), rank5=True, linear={"alpha": 1})
    network = spec.neuralNetwork
    del network.layers[:]
    names = ["x0", *(f"v{i}" for i in range(len(kinds) - 1)), "y0"]
    for index, kind in enumerate(kinds):
        layer = network.layers.add(name=f"layer{index}", input=[names[index]], output=[names[index + 1]])
        getattr(layer.activation, kind).SetInParent()
    return spec


X = np.linspace(-2, 2, 24, dtype=np.float32).reshape(2, 3, 4)


def test_inner_values_can_be_asked_for():
    model = windfall.load(chain("tanh", "ReLU", "tanh"))
    inner = model.predict({"x0": X}, outputs=["v0", "v1", "y0"])
    assert list(inner) == ["v0", "v1", "y0"]
    np.testing.assert_allclose(inner["v0"].reshape(X.shape), np.tanh(X), atol=1e-6)
    np.testing.assert_allclose(inner["v1"].reshape(X.shape), np.maximum(np.tanh(X), 0), atol=1e-6)
    np.testing.assert_array_equal(inner["y0"], model.predict({"x0": X})["y0"])
    assert inner["v0"].dtype == np.float32
    assert inner["v0"].shape == (1, 1, 2, 3, 4)


def test_only_what_is_asked_for_is_computed():
    model = windfall.load(chain("tanh", "ReLU", "tanh"))
    assert list(model.predict({"x0": X}, outputs=["v0"])) == ["v0"]
    assert list(model.predict({"x0": X})) == ["y0"]


def test_many_threads_with_different_shapes_at_once():
    model = windfall.load(chain("tanh", "ReLU"), threads=1)
    barrier = threading.Barrier(8)

    def predict(index):
        if index < 8:
            barrier.wait(timeout=30)
        lead = [(), (2,), (3, 1), (2, 2), (5,)][index % 5]
        x = np.random.default_rng(index).standard_normal((*lead, 2, 3, 4)).astype(np.float32)
        outputs = ["v0", "y0"] if index % 3 == 0 else None
        got = model.predict({"x0": x}, outputs=outputs)
        return x, got["y0"].reshape(x.shape)

    with ThreadPool(8) as pool:
        for x, y in pool.map(predict, range(60), chunksize=1):
            np.testing.assert_allclose(y, np.maximum(np.tanh(x), 0), atol=1e-6)


def test_the_sizes_of_a_range_share_a_program():
    spec = layer_spec("activation", np.zeros(3), ReLU={})
    bounds = spec.description.input[0].type.multiArrayType.shapeRange.sizeRanges.add()
    bounds.lowerBound, bounds.upperBound = 1, -1
    model = windfall.load(spec, threads=1)
    assert model.compiled is model.compiled
    first = model.compiled
    for size in range(1, 25):
        np.testing.assert_array_equal(model.predict({"x0": np.ones(size)})["y0"], np.ones(size))
    assert model.compiled is first
    assert len(model._programs) == 2  # that of the default size, and the one for all
    np.testing.assert_array_equal(model.predict({"x0": [-1, 2, 3]})["y0"], [0, 2, 3])


def test_the_onnx_model_is_complete_and_gives_the_same():
    model = windfall.load(chain("tanh", "ReLU"))
    proto = model.compiled.onnx
    onnx.checker.check_model(proto, full_check=True)
    session = ort.InferenceSession(proto.SerializeToString(), providers=["CPUExecutionProvider"])
    (y,) = session.run(["y0"], {"x0": X[None, None]})
    np.testing.assert_array_equal(y.reshape(X.shape), model.predict({"x0": X})["y0"])


def test_a_model_from_a_file_and_from_its_spec_are_the_same(tmp_path):
    spec = chain("tanh", "ReLU")
    path = windfall.load(spec).save(tmp_path / "m.mlmodel")
    for source in (path, str(path), spec):
        model = windfall.load(source)
        assert model.spec == spec
        np.testing.assert_array_equal(model.predict({"x0": X})["y0"], windfall.load(spec).predict({"x0": X})["y0"])


def test_a_model_says_what_it_is(tmp_path):
    spec = chain("tanh")
    assert repr(windfall.load(spec)) == "<windfall.Model 'the model', neuralNetwork>"
    path = windfall.load(spec).save(tmp_path / "m.mlmodel")
    assert repr(windfall.load(path)) == "<windfall.Model 'm.mlmodel', neuralNetwork>"


@pytest.mark.parametrize("kind", ["linkedModel", "customModel", "wordTagger"])
def test_other_types_of_models_can_be_loaded_but_not_run(kind):
    spec = Model_pb2.Model(specificationVersion=3)
    getattr(spec, kind).SetInParent()
    model = windfall.load(spec)
    assert model.spec == spec
    with pytest.raises(UnsupportedError) as error:
        model.predict({})
    start = "needs classes of yours: " if kind == "customModel" else f"cannot be run: type {kind}: needs "
    assert str(error.value).startswith(f"the model {start}")


def test_an_error_does_not_stay():
    spec = layer_spec("activation", np.zeros((2, 3)), PReLU={"alpha": {"floatValue": [1.0]}})
    model = windfall.load(spec)
    for _ in range(2):
        with pytest.raises(LoweringError) as error:
            model.predict({"x0": np.zeros((2, 3))})
        assert str(error.value) == (
            "cannot lower layer 'layer' (activation) of the model: "
            "input has rank 2, alpha per channel needs rank 3 or more"
        )


def test_an_input_may_be_called_like_an_inner_value():
    spec = layer_spec("add", np.zeros((3, 4, 4)), np.zeros((3, 4, 4)), rank5=True)
    for feature, name in zip(spec.description.input, ("a", "a.planes:0"), strict=True):
        feature.name = name
    spec.neuralNetwork.layers[0].input[:] = ["a", "a.planes:0"]
    image = spec.description.input[0].type.imageType
    image.width = image.height = 4
    image.colorSpace = 20
    pixels = np.arange(48, dtype=np.uint8).reshape(4, 4, 3)
    (y,) = windfall.load(spec).predict({"a": pixels, "a.planes:0": np.ones((3, 4, 4))}).values()
    np.testing.assert_array_equal(y, pixels.transpose(2, 0, 1) + 1)


def test_a_model_and_its_program_go_when_nothing_refers_to_them() -> None:
    model = windfall.load(layer_spec("activation", np.zeros((1, 2, 2)), ReLU={}))
    model.predict({"x0": np.ones((1, 2, 2), np.float32)})
    program = weakref.ref(model.compiled.program)
    gc.disable()
    try:
        del model
        assert program() is None
    finally:
        gc.enable()
