"""Packages read and written; what is wrong with one is said in one line."""

import json
import os
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.spec.test_blobfile import native
from tests.support import layer_spec

import windfall
from windfall.errors import FormatError, WindfallError
from windfall.spec import blobfolder, modelfile
from windfall.spec.blobfile import BlobWriter
from windfall.spec.modelfile import from_spec, read_model_file
from windfall.spec.package import LARGEST_MANIFEST, write_package, write_package_files
from windfall.spec.proto import MIL_pb2, Model_pb2

MODELS = Path(__file__).parents[3] / "shared" / "models"
MODEL = Path("Data/com.apple.CoreML/model.mlmodel")
WEIGHT = Path("Data/com.apple.CoreML/weights/weight.bin")
NAME = "@model_path/weights/weight.bin"
VALUES = np.arange(600, dtype=np.float32)
AGAIN = "; download or convert it again"

no_links_on_windows = pytest.mark.skipif(sys.platform == "win32", reason="Windows needs rights to make links")
published = pytest.mark.skipif(not MODELS.is_dir(), reason="the published models are not beside the project")


def program():
    spec = Model_pb2.Model(specificationVersion=6)
    constant = spec.mlProgram.functions["main"].block_specializations["CoreML5"].operations.add(type="const")
    constant.attributes["val"].blobFileValue.fileName = NAME
    constant.attributes["val"].blobFileValue.offset = 64
    return spec


def write_weights(path):
    with BlobWriter(path) as writer:
        writer.append(VALUES, MIL_pb2.FLOAT32)


@pytest.fixture
def package(tmp_path):
    write_weights(tmp_path / "weight.bin")
    weights = (tmp_path / "weight.bin").read_bytes()
    return write_package_files(tmp_path / "m.mlpackage", program(), {"weights/weight.bin": weights})


def load_error(path):
    with pytest.raises(FormatError) as error:
        read_model_file(path)
    return str(error.value)


def change_manifest(package, change):
    path = package / "Manifest.json"
    manifest = json.loads(path.read_text())
    (model,) = (entry for entry in manifest["itemInfoEntries"].values() if entry["name"] == "model.mlmodel")
    path.write_text(json.dumps(change(manifest, model) or manifest))


def test_a_package_is_read(package):
    file = read_model_file(package)
    assert file.spec == file.full_spec() == program()
    assert file.name == "m.mlpackage"
    assert file.path == package
    assert file.size == sum((package / part).stat().st_size for part in (MODEL, WEIGHT))
    assert file.is_package
    assert file.folder == (package / WEIGHT).parent.resolve()
    blob = file.blob(NAME, 64)
    assert (blob.data_type, blob.count, blob.size) == (MIL_pb2.FLOAT32, 600, 2400)
    assert blob.place == ((package / WEIGHT).resolve(), 128, 2400)
    np.testing.assert_array_equal(blob.read(), VALUES)
    np.testing.assert_array_equal(file.blob("@model_path/./weights//weight.bin", 64).read(), VALUES)


@no_links_on_windows
def test_the_package_itself_may_be_reached_by_a_link(package, tmp_path):
    (tmp_path / "link").symlink_to(package)
    np.testing.assert_array_equal(read_model_file(tmp_path / "link").blob(NAME, 64).read(), VALUES)


def test_a_neural_network_in_a_package(tmp_path):
    spec = layer_spec("loadConstant", rank5=True, shape=[1000, 1, 1], data={"floatValue": [2.0] * 1000})
    path = write_package(from_spec(spec), tmp_path / "net.mlpackage")
    assert list((path / "Data").rglob("*")) == [(path / MODEL).parent, path / MODEL]
    model = windfall.load(path)
    assert model.spec == spec
    np.testing.assert_array_equal(model.predict({})["y0"].ravel(), np.full(1000, 2))
    file = read_model_file(path)
    place = file.place(file.spec.neuralNetwork.layers[0].loadConstant.data, 1)
    assert place.path == (path / MODEL).resolve()
    assert place.length == 4000
    assert file.folder == place.path.parent


def version_text(version):
    rule = "this windfall knows 1.0.0; upgrade with: pip install -U windfall"
    return f"Manifest.json of m.mlpackage has the fileFormatVersion {version!r}, {rule}"


