"""Compiled models read; what is wrong with one, or only Core ML can read, is said in one line."""

import json
import os
import shutil
import struct
import sys
from pathlib import Path

import numpy as np
import pytest
from tests.mutations.programs import Base, classifier
from tests.mutations.texts import compiled
from tests.programs import Input, Output, operator_spec

from windfall.errors import FormatError, UnsupportedError, WindfallError
from windfall.spec import compiled as reader
from windfall.spec.compiled import read_compiled, read_compiled_description
from windfall.spec.miltext import write_program
from windfall.spec.modelfile import read_model_file

MODELS = Path(__file__).parents[3] / "shared" / "models"
IMAGE = {"name": "image", "type": "Image", "width": "8", "height": "8", "colorspace": "RGB"}
LABELS = [{"name": "label", "type": "String"}, {"name": "scores", "type": "Dictionary", "keyType": "String"}]
ASK = "; ask for the .mlmodel or .mlpackage that it was compiled from"
AGAIN = "; compile the model again"

no_links_on_windows = pytest.mark.skipif(sys.platform == "win32", reason="Windows needs rights to make links")
published = pytest.mark.skipif(not MODELS.is_dir(), reason="the published models are not beside the project")


def write(base, folder):
    """Write a compiled model with a coremldata.bin, as Apple's compiler does."""
    return compiled(base, write_program(base.spec.mlProgram).encode(), folder)


def write_metadata(path, **fields):
    (path / "coremldata.bin").unlink(missing_ok=True)
    (path / "metadata.json").write_text(json.dumps([fields]))


def error_of(path, kind=FormatError):
    with pytest.raises(WindfallError) as error:
        read_model_file(path)
    assert type(error.value) is kind
    return str(error.value)


@published
def test_a_published_model_is_read():
    file = read_model_file(MODELS / "fluid-argmax.mlmodelc")
    assert file.spec.specificationVersion == 7
    assert file.spec.description.metadata.author == "FluidAudio"
    (function,) = file.spec.mlProgram.functions.values()
    assert function.opset == "CoreML6"
    operations = function.block_specializations["CoreML6"].operations
    assert [o.type for o in operations] == ["const", "const", "reduce_argmax", "const", "const", "reduce_max"]
    assert [len(i.type.tensorType.dimensions) for i in function.inputs] == [1]


@published
@pytest.mark.parametrize("name", ["model.mil", "coremldata.bin", "metadata.json"])
def test_a_published_model_cut_off_anywhere_is_read_or_refused(tmp_path, name):
    path = shutil.copytree(MODELS / "fluid-argmax.mlmodelc", tmp_path / "m.mlmodelc")
    data = (path / name).read_bytes()
    results = []
    for end in range(0, len(data), 7):
        (path / name).write_bytes(data[:end])
        try:
            spec, _ = read_compiled(path)
        except FormatError:
            results.append(None)
        else:
            results.append([feature.name for feature in (*spec.description.input, *spec.description.output)])
    # coremldata.bin may be of a form that is not known; the others must be whole.
    expected = ["logits", "index", "score"] if name == "coremldata.bin" else None
    assert results == [expected] * len(results)


@pytest.mark.parametrize(("opset", "version"), [(5, 6), (6, 7), (7, 8), (8, 9), (9, 10)])
def test_the_version_is_that_of_the_newest_opset_if_nothing_else_tells(tmp_path, opset, version):
    spec, _ = operator_spec("relu", [Output(np.float32, (2,))], opset, x=Input(np.zeros(2)))
    path = write(Base(spec), tmp_path)
    (path / "coremldata.bin").unlink()
    for metadata in ({}, {"specificationVersion": "9"}, {"specificationVersion": 0}, {"specificationVersion": 2**31}):
        if metadata:
            write_metadata(path, inputSchema=[], **metadata)
        assert read_model_file(path).spec.specificationVersion == version


@pytest.mark.parametrize("opset", ["<ios99>", "<CoreML>", "<CoreML_5>", "<CoreML1234>", ""])
def test_a_version_that_nothing_tells(tmp_path, opset):
    path = tmp_path / "m.mlmodelc"
    path.mkdir()
    (path / "model.mil").write_text(f"program(1.0) {{ func main{opset}() {{ }} -> (); }}")
    assert error_of(path) == (
        "m.mlmodelc says nowhere what its specificationVersion is, and has no function of an opset that tells" + AGAIN
    )


def test_a_version_that_is_too_new(tmp_path):
    path = write(classifier(), tmp_path)
    write_metadata(path, inputSchema=[], specificationVersion=99)
    assert error_of(path).startswith("m.mlmodelc has specificationVersion 99, this windfall knows up to ")


