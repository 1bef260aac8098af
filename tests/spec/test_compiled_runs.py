"""Compiled models run: with weight files, states, several functions and labels, however they are described."""

import json
import os
import shutil

import numpy as np
import pytest
from PIL import Image
from tests.mutations.programs import classifier, compressed, control
from tests.spec.test_compiled import IMAGE, LABELS, no_links_on_windows, write, write_metadata

import windfall
from windfall.errors import LoweringError, WindfallError

PICTURE = Image.effect_noise((8, 8), 64).convert("RGB")
ROWS = np.linspace(-1, 1, 12, dtype=np.float32).reshape(3, 4)


def test_a_model_with_a_weight_file_runs(tmp_path):
    path = write(compressed(), tmp_path)
    model = windfall.load(path)
    found = model.predict({"x": ROWS})["y"]
    # w0 is scaled, w1 looked up by the nibbles of the bytes 0 to 7, w2 and the bias lie there as they are.
    w0 = 0.5 * np.arange(16).reshape(4, 4)
    nibbles = np.array([[0, 0, 1, 0], [2, 0, 3, 0], [4, 0, 5, 0], [6, 0, 7, 0]])
    table = np.linspace(-1, 1, 16)
    expected = (ROWS @ w0.T + [0, 1, 2, 3]) @ table[nibbles].T @ table.reshape(4, 4)
    np.testing.assert_allclose(found, expected, rtol=1e-5)
    other = windfall.load(path, function="other").predict({"x": ROWS})["y"]
    np.testing.assert_allclose(other, (ROWS @ w0.T + [0, 1, 2, 3]) @ table[nibbles].T @ w0, rtol=1e-5)
    assert model.description.size == model.message.ByteSize() + (path / "weights/weight.bin").stat().st_size


def test_a_model_that_is_loaded_can_be_saved_as_a_package(tmp_path):
    model = windfall.load(write(compressed(), tmp_path))
    saved = windfall.load(model.save(tmp_path / "m.mlpackage"))
    assert saved.spec == model.spec == compressed().spec
    np.testing.assert_array_equal(saved.predict({"x": ROWS})["y"], model.predict({"x": ROWS})["y"])


def test_a_model_keeps_states(tmp_path):
    path = write(control(), tmp_path)
    model = windfall.load(path)
    assert model.state_names == ["total"]
    state = model.make_state()
    for step in (1, 2):
        model.predict({"x": np.float32([1, 2, 3]), "n": 2}, state)
        np.testing.assert_array_equal(state.read("total"), np.float32([4, 8, 12]) * step)


@pytest.mark.parametrize("source", ["coremldata.bin", "metadata.json", "coremldata.bin and a wrong metadata.json"])
def test_a_classifier_gives_its_labels(tmp_path, source):
    path = write(classifier(), tmp_path)
    if source == "metadata.json":
        write_metadata(path, inputSchema=[IMAGE], outputSchema=LABELS, specificationVersion=9)
    elif source != "coremldata.bin":
        (path / "metadata.json").write_text(json.dumps([{"inputSchema": [], "specificationVersion": 9}]))
    model = windfall.load(path)
    assert model.description.specification_version == 9
    assert model.description.predicted_feature == "label"
    assert model.description.predicted_probabilities == "scores"
    found = model.predict({"image": PICTURE})
    expected = windfall.load(classifier().spec).predict({"image": PICTURE})
    assert found == expected
    assert set(found["scores"]) == {"a", "b", "c"}
    assert found["scores"][found["label"]] == max(found["scores"].values())


def test_a_classifier_without_a_description_takes_an_array(tmp_path):
    path = write(classifier(), tmp_path)
    (path / "coremldata.bin").unlink()
    model = windfall.load(path)
    planes = np.asarray(PICTURE, np.float32).transpose(2, 0, 1)[None]
    expected = windfall.load(classifier().spec).predict({"image": PICTURE})
    found = model.predict({"image": planes})
    assert found["label"] == expected["label"]
    assert found["scores"] == pytest.approx(expected["scores"], rel=1e-5)