MANIFESTS = {
    "no version": (
        lambda manifest, model: manifest.pop("fileFormatVersion") and manifest,
        version_text("None"),
    ),
    "newer": (
        lambda manifest, model: manifest.update(fileFormatVersion="2.0.0"),
        version_text("2.0.0"),
    ),
    "no root": (
        lambda manifest, model: manifest.pop("rootModelIdentifier") and manifest,
        "Manifest.json of m.mlpackage has no rootModelIdentifier, which says what the model is" + AGAIN,
    ),
    "unknown root": (
        lambda manifest, model: manifest.update(rootModelIdentifier="x"),
        "Manifest.json of m.mlpackage has the rootModelIdentifier 'x', must be in itemInfoEntries" + AGAIN,
    ),
    "a list": (
        lambda manifest, model: [1],
        "Manifest.json of m.mlpackage holds list, must hold names and values" + AGAIN,
    ),
    "no items": (
        lambda manifest, model: manifest.pop("itemInfoEntries") and manifest,
        "itemInfoEntries in Manifest.json of m.mlpackage holds NoneType, must hold names and values" + AGAIN,
    ),
    "an item that is a number": (
        lambda manifest, model: manifest["itemInfoEntries"].update(x=1),
        "itemInfoEntries in Manifest.json of m.mlpackage holds int, must hold names and values" + AGAIN,
    ),
    "no path": (
        lambda manifest, model: model.pop("path") and manifest,
        "itemInfoEntries in Manifest.json of m.mlpackage has an item without a path" + AGAIN,
    ),
    "a path that is a number": (
        lambda manifest, model: model.update(path=7),
        "itemInfoEntries in Manifest.json of m.mlpackage has an item without a path" + AGAIN,
    ),
    "a missing file": (
        lambda manifest, model: model.update(path="com.apple.CoreML/other"),
        "Manifest.json of m.mlpackage has the path 'com.apple.CoreML/other', where there is no file" + AGAIN,
    ),
    "a file as a folder": (
        lambda manifest, model: model.update(path="com.apple.CoreML/model.mlmodel/x"),
        "Manifest.json of m.mlpackage has the path 'com.apple.CoreML/model.mlmodel/x', where there is no file" + AGAIN,
    ),
    "a folder as the model": (
        lambda manifest, model: model.update(path="com.apple.CoreML"),
        "Manifest.json of m.mlpackage has the path 'com.apple.CoreML', must be a model file" + AGAIN,
    ),
    "a lone surrogate": (
        lambda manifest, model: model.update(path="\ud800"),
        "Manifest.json of m.mlpackage has the path '\\ud800', where there is no file" + AGAIN,
    ),
    "a long path": (
        lambda manifest, model: model.update(path="x" * 5000),
        f"Manifest.json of m.mlpackage has the path '{'x' * 200}...', where there is no file" + AGAIN,
    ),
}


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has other names that no file may have")
@pytest.mark.parametrize("case", sorted(MANIFESTS))
def test_manifests_that_are_damaged(package, case):
    change, text = MANIFESTS[case]
    change_manifest(package, change)
    assert load_error(package) == text


@pytest.mark.parametrize(
    "path",
    [
        "",
        "/",
        "/etc/passwd",
        "../secret",
        "a/../../secret",
        "..",
        "a\0b",
        "..\\..\\secret",
        "C:secret",
        "com.apple.CoreML/../Manifest",
    ],
)
def test_paths_that_lead_out_of_the_package(package, path):
    change_manifest(package, lambda manifest, model: model.update(path=path))
    assert load_error(package) == (
        f"Manifest.json of m.mlpackage has the path {path!r}, which must lie inside its folder" + AGAIN
    )


@pytest.mark.parametrize(
    "content", [b"", b"{", b"\xff\xfe\x00", b'{"a": }', b"[" * 100_000, b'{"a":' * 50_000, b"9" * 10_000, b"\0"]
)
def test_manifests_that_are_not_json(package, content):
    (package / "Manifest.json").write_bytes(content)
    assert load_error(package) == "Manifest.json of m.mlpackage is not JSON, or is cut off" + AGAIN


def test_a_manifest_that_is_too_large(package):
    (package / "Manifest.json").write_bytes(b" " * (LARGEST_MANIFEST + 1))
    assert load_error(package) == "Manifest.json of m.mlpackage has 1048577 bytes, may have 1048576" + AGAIN