def test_a_damaged_program_names_the_place(tmp_path):
    path = write(classifier(), tmp_path)
    (path / "model.mil").write_text("program(1.3)\n{\n  funk main")
    assert error_of(path) == "m.mlmodelc/model.mil:3:3: found 'funk', must be func or '}'" + AGAIN
    (path / "model.mil").write_bytes(b"\xff\xfe")
    assert error_of(path) == "m.mlmodelc/model.mil has no UTF-8 character at byte 0, must be text" + AGAIN
    (path / "model.mil").write_bytes(b"")
    assert error_of(path) == "m.mlmodelc/model.mil:1:1: found the end, must be program(1.0)" + AGAIN


@pytest.mark.parametrize("name", ["model.mil", "coremldata.bin", "metadata.json"])
def test_files_may_not_be_very_large(tmp_path, monkeypatch, name):
    path = write(classifier(), tmp_path)
    (path / name).write_bytes(b" " * 21)
    monkeypatch.setitem(reader._LARGEST, name, 20)
    assert error_of(path) == f"{name} of m.mlmodelc has 21 bytes, may have 20; download or convert it again"


@no_links_on_windows
@pytest.mark.parametrize("name", ["model.mil", "coremldata.bin", "metadata.json"])
def test_links_are_refused(tmp_path, name):
    path = write(classifier(), tmp_path)
    (path / name).unlink(missing_ok=True)
    (path / name).symlink_to(tmp_path / "other")
    assert error_of(path) == (
        f"m.mlmodelc has the path '{name}', where '{name}' is a link, must be a file or a folder; "
        "copy what it points to into its place"
    )


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no pipes among its files")
def test_pipes_are_refused(tmp_path):
    path = write(classifier(), tmp_path)
    (path / "coremldata.bin").unlink()
    os.mkfifo(path / "coremldata.bin")
    assert error_of(path) == (
        "coremldata.bin of m.mlmodelc is a pipe or a device, must be a file; copy it to a file first"
    )


OLDER = "is compiled to the older espresso form, which only Core ML can read"
PIPELINE = "is a compiled pipeline of several models, which windfall cannot read"
FROM_SOURCE = ", or compile it from its source as an ML program"
INTERFACE = " (inputs 'image'; outputs 'label', 'scores')"


@pytest.mark.parametrize(
    ("parts", "message"),
    [
        (["model.espresso.net", "model.espresso.shape"], f"m.mlmodelc {OLDER}{{}}{ASK}{FROM_SOURCE}"),
        (["neural_network_optionals"], f"m.mlmodelc {OLDER}{{}}{ASK}{FROM_SOURCE}"),
        (["model"], f"m.mlmodelc {OLDER}{{}}{ASK}{FROM_SOURCE}"),
        (["model0", "model1"], f"m.mlmodelc {PIPELINE}{{}}{ASK}"),
        ([], f"m.mlmodelc is compiled without a model.mil, so that only Core ML can read it{{}}{ASK}"),
    ],
)  # fmt: skip
def test_models_that_only_core_ml_can_read(tmp_path, parts, message):
    path = write(classifier(), tmp_path)
    (path / "model.mil").unlink()
    for part in parts:
        (path / part).mkdir()
    assert error_of(path, UnsupportedError) == message.format(INTERFACE)
    assert [f.name for f in read_compiled_description(path).description.input] == ["image"]
    write_metadata(path, inputSchema=[IMAGE], outputSchema=LABELS, specificationVersion=4)
    assert error_of(path, UnsupportedError) == message.format(INTERFACE)
    assert read_compiled_description(path).specificationVersion == 4
    (path / "metadata.json").write_text("cut off")
    assert error_of(path, UnsupportedError) == message.format("")


def test_not_all_of_very_many_inputs_are_named(tmp_path):
    path = write(classifier(), tmp_path)
    (path / "model.mil").unlink()
    write_metadata(path, inputSchema=[{"name": f"x{i}", "type": "Double"} for i in range(1000)])
    names = ", ".join(f"'x{i}'" for i in range(10))
    assert f" (inputs {names} and 990 more); " in error_of(path, UnsupportedError)


def test_a_folder_with_nothing_of_a_model(tmp_path):
    path = tmp_path / "m.mlmodelc"
    path.mkdir()
    assert error_of(path) == (
        "m.mlmodelc has no model.mil, which every compiled ML program has; download or convert it again"
    )
    with pytest.raises(FormatError) as error:
        read_compiled_description(path)
    assert str(error.value) == (
        "m.mlmodelc has neither a metadata.json nor a coremldata.bin that can be read; download or convert it again"
    )


def test_a_description_of_another_kind_of_model_is_not_used(tmp_path):
    path = write(classifier(), tmp_path)
    data = (path / "coremldata.bin").read_bytes()
    (path / "coremldata.bin").write_bytes(struct.pack("<I", 500) + data[4:])  # neuralNetwork
    spec, _ = read_compiled(path)
    assert spec.description.input[0].type.HasField("multiArrayType")
    assert spec.description.predictedFeatureName == "label"
