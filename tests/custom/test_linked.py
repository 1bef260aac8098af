"""Models that link to other model files."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import windfall
from tests.classical import array, described, image, pipeline_spec
from tests.custom.support import linear, means, photo_pipeline, scaled, vision
from tests.mutations.programs import compressed
from tests.spec.test_compiled import write
from windfall.custom.opening import MOST_LINKS
from windfall.description import Dependency
from windfall.errors import FormatError, UnsupportedError
from windfall.spec.pipelines import DEEPEST
from windfall.spec.proto import Model_pb2


def link(name: str, like: Any, search: str = "") -> Any:
    """A linkedModel with another model's description."""
    spec = Model_pb2.Model(specificationVersion=5)
    spec.description.CopyFrom(like.description)
    spec.linkedModel.linkedModelFile.linkedModelFileName.defaultValue = name
    spec.linkedModel.linkedModelFile.linkedModelSearchPath.defaultValue = search
    return spec


def save(spec: Any, path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    return windfall.load(spec).save(path)


DOUBLE = scaled("x", 2.0)
"""Twice the input."""


def value_of(spec: Any, folder: Any, **inputs: Any) -> Any:
    (value,) = windfall.load(spec, linked_models=folder).predict(inputs or {"x": [1, 2, 3]}).values()
    return value


def test_without_a_folder_the_model_says_which_file_it_needs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    save(DOUBLE, tmp_path / "double.mlmodel")
    model = windfall.load(save(link("double.mlmodel", DOUBLE), tmp_path / "link.mlmodel"))
    needs = (
        "type linkedModel: needs the model file 'double.mlmodel'; allow its folder: load(..., linked_models=FOLDER) or "
        "--linked-models FOLDER"
    )
    assert model.description.unsupported == (needs,)
    assert model.description.dependencies == (Dependency("linked model", "double.mlmodel"),)
    with pytest.raises(UnsupportedError) as error:
        model.predict({"x": [1, 2, 3]})
    assert str(error.value) == f"link.mlmodel cannot be run: {needs}; see all with: windfall inspect MODEL"


@pytest.mark.parametrize("folders", [str, lambda path: path, lambda path: [path / "none", path], lambda path: (path,)])
def test_a_linked_model_is_found(folders: Callable[[Path], Any], tmp_path: Path) -> None:
    (tmp_path / "none").mkdir()
    save(DOUBLE, tmp_path / "double.mlmodel")
    model = windfall.load(link("double.mlmodel", DOUBLE), linked_models=folders(tmp_path))
    np.testing.assert_array_equal(model.predict({"x": [1, 2, 3]})["x"], [2, 4, 6])
    assert model.description.runnable
    assert model.description.dependencies == (Dependency("linked model", "double.mlmodel"),)
    assert model.description.type == "linkedModel"


@pytest.mark.parametrize("suffix", [".mlmodel", ".mlpackage"])
def test_an_app_s_compiled_model_may_be_any_file_of_its_name(suffix: str, tmp_path: Path) -> None:
    save(DOUBLE, tmp_path / f"double{suffix}")
    np.testing.assert_array_equal(value_of(link("double.mlmodelc", DOUBLE), tmp_path), [2, 4, 6])


def test_a_compiled_model_with_weight_files(tmp_path: Path) -> None:
    path = write(compressed(), tmp_path)
    x = np.linspace(-1, 1, 12, dtype=np.float32).reshape(3, 4)
    linked = windfall.load(link(path.name, windfall.load(path).message), linked_models=tmp_path)
    np.testing.assert_array_equal(linked.predict({"x": x})["y"], windfall.load(path).predict({"x": x})["y"])


def test_other_names_are_taken_as_they_are(tmp_path: Path) -> None:
    save(DOUBLE, tmp_path / "double.mlpackage")
    with pytest.raises(FormatError) as error:
        value_of(link("double.mlmodel", DOUBLE), tmp_path)
    assert str(error.value) == (
        f"the model needs the model file 'double.mlmodel', which is not in {tmp_path}; put it there, or give its "
        "folder: load(..., linked_models=FOLDER)"
    )


@pytest.mark.parametrize("search", ["sub", "./sub/", "other:sub", "$BUNDLE_MAIN:sub", "sub/../", "."])
def test_search_paths_count_inside_the_folder(search: str, tmp_path: Path) -> None:
    save(scaled("x", 5.0), tmp_path / "sub" / "m.mlmodel")
    spec = link("m.mlmodel", DOUBLE, search)
    if search in ("sub/../", "."):
        with pytest.raises(FormatError):
            value_of(spec, tmp_path)
    else:
        np.testing.assert_array_equal(value_of(spec, tmp_path), [5, 10, 15])


@pytest.mark.parametrize("search", ["", ".", "$BUNDLE_MAIN", "$BUNDLE_IDENTIFIER(com.example)", "/", "/usr/share/../x"])
def test_places_on_a_device_stand_for_the_folder(search: str, tmp_path: Path) -> None:
    save(DOUBLE, tmp_path / "m.mlmodel")
    np.testing.assert_array_equal(value_of(link("m.mlmodel", DOUBLE, search), tmp_path), [2, 4, 6])


@pytest.mark.parametrize(
    ("name", "search", "text"),
    [
        ("../m.mlmodel", "", "the model has the path '../m.mlmodel', which must lie inside its folder"),
        ("..", "", "the model has the path '..', which must lie inside its folder"),
        ("", "", "the model has the path '', which must lie inside its folder"),
        ("sub/m.mlmodel", "", "the model links to 'sub/m.mlmodel', must be the name of a file, without a folder"),
        ("m.mlmodel/", "", "the model links to 'm.mlmodel/', must be the name of a file, without a folder"),
        ("{}/m.mlmodel", "", "which must lie inside its folder"),
        ("..\\m.mlmodel", "", "which must lie inside its folder"),
        ("m.mlmodel", "..", "the model has the path '..', which must lie inside its folder"),
        ("m.mlmodel", "sub/../..", "the model has the path 'sub/../..', which must lie inside its folder"),
        ("m.mlmodel", "a:" * 200, "the model has 201 search paths for its linked model, may have 100"),
    ],
)
def test_no_path_leads_out_of_the_folder(name: str, search: str, text: str, tmp_path: Path) -> None:
    save(DOUBLE, tmp_path / "m.mlmodel")
    save(DOUBLE, tmp_path / "inside" / "sub" / "m.mlmodel")
    with pytest.raises(FormatError) as error:
        value_of(link(name.format(tmp_path), DOUBLE, search), tmp_path / "inside")
    assert text in str(error.value)


@pytest.mark.skipif(os.name == "nt", reason="links need rights there")
def test_links_out_of_the_folder_are_refused(tmp_path: Path) -> None:
    save(DOUBLE, tmp_path / "m.mlmodel")
    inside = tmp_path / "inside"
    inside.mkdir()
    (inside / "m.mlmodel").symlink_to(tmp_path / "m.mlmodel")
    (inside / "sub").symlink_to(tmp_path)
    for search, what in (("", "m.mlmodel"), ("sub", "sub")):
        (inside / "m.mlmodel").unlink() if search else None
        with pytest.raises(FormatError, match=f"where '{what}' is a link, must be a file or a folder"):
            value_of(link("m.mlmodel", DOUBLE, search), inside)
    np.testing.assert_array_equal(value_of(link("m.mlmodel", DOUBLE), inside / "sub"), [2, 4, 6])  # the user's own


@pytest.mark.parametrize(
    ("folders", "error", "text"),
    [
        (3, UnsupportedError, "linked_models is 3, must be the path of a folder, or a list of them"),
        ([3], UnsupportedError, "linked_models has 3, must be the path of a folder, or a list of them"),
        ("nowhere", FormatError, "linked_models has 'nowhere', which is no folder; check the path"),
        ("a\0b", FormatError, "linked_models has 'a\\x00b', which is no folder; check the path"),
    ],
)
def test_folders_that_are_none(folders: Any, error: type[Exception], text: str) -> None:
    with pytest.raises(error) as raised:
        windfall.load(DOUBLE, linked_models=folders)
    assert str(raised.value) == text


def test_an_empty_list_of_folders_has_no_files() -> None:
    with pytest.raises(FormatError, match="which is not in no folder at all; put it there"):
        windfall.load(link("m.mlmodel", DOUBLE), linked_models=[])


def test_a_member_of_a_pipeline_is_linked_with_weights_of_its_own(tmp_path: Path) -> None:
    """Two networks whose weights lie in two files, both large enough to stay there until the engine reads them."""
    generator = np.random.default_rng(0)
    first, second = (generator.normal(size=(64, 64)).astype(np.float32) for _ in range(2))
    save(network("h", "y", second), tmp_path / "other" / "second.mlmodel")
    linked = link("second.mlmodel", network("h", "y", second))
    spec = pipeline_spec([network("x", "h", first), linked], {"x": FLOATS}, {"y": FLOATS})
    model = windfall.load(save(spec, tmp_path / "pipe.mlmodel"), linked_models=tmp_path / "other")
    x = generator.normal(size=64)
    np.testing.assert_allclose(model.predict({"x": x})["y"], second @ (first @ x), rtol=1e-4)
    assert model.description.runnable
    assert len(model.compiled.onnx.graph.output) == 1


FLOATS = array(64, dtype="FLOAT32")


def network(given: str, gives: str, weights: Any) -> Any:
    spec = described({given: FLOATS}, {gives: FLOATS})
    spec.specificationVersion = 4
    layer = spec.neuralNetwork.layers.add(name="l", input=[given], output=[gives])
    layer.innerProduct.inputChannels, layer.innerProduct.outputChannels = weights.shape[::-1]
    layer.innerProduct.weights.floatValue.extend(weights.ravel())
    return spec


def test_links_of_links_and_of_nested_members(tmp_path: Path) -> None:
    save(DOUBLE, tmp_path / "c.mlmodel")
    save(pipeline_spec([link("c.mlmodel", DOUBLE)] * 2, {"x": array(3)}, {"x": array(3)}), tmp_path / "b.mlmodel")
    save(link("b.mlmodel", DOUBLE), tmp_path / "a.mlmodel")
    nested = pipeline_spec([link("a.mlmodel", DOUBLE)], {"x": array(3)}, {"x": array(3)})
    spec = pipeline_spec([nested, scaled("x", 10.0)], {"x": array(3)}, {"x": array(3)})
    np.testing.assert_array_equal(value_of(spec, tmp_path), [40, 80, 120])


def test_a_function_of_the_user_s_stands_for_a_part_of_a_linked_model(tmp_path: Path) -> None:
    save(photo_pipeline(), tmp_path / "photo.mlmodel")
    spec = pipeline_spec([link("photo.mlmodelc", photo_pipeline())], {"image": image(8, 6)}, {"label": "string"})
    model = windfall.load(spec, linked_models=tmp_path, feature_extractor={"model0/model0": means})
    red = np.full((6, 8, 3), [255, 0, 0], np.uint8)
    assert model.predict({"image": red}) == {"label": "b"}
    assert model.description.dependencies == (
        Dependency("linked model", "photo.mlmodelc", "model0"),
        Dependency("built-in model", "visionFeaturePrint", "model0/model0"),
    )


def test_circles_and_crowds_end(tmp_path: Path) -> None:
    save(link("a.mlmodel", DOUBLE), tmp_path / "a.mlmodel")
    with pytest.raises(FormatError) as error:
        windfall.load(tmp_path / "a.mlmodel", linked_models=tmp_path)
    assert str(error.value).startswith(f"a.mlmodel: models lie in, or are linked from, more than {DEEPEST} others; ")
    many = pipeline_spec([link("b.mlmodel", DOUBLE)] * 2, {"x": array(3)}, {"x": array(3)})
    save(many, tmp_path / "b.mlmodel")
    with pytest.raises(FormatError, match=f"more than ({DEEPEST}|{MOST_LINKS}) others; "):
        windfall.load(many, linked_models=tmp_path)


@pytest.mark.parametrize(
    ("declared", "text"),
    [
        (linear([1.0, 1.0, 1.0], "z", "x"), ("m.mlmodel has the input 'x', which the model that links to it does not "
         "have (the model); ")),
        (linear([1.0, 1.0, 1.0], "x", "y"), ("m.mlmodel has the output 'x', which the model that links to it does not "
         "have (the model); ")),
        (linear([1.0, 1.0, 1.0], "x", "x"), ("the model has the output 'x', which the linked model declares in another "
         "type or size (m.mlmodel); ")),
        (scaled("x", 1.0, size=4), ("the model has the input 'x', which the linked model declares in another type or "
         "size (m.mlmodel); ")),
        (described({"x": array(3), "more": "string"}, {"x": array(3)}), ("the model has the input 'more', which the "
         "linked model does not have (m.mlmodel); ")),
    ],
)  # fmt: skip
def test_a_linked_model_must_fit(declared: Any, text: str, tmp_path: Path) -> None:
    save(DOUBLE, tmp_path / "m.mlmodel")
    with pytest.raises(FormatError) as error:
        windfall.load(link("m.mlmodel", declared), linked_models=tmp_path)
    assert str(error.value) == f"{text}give the file that was made for it"


@pytest.mark.parametrize(
    ("ours", "theirs", "fits"),
    [
        (image(8, 6), image(8, 6), True),
        (image(8, 6), image(8, 7), False),
        ("string dictionary", "string dictionary", True),
        ("string dictionary", "int64 dictionary", False),
        ("int64 sequence", "string sequence", False),
        ("string", "string", True),
        (array(3), array(), True),
    ],
)
def test_types_that_fit(ours: Any, theirs: Any, fits: bool, tmp_path: Path) -> None:
    other = described({"x": theirs}, {"x": theirs})
    other.identity.SetInParent()
    save(other, tmp_path / "m.mlmodel")
    spec = link("m.mlmodel", described({"x": ours}, {"x": ours}))
    if fits:
        assert windfall.load(spec, linked_models=tmp_path).description.runnable
    else:
        with pytest.raises(FormatError, match="in another type or size"):
            windfall.load(spec, linked_models=tmp_path)


def test_a_damaged_file_is_refused_with_its_name(tmp_path: Path) -> None:
    (tmp_path / "m.mlmodel").write_text("no model")
    with pytest.raises(FormatError, match=r"^m.mlmodel cannot be read as a Core ML model"):
        windfall.load(link("m.mlmodel", DOUBLE), linked_models=tmp_path)


def test_a_model_without_links_may_be_given_folders(tmp_path: Path) -> None:
    np.testing.assert_array_equal(value_of(DOUBLE, tmp_path), [2, 4, 6])


def test_a_linked_feature_print(tmp_path: Path) -> None:
    save(vision(), tmp_path / "print.mlmodel")
    model = windfall.load(link("print.mlmodel", vision()), linked_models=tmp_path, feature_extractor=means)
    assert model.predict({"image": np.full((6, 8, 3), 255, np.uint8)})["print"].tolist() == [1, 1, 1]


def test_a_linked_model_replaced_on_disk_is_not_taken_from_the_cache(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WINDFALL_CACHE", str(tmp_path / "cache"))
    spec = pipeline_spec([link("m.mlmodel", DOUBLE), scaled("x", 1.0)], {"x": array(3)}, {"x": array(3)})
    path = save(spec, tmp_path / "pipe.mlmodel")
    for factor in (2.0, 3.0):
        save(scaled("x", factor), tmp_path / "links" / "m.mlmodel")
        np.testing.assert_array_equal(value_of(path, tmp_path / "links"), np.array([1, 2, 3]) * factor)