def test_folders_without_what_makes_them_a_package(package, tmp_path):
    (package / "Manifest.json").unlink()
    assert load_error(package) == "m.mlpackage has no Manifest.json, which every package must have" + AGAIN
    assert load_error(tmp_path) == (
        f"{tmp_path.name} is a directory, must be an .mlmodel file, an .mlpackage or an .mlmodelc"
    )


@pytest.mark.parametrize(
    ("content", "text"),
    [
        (b"", "is empty, must be a Core ML model" + AGAIN),
        (b"text", "cannot be read as a Core ML model: it is text, not a model" + AGAIN),
        (program().SerializeToString()[:-3], "cannot be read as a Core ML model: it is not one, or is cut off" + AGAIN),
    ],
)
def test_a_model_in_a_package_that_is_none(package, content, text):
    (package / MODEL).write_bytes(content)
    assert load_error(package) == f"model.mlmodel of m.mlpackage {text}"


LINKS = {
    "Manifest.json": "m.mlpackage has the path 'Manifest.json', where 'Manifest.json'",
    "Data": "m.mlpackage has the path 'Data', where 'Data'",
    str(MODEL): "Manifest.json of m.mlpackage has the path 'com.apple.CoreML/model.mlmodel', where 'model.mlmodel'",
    str(WEIGHT.parent): "Manifest.json of m.mlpackage has the path 'com.apple.CoreML/weights', where 'weights'",
}


@no_links_on_windows
@pytest.mark.parametrize("part", LINKS)
def test_links_in_a_package(package, tmp_path, part):
    (package / part).rename(tmp_path / "elsewhere")
    (package / part).symlink_to(tmp_path / "elsewhere")
    assert load_error(package) == (
        LINKS[part] + " is a link, must be a file or a folder; copy what it points to into its place"
    )


@no_links_on_windows
def test_a_weight_file_that_is_a_link(package, tmp_path):
    (package / WEIGHT).unlink()
    (package / WEIGHT).symlink_to(tmp_path / "weight.bin")
    file = read_model_file(package)
    with pytest.raises(FormatError) as error:
        file.blob(NAME, 64)
    assert str(error.value) == (
        "the model in m.mlpackage has the path 'weights/weight.bin', where 'weight.bin' is a link, "
        "must be a file or a folder; copy what it points to into its place"
    )


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no named pipes in folders")
@pytest.mark.parametrize("part", ["Manifest.json", MODEL, WEIGHT])
def test_pipes_in_a_package_are_not_waited_for(package, part):
    (package / part).unlink()
    os.mkfifo(package / part)
    with pytest.raises(FormatError) as error:
        read_model_file(package).blob(NAME, 64)
    name = "weights/weight.bin" if part == WEIGHT else Path(part).name
    assert str(error.value) == (f"{name} of m.mlpackage is a pipe or a device, must be a file; copy it to a file first")


@pytest.mark.parametrize(
    ("name", "rule"),
    [
        ("weights/weight.bin", "the path 'weights/weight.bin', must start with @model_path/"),
        ("/etc/passwd", "the path '/etc/passwd', must start with @model_path/"),
        ("@model_path/../../Manifest.json", "the path '../../Manifest.json', which must lie inside its folder"),
        ("@model_path//etc/passwd", "the path '/etc/passwd', which must lie inside its folder"),
        ("@model_path/", "the path '', which must lie inside its folder"),
        ("@model_path/a\0b", "the path 'a\\x00b', which must lie inside its folder"),
        ("@model_path/weights/other.bin", "the path 'weights/other.bin', where there is no file"),
    ],
)
def test_names_that_are_not_those_of_weight_files(package, name, rule):
    with pytest.raises(FormatError) as error:
        read_model_file(package).blob(name, 64)
    assert str(error.value) == f"the model in m.mlpackage has {rule}{AGAIN}"


def test_a_folder_is_no_weight_file(package):
    with pytest.raises(FormatError, match=r"weights of m\.mlpackage is a pipe or a device, must be a file"):
        read_model_file(package).blob("@model_path/weights", 64)


