import gc
import os
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from tests.spec.test_detach import field, in_model, models
from tests.support import layer_spec

import windfall
from windfall.errors import FormatError, LoweringError, WindfallError
from windfall.spec.modelfile import from_spec, read_model_file
from windfall.spec.weights import decode


def file_of(tmp_path, data):
    path = tmp_path / "m.mlmodel"
    path.write_bytes(data)
    return read_model_file(path)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("models")


@given(models())
@settings(deadline=None, max_examples=40)
def test_the_full_spec_and_the_saved_file_are_the_original(folder, model):
    data = model.SerializeToString()
    file = file_of(folder, data)
    assert file.serialized() == data
    assert file.full_spec() == model
    assert file.size == len(data)


def test_a_spec_in_memory_is_saved_as_it_is(tmp_path):
    spec = layer_spec("activation", np.zeros(3), ReLU={})
    path = windfall.load(spec).save(tmp_path / "m.mlmodel")
    assert path.read_bytes() == spec.SerializeToString()
    assert windfall.load(path).spec == spec


def test_the_spec_is_a_copy(tmp_path):
    path = windfall.load(layer_spec("activation", np.zeros(3), ReLU={})).save(tmp_path / "m.mlmodel")
    model = windfall.load(path)
    model.spec.neuralNetwork.layers[0].name = "other"
    assert model.spec.neuralNetwork.layers[0].name == "layer"


def test_a_weight_in_two_pieces_of_a_file_is_refused(tmp_path):
    # Two loadConstant messages in one layer are merged into one, each with a detached payload.
    layer = field(1, b"layer") + field(290, field(2, field(30, b"a" * 2000))) * 2
    file = file_of(tmp_path, b"\x08\x04" + field(500, field(1, layer)))
    weight = file.spec.neuralNetwork.layers[0].loadConstant.data
    weight.quantization.numberOfBits = 8
    weight.quantization.linearQuantization.scale.append(1)
    with pytest.raises(FormatError) as error:
        decode(file, weight, (4000,))
    assert str(error.value) == "is stored in 2 pieces, must be one"


def test_a_weight_in_two_pieces_is_an_error_of_its_layer(tmp_path):
    # innerProduct (140) has inputChannels 1, outputChannels 2, weights 20; it comes in two pieces here.
    sizes = b"\x08\x32\x10\x28"
    layer = field(1, b"layer") + field(2, b"x0") + field(3, b"y0")
    layer += field(140, sizes + field(20, field(1, bytes(4000)))) + field(140, field(20, field(1, bytes(4000))))
    spec = layer_spec("activation", np.zeros(50), rank5=True)
    del spec.neuralNetwork.layers[:]
    path = tmp_path / "m.mlmodel"
    path.write_bytes(spec.SerializeToString() + field(500, field(1, layer)))
    with pytest.raises(LoweringError) as error:
        windfall.load(path).predict({"x0": np.zeros(50)})
    assert str(error.value) == (
        "cannot lower layer 'layer' (innerProduct) of m.mlmodel: weights is stored in 2 pieces, must be one"
    )


def test_a_weight_half_in_the_message_and_half_detached_is_refused(tmp_path):
    layer = field(1, b"l") + field(290, field(2, field(1, bytes(2000)))) + field(290, field(2, field(1, bytes(8))))
    file = file_of(tmp_path, b"\x08\x04" + field(500, field(1, layer)))
    with pytest.raises(FormatError) as error:
        decode(file, file.spec.neuralNetwork.layers[0].loadConstant.data, (502,))
    assert str(error.value) == "is stored in 2 pieces, must be one"


def test_a_marker_in_a_spec_in_memory_is_ignored():
    file = from_spec(read_model_like(in_model(b"\x80\xf9\xf1\xff\x0f\x00")))
    weight = file.spec.neuralNetwork.layers[0].loadConstant.data
    with pytest.raises(FormatError) as error:
        decode(file, weight, (3,))
    assert str(error.value) == "has no values, must have 3"


def read_model_like(data):
    from windfall.spec.proto import Model_pb2

    return Model_pb2.Model.FromString(data)