def test_a_program_without_a_description_tells_its_inputs_outputs_and_states(tmp_path):
    path = write(control(), tmp_path)
    (path / "coremldata.bin").unlink()
    description = windfall.load(path).description
    assert [(f.name, f.type.data_type, f.type.shape) for f in description.inputs] == [
        ("x", "FLOAT32", (3,)),
        ("n", "INT32", ()),
    ]
    assert [(f.name, f.type.shape) for f in description.outputs] == [("y", (3, 3))]
    assert [f.name for f in description.states] == ["total"]
    assert description.specification_version == 9
    model = windfall.load(path)
    state = model.make_state()
    model.predict({"x": np.float32([1, 2, 3]), "n": 2}, state)
    np.testing.assert_array_equal(state.read("total"), [4, 8, 12])


def test_functions_without_a_description_are_those_of_the_program(tmp_path):
    path = write(compressed(), tmp_path)
    found = windfall.load(path, function="other").predict({"x": ROWS})["y"]
    (path / "coremldata.bin").unlink()
    description = windfall.load(path).message.description
    assert ([f.name for f in description.functions], description.defaultFunctionName) == (["main", "other"], "main")
    np.testing.assert_array_equal(windfall.load(path, function="other").predict({"x": ROWS})["y"], found)


def test_an_opset_that_is_not_known_is_an_error_when_the_model_runs(tmp_path):
    path = write(compressed(), tmp_path)
    text = (path / "model.mil").read_text()
    (path / "model.mil").write_text(text.replace("<ios18>", "<ios99>"))
    model = windfall.load(path)
    with pytest.raises(WindfallError, match="ios99"):
        model.predict({"x": ROWS})


@no_links_on_windows
def test_the_folder_itself_may_be_a_link(tmp_path):
    path = write(compressed(), tmp_path)
    (tmp_path / "link").symlink_to(path)
    model = windfall.load(tmp_path / "link")
    assert model.predict({"x": ROWS})["y"].shape == (3, 4)


def without_weights(path):
    shutil.rmtree(path / "weights")


def with_linked_weights(path):
    (path / "weights").rename(path.parent / "weights")
    (path / "weights").symlink_to(path.parent / "weights")


def with_cut_weights(path):
    os.truncate(path / "weights/weight.bin", 100)


def with_weights_elsewhere(path):
    text = (path / "model.mil").read_text()
    (path / "model.mil").write_text(text.replace("@model_path/weights", "@model_path/../weights"))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (without_weights, "the model in m.mlmodelc has the path 'weights/weight.bin', where there is no file"),
        pytest.param(
            with_linked_weights,
            "the model in m.mlmodelc has the path 'weights/weight.bin', where 'weights' is a link, must be a file or a "
            "folder; copy what it points to into its place",
            marks=no_links_on_windows,
        ),
        (with_cut_weights, "weights/weight.bin of m.mlmodelc at 64: "),
        (
            with_weights_elsewhere,
            "the model in m.mlmodelc has the path '../weights/weight.bin', which must lie inside ",
        ),
    ],
)
def test_weight_files_that_are_missing_or_damaged(tmp_path, change, message):
    path = write(compressed(), tmp_path)
    change(path)
    model = windfall.load(path)
    with pytest.raises(LoweringError) as error:
        model.predict({"x": ROWS})
    assert str(error.value).startswith(
        f"cannot lower operation 'ints' (const) of m.mlmodelc: arguments are damaged: {message}"
    )


def test_weights_that_change_after_loading_are_noticed(tmp_path):
    path = write(compressed(), tmp_path)
    model = windfall.load(path)
    with (path / "weights/weight.bin").open("ab") as file:
        file.write(b"\0")
    with pytest.raises(LoweringError, match=r"m.mlmodelc changed on disk after it was loaded; load it again$"):
        model.predict({"x": ROWS})