def test_a_weight_file_that_is_cut_off(package):
    data = (package / WEIGHT).read_bytes()
    (package / WEIGHT).write_bytes(data[:-4])
    with pytest.raises(FormatError) as error:
        read_model_file(package).blob(NAME, 64)
    assert str(error.value) == (
        "weights/weight.bin of m.mlpackage at 64: its data of 2400 bytes at 128 must lie inside the file's 2524 bytes"
        + AGAIN
    )


def test_a_program_without_its_package(package, tmp_path):
    for file in (read_model_file(package / MODEL), from_spec(program())):
        with pytest.raises(FormatError) as error:
            file.blob(NAME, 64)
        assert str(error.value) == (
            f"{file.name} came without its weight files; load the .mlpackage that it belongs to"
        )
        assert not file.is_package


CHANGED = "m.mlpackage changed on disk after it was loaded; load it again"


def touch(path):
    os.utime(path, ns=(0, path.stat().st_mtime_ns + 10**9))


def test_weights_that_change_before_they_are_opened(package):
    file = read_model_file(package)
    assert file.stamp() is not None
    touch(package / WEIGHT)
    assert file.stamp() is None
    with pytest.raises(FormatError) as error:
        file.blob(NAME, 64)
    assert str(error.value) == CHANGED


@pytest.mark.parametrize("change", [touch, lambda path: path.write_bytes(b""), lambda path: os.truncate(path, 1000)])
def test_weights_that_change_after_they_were_opened(package, change):
    file = read_model_file(package)
    blob = file.blob(NAME, 64)
    change(package / WEIGHT)
    assert file.stamp() is None
    for read in (blob.read, file.blob(NAME, 64).read):
        with pytest.raises(FormatError) as error:
            read()
        assert str(error.value) == CHANGED
    assert blob.place is None


@pytest.mark.skipif(sys.platform == "win32", reason="Windows does not move a folder with open files")
def test_weights_that_are_open_outlive_their_package(package, tmp_path):
    file = read_model_file(package)
    blob = file.blob(NAME, 64)
    shutil.rmtree(package)
    np.testing.assert_array_equal(blob.read(), VALUES)
    assert blob.place is None
    assert file.stamp() is None
    assert file.full_spec() == program()


def test_other_weights_make_another_stamp(package):
    first = read_model_file(package).stamp()
    assert read_model_file(package).stamp() == first
    touch(package / WEIGHT)
    second = read_model_file(package).stamp()
    (package / WEIGHT.parent / "more.bin").write_bytes(b"")
    assert len({first, second, read_model_file(package).stamp()}) == 3


def test_a_package_of_very_many_files(package, monkeypatch):
    monkeypatch.setattr(blobfolder, "MOST_FILES", 1)
    assert load_error(package) == "m.mlpackage has more than 1 files, the most that a model may have" + AGAIN


def test_a_compiled_model_is_like_a_package(tmp_path, monkeypatch):
    folder = tmp_path / "m.mlmodelc"
    (folder / "weights").mkdir(parents=True)
    write_weights(folder / "weights" / "weight.bin")
    module = type(sys)("windfall.spec.compiled")
    module.read_compiled = lambda folder: (program(), folder / "weights")
    monkeypatch.setitem(sys.modules, module.__name__, module)
    monkeypatch.setattr("windfall.spec.compiled", module, raising=False)
    file = read_model_file(folder)
    np.testing.assert_array_equal(file.blob(NAME, 64).read(), VALUES)
    assert file.folder == folder.resolve() / "weights"
    assert file.stamp() is not None
    assert file.full_spec() == program()
    written = read_model_file(write_package(file, tmp_path / "m.mlpackage"))
    np.testing.assert_array_equal(written.blob(NAME, 64).read(), VALUES)
    touch(folder / "weights" / "weight.bin")
    assert file.stamp() is None


def contents(package):
    return {path.relative_to(package): path.read_bytes() for path in package.rglob("*") if path.is_file()}


def test_a_package_is_written_as_it_was_read(package, tmp_path):
    (package / WEIGHT.parent / "deep").mkdir()
    (package / WEIGHT.parent / "deep" / "more.bin").write_bytes(b"more")
    copy = write_package(read_model_file(package), tmp_path / "copy.mlpackage")
    written, before = contents(copy), contents(package)
    assert written.keys() == before.keys()
    assert all(written[path] == before[path] for path in before if path.name != "Manifest.json")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["copy.mlpackage", "m.mlpackage", "weight.bin"]


