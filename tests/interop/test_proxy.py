"""The class behind coremltools' MLModel; these tests do without coremltools itself."""

import gc
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import windfall
from tests.mutations.programs import control
from tests.mutations.texts import compiled
from tests.support import layer_spec
from windfall.interop.coremltools import MLModelProxy
from windfall.interop.coremltools.proxy import MLModelAssetProxy
from windfall.spec.miltext import write_program
from windfall.spec.proto import FeatureTypes_pb2, Model_pb2

X = np.array([-1.0, 2.0, 3.0], np.float32)


@pytest.fixture
def path(tmp_path):
    """A model that returns max(0, x0) as y0."""
    spec = layer_spec("activation", X, ReLU={})
    return windfall.load(spec).save(tmp_path / "relu.mlmodel")


def opened(path, function_name="", asset=None):
    return MLModelProxy(str(path), "ALL", function_name, {"reshapeFrequency": "Frequent"}, asset)


def test_predict(path):
    np.testing.assert_array_equal(opened(path).predict({"x0": X})["y0"], [0, 2, 3])


def test_batches_are_predicted_one_by_one(path):
    results = opened(path).batchPredict([{"x0": X}, {"x0": 2 * X}])
    np.testing.assert_array_equal([result["y0"] for result in results], [[0, 2, 3], [0, 4, 6]])


def test_the_main_function_is_the_only_one(path):
    assert set(opened(path, "main").predict({"x0": X})) == {"y0"}
    with pytest.raises(
        RuntimeError, match=r"^relu.mlmodel is a neural network, which has no function 'decode'; load it"
    ):
        opened(path, "decode")


def test_durations_are_in_nanoseconds(path):
    proxy = opened(path)
    assert 0 < proxy.get_load_duration_in_nano_seconds() < 600e9
    assert proxy.get_last_predict_duration_in_nano_seconds() is None
    proxy.batchPredict([{"x0": X}] * 2)
    assert 0 < proxy.get_last_predict_duration_in_nano_seconds() < 600e9


@pytest.mark.parametrize(("color_space", "mode"), [("RGB", "RGBA"), ("BGR", "RGBA"), ("GRAYSCALE", "L")])
def test_colour_images_come_with_an_alpha_channel(tmp_path, color_space, mode):
    spec = layer_spec("activation", np.zeros((3 if mode == "RGBA" else 1, 4, 5), np.float32), rank5=True, linear={})
    spec.neuralNetwork.layers[0].activation.linear.alpha = 1
    for feature in (*spec.description.input, *spec.description.output):
        image = feature.type.imageType
        image.width, image.height = 5, 4
        image.colorSpace = FeatureTypes_pb2.ImageFeatureType.ColorSpace.Value(color_space)
    photo = Image.effect_noise((5, 4), 64).convert(mode[:3])
    proxy = opened(windfall.load(spec).save(tmp_path / "image.mlmodel"))
    result = proxy.predict({"x0": photo})["y0"]
    assert result.mode == mode
    np.testing.assert_array_equal(np.asarray(result), np.asarray(photo.convert(mode)))


def test_a_model_may_be_removed_and_replaced_while_it_is_open(path):
    proxy = opened(path)
    path.unlink()
    path.write_bytes(b"another")
    np.testing.assert_array_equal(proxy.predict({"x0": X})["y0"], [0, 2, 3])


def test_nothing_stays_open_where_open_files_are_locked(path, monkeypatch):
    monkeypatch.setattr(windfall.interop.coremltools.proxy, "_OPEN_FILES_ARE_LOCKED", True)
    proxy = opened(path)
    path.write_bytes(b"another, written into the same file")
    np.testing.assert_array_equal(proxy.predict({"x0": X})["y0"], [0, 2, 3])
    np.testing.assert_array_equal(opened(proxy.get_compiled_model_path()).predict({"x0": X})["y0"], [0, 2, 3])


def test_a_missing_model_is_a_runtime_error(tmp_path):
    with pytest.raises(RuntimeError, match=r"cannot open .*none.mlmodel: No such file or directory; check the path"):
        opened(tmp_path / "none.mlmodel")


def test_inputs_that_do_not_fit_are_a_runtime_error_with_the_reason(path):
    with pytest.raises(RuntimeError, match=r"input 'x0' is missing; give a value for each of \['x0'\]"):
        opened(path).predict({})