@pytest.mark.parametrize("change", [lambda data: data[:-10], lambda data: data + b"x", lambda data: data[::-1]])
def test_a_file_that_changes_on_disk_is_noticed(tmp_path, change):
    path = tmp_path / "m.mlmodel"
    data = in_model(field(1, bytes(4000)))
    path.write_bytes(data)
    file = read_model_file(path)
    path.write_bytes(change(data))
    os.utime(path, (1, 1))
    with pytest.raises(FormatError) as error:
        decode(file, file.spec.neuralNetwork.layers[0].loadConstant.data, (1000,))
    assert str(error.value) == "m.mlmodel changed on disk after it was loaded; load it again"


def test_a_changed_file_is_an_error_of_predict(tmp_path):
    spec = layer_spec("loadConstant", rank5=True, shape=[1000, 1, 1], data={"floatValue": [1.0] * 1000})
    path = windfall.load(spec).save(tmp_path / "m.mlmodel")
    model = windfall.load(path)
    path.write_bytes(b"")
    with pytest.raises(WindfallError, match=r"m\.mlmodel changed on disk after it was loaded; load it again"):
        model.predict({})


def test_the_file_is_closed_with_the_model(tmp_path):
    path = windfall.load(layer_spec("activation", np.zeros(3), ReLU={})).save(tmp_path / "m.mlmodel")
    file = read_model_file(path)
    handle = file._source.handle
    assert not handle.closed
    del file
    gc.collect()
    assert handle.closed


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no named pipes in folders")
def test_a_pipe_is_refused_and_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "pipe.mlmodel")
    with pytest.raises(FormatError) as error:
        windfall.load(tmp_path / "pipe.mlmodel")
    assert str(error.value) == "pipe.mlmodel is a pipe or a device, must be an .mlmodel file; copy it to a file first"


def test_saving_replaces_a_file_whole_or_leaves_it(tmp_path, monkeypatch):
    path = tmp_path / "m.mlmodel"
    path.write_bytes(b"old")
    model = windfall.load(layer_spec("activation", np.zeros(3), ReLU={}))

    def fail(temporary, target):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(Path, "replace", fail)
        with pytest.raises(WindfallError) as error:
            model.save(path)
    assert str(error.value) == f"cannot write {str(path)!r}: No space left on device; check the folder and the name"
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]
    model.save(path)
    assert windfall.load(path).spec == model.spec
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.skipif(sys.platform == "win32", reason="Windows does not replace a file that is open")
def test_saving_over_the_file_that_was_loaded(tmp_path):
    spec = layer_spec("activation", np.zeros(3), ReLU={})
    path = windfall.load(spec).save(tmp_path / "m.mlmodel")
    model = windfall.load(path)
    model.save(path)
    assert model.spec == spec
    assert windfall.load(path).spec == spec


def test_saving_into_a_folder_that_is_missing(tmp_path):
    assert_cannot_save(tmp_path / "missing" / "m.mlmodel", "No such file or directory")


@pytest.mark.skipif(sys.platform == "win32", reason="Windows gives another reason")
def test_saving_over_a_folder(tmp_path):
    assert_cannot_save(tmp_path, "Is a directory")
    assert list(tmp_path.iterdir()) == []


def test_saving_under_a_name_that_no_file_may_have(tmp_path):
    assert_cannot_save(tmp_path / "a\0b", "embedded null byte")


def assert_cannot_save(path, reason):
    with pytest.raises(WindfallError) as error:
        windfall.load(layer_spec("activation", np.zeros(3), ReLU={})).save(path)
    assert str(error.value) == f"cannot write {str(path)!r}: {reason}; check the folder and the name"


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such modes")
def test_a_saved_file_may_be_read_by_all_whom_the_umask_allows(tmp_path):
    before = os.umask(0o022)
    try:
        path = windfall.load(layer_spec("activation", np.zeros(3), ReLU={})).save(tmp_path / "m.mlmodel")
    finally:
        os.umask(before)
    assert path.stat().st_mode & 0o777 == 0o644


def test_a_weight_error_names_the_layer():
    spec = layer_spec("loadConstant", rank5=True, shape=[3, 1, 1], data={"floatValue": [1.0]})
    with pytest.raises(LoweringError) as error:
        windfall.load(spec).predict({})
    assert str(error.value) == (
        "cannot lower layer 'layer' (loadConstant) of the model: "
        "data has 1 values in 4 bytes, must have 3 (3 x 1 x 1) in 12 bytes"
    )