def test_another_message_may_be_written(package, tmp_path):
    spec = program()
    spec.description.metadata.author = "somebody"
    copy = write_package(read_model_file(package), tmp_path / "copy.mlpackage", spec)
    assert read_model_file(copy).spec == spec


def test_a_written_manifest_is_as_apple_writes_it(package):
    manifest = json.loads((package / "Manifest.json").read_text())
    assert manifest["fileFormatVersion"] == "1.0.0"
    items = manifest["itemInfoEntries"]
    assert items[manifest["rootModelIdentifier"]] == {
        "author": "com.apple.CoreML",
        "description": "CoreML Model Specification",
        "name": "model.mlmodel",
        "path": "com.apple.CoreML/model.mlmodel",
    }
    assert [item for key, item in items.items() if key != manifest["rootModelIdentifier"]] == [
        {
            "author": "com.apple.CoreML",
            "description": "CoreML Model Weights",
            "name": "weights",
            "path": "com.apple.CoreML/weights",
        }
    ]


def test_coremltools_opens_what_is_written(package, tmp_path):
    library = native("libmodelpackage")
    network = write_package(from_spec(layer_spec("activation", np.zeros(3), ReLU={})), tmp_path / "n.mlpackage")
    for path in (package, network):
        assert library.ModelPackage.isValid(str(path))
        opened = library.ModelPackage(str(path))
        assert Path(opened.getRootModel().path()).read_bytes() == (path / MODEL).read_bytes()
    weights = library.ModelPackage(str(package)).findItemByNameAuthor("weights", "com.apple.CoreML")
    assert Path(weights.path()) == (package / WEIGHT).parent


@pytest.mark.skipif(sys.platform == "win32", reason="Windows does not replace a folder with open files")
def test_a_package_is_replaced_whole(package):
    (package / "notes.txt").write_text("old")
    spec = layer_spec("activation", np.zeros(3), ReLU={})
    file = read_model_file(package)
    assert write_package(file, package) == package
    assert not (package / "notes.txt").exists()
    write_package(from_spec(spec), package)
    assert read_model_file(package).spec == spec
    assert sorted(path.name for path in package.parent.iterdir()) == ["m.mlpackage", "weight.bin"]


def write_error(path, file=None):
    with pytest.raises(WindfallError) as error:
        write_package(file or from_spec(layer_spec("activation", np.zeros(3), ReLU={})), path)
    return str(error.value)


def test_what_is_no_package_is_not_replaced(tmp_path):
    folder, file = tmp_path / "folder.mlpackage", tmp_path / "file.mlpackage"
    folder.mkdir()
    for path in (folder / "photo.jpg", file):
        path.write_bytes(b"dear to somebody")
    for path in (folder, file):
        assert write_error(path) == (
            f"cannot write {str(path)!r}: something else has that name; remove it or choose another name"
        )
    assert (folder / "photo.jpg").read_bytes() == file.read_bytes() == b"dear to somebody"


@no_links_on_windows
def test_a_link_is_not_replaced_and_not_followed(package, tmp_path):
    before = contents(package)
    for target in (package, tmp_path / "missing"):
        link = tmp_path / "link.mlpackage"
        link.symlink_to(target)
        assert write_error(link) == (
            f"cannot write {str(link)!r}: something else has that name; remove it or choose another name"
        )
        link.unlink()
    assert contents(package) == before


def test_an_empty_folder_is_replaced(tmp_path):
    (tmp_path / "m.mlpackage").mkdir()
    assert write_package(from_spec(program()), tmp_path / "m.mlpackage").is_dir()
    assert read_model_file(tmp_path / "m.mlpackage").spec == program()


@pytest.mark.skipif(sys.platform == "win32", reason="Windows gives other reasons")
def test_places_that_cannot_be_written(tmp_path):
    missing, nul = tmp_path / "missing" / "m.mlpackage", tmp_path / "a\0b.mlpackage"
    assert (
        write_error(missing)
        == f"cannot write {str(missing)!r}: No such file or directory; check the folder and the name"
    )
    assert write_error(nul) == f"cannot write {str(nul)!r}: embedded null byte; check the folder and the name"
    model = tmp_path / "m.mlmodel"
    assert write_error(model) == (
        f"cannot write {str(model)!r}: the name of a package must end in .mlpackage; rename it"
    )
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("failing", [1, 2])
def test_a_package_that_cannot_be_replaced_stays(package, monkeypatch, failing):
    before, rename, calls = contents(package), Path.rename, []

    def fail(path, target):
        calls.append(path)
        if len(calls) == failing:
            raise OSError(28, "No space left on device")
        return rename(path, target)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "rename", fail)
        text = write_error(package)
    assert text == f"cannot write {str(package)!r}: No space left on device; check the folder and the name"
    assert contents(package) == before
    assert sorted(path.name for path in package.parent.iterdir()) == ["m.mlpackage", "weight.bin"]