def test_a_model_that_cannot_be_run_is_refused_when_it_is_opened(tmp_path):
    spec = layer_spec("custom", X, className="Sparkle")
    for index in range(4):
        spec.neuralNetwork.layers.add(name=f"more{index}", input=["x0"], output=[f"z{index}"]).custom.className = "More"
    file = windfall.load(spec).save(tmp_path / "custom.mlmodel")
    with pytest.raises(RuntimeError) as error:
        opened(file)
    assert str(error.value).startswith("custom.mlmodel cannot be run: layer 'layer' (custom, className 'Sparkle'): ")
    assert str(error.value).endswith("; and 2 more; see all with: windfall inspect")


def test_states_of_a_model_that_keeps_none(path):
    with pytest.raises(RuntimeError, match=r"^relu.mlmodel keeps no states; predict without one$"):
        opened(path).newState()


def test_a_compiled_model_is_a_folder_that_may_be_moved(path, tmp_path):
    folder = Path(MLModelProxy.compileModel(str(path)))
    assert folder.name == "relu.mlmodelc"
    moved = shutil.move(folder, tmp_path / "other.mlmodelc")
    path.unlink()
    proxy = opened(moved)
    np.testing.assert_array_equal(proxy.predict({"x0": X})["y0"], [0, 2, 3])
    assert proxy.get_compiled_model_path() == str(moved)


def test_models_may_be_compiled_twice_under_one_name(path):
    assert MLModelProxy.compileModel(str(path)) != MLModelProxy.compileModel(str(path))


def test_the_compiled_form_of_an_open_model_lives_as_long_as_the_model(path):
    proxy = opened(path)
    folder = proxy.get_compiled_model_path()
    assert proxy.get_compiled_model_path() == folder
    np.testing.assert_array_equal(opened(folder).predict({"x0": X})["y0"], [0, 2, 3])
    del proxy
    gc.collect()
    assert not Path(folder).exists()


def test_what_is_no_model_is_not_compiled(tmp_path):
    (tmp_path / "notes.mlmodel").write_text("buy milk")
    with pytest.raises(RuntimeError, match=r"^notes.mlmodel cannot be read as a Core ML model: it is text"):
        MLModelProxy.compileModel(str(tmp_path / "notes.mlmodel"))


def test_compiled_models_that_cannot_be_opened(tmp_path):
    folder = tmp_path / "app.mlmodelc"
    with pytest.raises(RuntimeError, match=r"^cannot open .*app.mlmodelc: there is no such folder; check the path$"):
        opened(folder)
    folder.mkdir()
    with pytest.raises(RuntimeError, match=r"^app.mlmodelc "):
        opened(folder)


def test_compiled_models_of_apples_compiler_are_opened(tmp_path):
    base = control()
    folder = compiled(base, write_program(base.spec.mlProgram).encode(), tmp_path)
    proxy = opened(folder)
    state = proxy.newState()
    inputs = {"x": np.float32([1, 2, 3]), "n": np.int32(2)}
    np.testing.assert_array_equal(proxy.predict(inputs, state)["y"][:2], [[0, 0, 0], [1, 2, 3]])
    np.testing.assert_array_equal(state.read_state("total"), [4, 8, 12])
    assert proxy.get_compiled_model_path() == str(folder)
    (folder / "model.mil").rename(folder / "model.espresso.net")
    with pytest.raises(RuntimeError, match=r"^m.mlmodelc is compiled to the older espresso form, which only Core"):
        opened(folder)


def test_an_asset_is_opened_in_place_of_a_path(path):
    for source in (path, windfall.load(path).spec):
        proxy = opened("", asset=MLModelAssetProxy(source))
        np.testing.assert_array_equal(proxy.predict({"x0": X})["y0"], [0, 2, 3])
        assert Path(proxy.get_compiled_model_path()).name == "model.mlmodelc"


def test_assets_that_cannot_be_made():
    with pytest.raises(RuntimeError, match=r"^the 2 bytes cannot be read as a Core ML model; give a serialized one$"):
        MLModelProxy.create_model_asset_from_memory(b"\xff\xff", {})
    with pytest.raises(RuntimeError, match=r"^the package to write has the path 'weights.bin'"):
        MLModelProxy.create_model_asset_from_memory(b"", {"weights.bin": b""})


def test_the_lowest_version_of_bytes_is_bytes(path):
    spec = windfall.load(path).spec
    spec.neuralNetwork.arrayInputShapeMapping = 0
    lowest = MLModelProxy.auto_set_specification_version(spec.SerializeToString())
    assert isinstance(lowest, bytes)
    assert Model_pb2.Model.FromString(lowest).specificationVersion == 1
    assert MLModelProxy.auto_set_specification_version(spec).specificationVersion == 1
    assert spec.specificationVersion == 5