def test_weights_that_changed_are_not_copied(package, tmp_path):
    file = read_model_file(package)
    touch(package / WEIGHT)
    assert write_error(tmp_path / "copy.mlpackage", file) == CHANGED
    assert not (tmp_path / "copy.mlpackage").exists()


@pytest.mark.parametrize("name", ["weight.bin", "../weight.bin", "/weights/w.bin", "weights/../../w.bin"])
def test_files_that_are_no_weight_files_are_not_written(tmp_path, name):
    with pytest.raises(FormatError) as error:
        write_package_files(tmp_path / "m.mlpackage", program(), {name: b""})
    assert str(error.value) == (
        f"the package to write has the path {name!r}, which must lie inside the folder weights{AGAIN}"
    )


@given(st.sampled_from(["Manifest.json", str(MODEL), str(WEIGHT)]), st.integers(0, 700), st.binary(max_size=5))
@settings(deadline=None, max_examples=60)
def test_damage_anywhere_gives_a_model_or_an_error(damaged, part, at, damage):
    original, package = damaged
    shutil.rmtree(package, ignore_errors=True)
    shutil.copytree(original, package)
    data = (package / part).read_bytes()
    (package / part).write_bytes(data[:at] + damage + data[at + 3 :])
    try:
        read_model_file(package).blob(NAME, 64).read()
    except WindfallError as error:
        assert "\n" not in str(error)  # noqa: PT017  # most damage is an error, but not all


@pytest.fixture(scope="module")
def damaged(tmp_path_factory):
    folder = tmp_path_factory.mktemp("damaged")
    write_weights(folder / "weight.bin")
    blobs = {"weights/weight.bin": (folder / "weight.bin").read_bytes()}
    return write_package_files(folder / "m.mlpackage", program(), blobs), folder / "damaged.mlpackage"


@published
@pytest.mark.parametrize("name", ["basic-pitch-nmp.mlpackage", "dtln-aec-128-part1-fp32.mlpackage"])
def test_weights_of_a_published_package_are_those_that_coremltools_reads(name):
    file = read_model_file(MODELS / name)
    reader = native("libmilstoragepython")._BlobStorageReader(str(MODELS / name / WEIGHT))
    places = {
        (value.fileName, value.offset)
        for function in file.spec.mlProgram.functions.values()
        for block in function.block_specializations.values()
        for operation in block.operations
        if (value := operation.attributes["val"].blobFileValue).fileName
    }
    assert len(places) > 5
    for file_name, offset in places:
        blob = file.blob(file_name, offset)
        kind, dtype = {MIL_pb2.FLOAT16: ("fp16", np.uint16), MIL_pb2.FLOAT32: ("float", np.float32)}[blob.data_type]
        np.testing.assert_array_equal(blob.read().view(dtype), getattr(reader, f"read_{kind}_data")(offset))


def test_files_that_may_not_be_read(package, monkeypatch):
    def refuse(path):
        raise PermissionError(13, "Permission denied")

    with monkeypatch.context() as patch:
        patch.setattr(Path, "lstat", refuse)
        assert load_error(package) == (
            "m.mlpackage has the path 'Manifest.json', which may not be read; change its rights"
        )
    monkeypatch.setattr(Path, "iterdir", refuse)
    assert load_error(package) == ("cannot list the files of m.mlpackage: Permission denied; check who may read them")


def test_a_model_that_is_too_large_names_the_way_out(package, monkeypatch):
    monkeypatch.setattr(modelfile, "LARGEST_FILE", 10)
    size = (package / MODEL).stat().st_size
    assert load_error(package) == (
        f"model.mlmodel of m.mlpackage has {size} bytes, an .mlmodel may have 10; "
        "convert it to an .mlpackage with weight files"
    )
