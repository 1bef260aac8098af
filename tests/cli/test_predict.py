import json
import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tests.classical import model_spec
from tests.cli.conftest import Run, image_spec, saved
from tests.lowering.ml_program.test_program import two_functions
from tests.lowering.ml_program.test_states import X, accumulator
from tests.support import layer_spec
from windfall.cli.results import bar

ARRAY = {"multiArrayType": {"shape": [1], "dataType": "FLOAT32"}}
PICTURE = {"imageType": {"width": 4, "height": 4, "colorSpace": "RGB"}}


def outputs(run: Run, *arguments: object) -> Any:
    """The outputs of one prediction, by --json."""
    result = run("predict", *arguments, "--json")
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)["outputs"]


def error(run: Run, *arguments: object) -> str:
    """The one line that a wrong input gives."""
    result = run("predict", *arguments)
    assert result.exit_code == 1
    assert result.stdout == ""
    assert result.stderr.startswith("Error: ")
    assert result.stderr.count("\n") == 1
    return result.stderr.removeprefix("Error: ").rstrip("\n")


# Pictures


def test_a_photo_becomes_a_picture_in_the_current_folder(run: Run, folder: Path) -> None:
    result = run("predict", "style.mlmodel", "cat.png")
    assert result.exit_code == 0
    assert result.output == "styled   RGB picture 16 x 8\n         written to cat_styled.png\n"
    with Image.open(folder / "cat_styled.png") as picture:
        assert picture.size == (16, 8)
        assert picture.getpixel((0, 0)) == (200, 100, 50)
    assert not list(folder.glob(".*"))


def test_output_names_the_folder_and_makes_it(run: Run, folder: Path) -> None:
    assert run("predict", "style.mlmodel", "photo=cat.png", "--output", "new/styled").exit_code == 0
    assert [path.name for path in (folder / "new" / "styled").iterdir()] == ["cat_styled.png"]
    assert not (folder / "cat_styled.png").exists()


def test_several_photos_are_a_prediction_each(run: Run, folder: Path) -> None:
    result = run("predict", "style.mlmodel", "cat.png", "dog.png", "-o", "out")
    assert [line for line in result.output.splitlines() if not line.startswith(" ")] == ["cat.png", "dog.png"]
    assert sorted(path.name for path in (folder / "out").iterdir()) == ["cat_styled.png", "dog_styled.png"]
    lines = run("predict", "style.mlmodel", "cat.png", "dog.png", "-o", "out", "--json").output.splitlines()
    assert [json.loads(line)["input"] for line in lines] == ["cat.png", "dog.png"]
    assert json.loads(lines[0])["outputs"]["styled"] == {
        "path": str(Path("out/cat_styled.png")),
        "width": 16,
        "height": 8,
        "mode": "RGB",
    }


def test_photos_of_one_name_do_not_overwrite_each_other(run: Run, folder: Path) -> None:
    for name in ("a", "b"):
        (folder / name).mkdir()
        (folder / name / "cat.png").write_bytes((folder / "cat.png").read_bytes())
    run("predict", "style.mlmodel", "a/cat.png", "b/cat.png", "-o", "out")
    assert sorted(path.name for path in (folder / "out").iterdir()) == ["cat_styled.png", "cat_styled_2.png"]


def test_an_input_is_not_overwritten(run: Run, folder: Path) -> None:
    before = (folder / "cat.png").rename(folder / "x_styled.png").read_bytes()
    Image.new("RGB", (16, 8)).save(folder / "x.png")
    message = "the output x_styled.png would overwrite an input; give another folder with --output"
    saved(image_spec(extra=PICTURE | {"isOptional": True}), folder / "two.mlmodel")
    assert error(run, "two.mlmodel", "photo=x.png", "extra=x_styled.png") == message
    assert (folder / "x_styled.png").read_bytes() == before


@pytest.mark.parametrize(
    ("fit", "top", "left"), [("center-crop", True, True), ("scale-fit", False, False), ("scale-fill", False, True)]
)
def test_how_a_photo_is_fitted(fit: str, top: bool, left: bool, run: Run, folder: Path) -> None:
    pixels = np.zeros((40, 40), np.uint8)
    pixels[4:36] = 255  # more than the middle half, which is what a crop to 2:1 leaves
    Image.fromarray(pixels).save(folder / "stripe.png")
    assert run("predict", "style.mlmodel", "stripe.png", "--fit", fit).exit_code == 0
    with Image.open(folder / "stripe_styled.png") as picture:
        white = np.asarray(picture)[..., 0] > 250
    assert (white[0, 8], white[4, 0], white[4, 8]) == (top, left, True)


def test_an_outputs_name_cannot_lead_out_of_the_folder(run: Run, folder: Path) -> None:
    spec = image_spec()
    name = "/../../evil\x1b:name"
    spec.description.output[0].name = name
    spec.neuralNetwork.layers[0].output[0] = name
    saved(spec, folder / "evil.mlmodel")
    assert run("predict", "evil.mlmodel", "cat.png", "-o", "out").exit_code == 0
    assert [path.name for path in (folder / "out").iterdir()] == ["cat__.._.._evil__name.png"]


def test_a_half_precision_picture_is_a_tiff(run: Run, folder: Path) -> None:
    spec = image_spec()
    for feature in (spec.description.input[0], spec.description.output[0]):
        feature.type.imageType.colorSpace = 40  # GRAYSCALE_FLOAT16
    saved(spec, folder / "half.mlmodel")
    assert outputs(run, "half.mlmodel", "dog.png")["styled"]["path"] == "dog_styled.tiff"
    with Image.open(folder / "dog_styled.tiff") as picture:
        assert picture.mode == "F"


# Arrays and numbers


def test_an_array_as_json(run: Run) -> None:
    result = outputs(run, "array.mlmodel", "x0=[[1, 2.5, -3], [NaN, Infinity, 0]]")
    assert result["y0"] == {
        "shape": [2, 3],
        "dtype": "float32",
        "values": [[1, 2.5, -3], ["NaN", "Infinity", 0]],
    }


def test_arrays_from_files(run: Run, folder: Path) -> None:
    values = [[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]]
    np.save(folder / "x.npy", values)
    (folder / "list.json").write_text(json.dumps(values))
    (folder / "object.json").write_text(json.dumps({"x0": values}))
    (folder / "names.json").write_text(json.dumps({"x0": "x.npy"}))
    for argument in ("x.npy", "x0=x.npy", "x0=list.json", "object.json", "names.json"):
        assert outputs(run, "array.mlmodel", argument)["y0"]["values"] == values


def test_a_small_array_is_printed_and_a_large_one_summed_up(run: Run, folder: Path) -> None:
    assert run("predict", "array.mlmodel", "x0=[[1,2,3],[4,5,6]]").output == "y0   float32 [2, 3]  1, 2, 3, 4, 5, 6\n"
    np.save(folder / "x.npy", np.arange(1200).reshape(20, 60))
    assert run("predict", "large.mlmodel", "x.npy").output == (
        "y0   float32 [20, 60]  min 0  mean 599.5  max 1199\n     0, 1, 2, 3, 4, 5, ...\n"
    )
    summary = {"shape": [20, 60], "dtype": "float32", "min": 0, "mean": 599.5, "max": 1199}
    assert outputs(run, "large.mlmodel", "x.npy")["y0"] == summary


def test_output_saves_arrays(run: Run, folder: Path) -> None:
    x = np.random.default_rng(0).normal(size=(20, 60)).astype(np.float32)
    np.save(folder / "x.npy", x)
    assert "written to" in run("predict", "large.mlmodel", "x.npy", "-o", "out").output
    np.testing.assert_array_equal(np.load(folder / "out" / "x_y0.npy"), x)
    assert outputs(run, "large.mlmodel", "x.npy", "-o", "out")["y0"]["path"] == str(Path("out/x_y0.npy"))


@pytest.mark.parametrize(("text", "value"), [("2.5", 2.5), ("nan", "NaN"), ("-inf", "-Infinity")])
def test_a_number_for_an_array_of_one(text: str, value: object, run: Run) -> None:
    assert outputs(run, "number.mlmodel", f"x0={text}")["y0"]["values"] == [[value]]


def test_a_json_file_names_files_beside_it(run: Run, folder: Path) -> None:
    (folder / "set").mkdir()
    (folder / "set" / "inputs.json").write_text('{"photo": "bird.png"}')
    Image.new("RGB", (16, 8), (1, 2, 3)).save(folder / "set" / "bird.png")
    assert outputs(run, "style.mlmodel", "set/inputs.json")["styled"]["path"] == "inputs_styled.png"
    with Image.open(folder / "inputs_styled.png") as picture:
        assert picture.getpixel((0, 0)) == (1, 2, 3)


def test_shared_values_go_into_every_prediction(run: Run, folder: Path) -> None:
    saved(image_spec(strength=ARRAY), folder / "two.mlmodel")
    assert run("predict", "two.mlmodel", "cat.png", "dog.png", "strength=1").exit_code == 0
    assert error(run, "two.mlmodel", "cat.png").startswith("input 'strength' is missing")


def test_a_long_name_stands_on_a_line_of_its_own(run: Run, folder: Path) -> None:
    spec = layer_spec("activation", np.zeros(2), ReLU={})
    name = "a_long_name_for_an_output_of_a_network"
    spec.neuralNetwork.layers[0].output[0] = spec.description.output[0].name = name
    saved(spec, folder / "long.mlmodel")
    assert run("predict", "long.mlmodel", "x0=[1, 2]").output == f"{name}\n  float32 [2]  1, 2\n"


# Classes


def test_a_state_is_kept_from_one_prediction_to_the_next(run: Run, folder: Path) -> None:
    saved(accumulator(), folder / "sum.mlmodel")
    for index in range(2):
        np.save(folder / f"{index}.npy", X)
    result = run("predict", "sum.mlmodel", "0.npy", "1.npy", "--json")
    assert [json.loads(line)["outputs"]["after"]["values"] for line in result.output.splitlines()] == [
        [1, 2, 3],
        [2, 4, 6],
    ]


def test_a_function_is_named(run: Run, folder: Path) -> None:
    saved(two_functions(), folder / "two.mlmodel")
    np.save(folder / "x.npy", np.ones((2, 3), np.float32))
    result = run("predict", "two.mlmodel", "x.npy", "--function", "half", "--json")
    assert json.loads(result.output)["outputs"]["y"]["values"] == [[0.5] * 3] * 2
    missing = run("predict", "two.mlmodel", "x.npy", "--function", "third")
    assert missing.exit_code == 1
    assert missing.stderr == "Error: two.mlmodel has no function 'third'; its functions are half, main\n"


def test_classes_are_shown_as_bars(run: Run) -> None:
    lines = run("predict", "classify.mlmodel", "x0=[0.25, 0.625, 0.125]").output.splitlines()
    assert [line.split() for line in lines] == [
        ["label", "dog"],
        ["scores"],
        ["dog", "█" * 15, "62.5", "%"],
        ["cat", "█" * 6, "25.0", "%"],
        ["owl", "███", "12.5", "%"],
    ]


def test_top_limits_the_classes_shown_but_not_json(run: Run) -> None:
    output = run("predict", "classify.mlmodel", "x0=[0.25, 0.625, 0.125]", "--top", "1").output
    assert "cat" not in output
    assert "and 2 more" in output
    result = outputs(run, "classify.mlmodel", "x0=[0.25, 0.625, 0.125]", "--top", "1")
    assert result == {"label": "dog", "scores": {"dog": 0.625, "cat": 0.25, "owl": 0.125}}
    assert list(result["scores"]) == ["dog", "cat", "owl"]


def test_scores_that_are_no_probabilities_have_no_bars(run: Run) -> None:
    output = run("predict", "classify.mlmodel", "x0=[-2, 3.5, NaN]").output
    assert "█" not in output
    assert output.index("3.5") < output.index("-2") < output.index("nan")
    assert outputs(run, "classify.mlmodel", "x0=[-2, 3.5, NaN]")["scores"] == {"dog": 3.5, "cat": -2, "owl": "NaN"}


@pytest.mark.parametrize(("fraction", "blocks"), [(0, ""), (1, "█" * 24), (0.5, "█" * 12), (1 / 192, "▏")])
def test_a_bar_is_as_long_as_its_number(fraction: float, blocks: str) -> None:
    assert bar(fraction) == blocks
    assert bar(fraction, plain=True) == "#" * round(24 * fraction)


# Options


def test_a_layer_gives_its_inner_value(run: Run, folder: Path) -> None:
    spec = layer_spec("activation", np.zeros(2), linear={"alpha": 2.0})
    second = spec.neuralNetwork.layers.add(name="second", input=["y0"], output=["inner"])
    second.activation.linear.alpha = 3.0
    saved(spec, folder / "deep.mlmodel")
    for names in (["second", "layer"], ["inner", "y0"], ["second", "inner", "y0"]):
        layers = [part for name in names for part in ("--layer", name)]
        result = outputs(run, "deep.mlmodel", "x0=[1, 2]", *layers)
        assert {name: value["values"] for name, value in result.items()} == {"inner": [6, 12], "y0": [2, 4]}
    assert error(run, "deep.mlmodel", "x0=[1, 2]", "--layer", "third").startswith("the model has no value 'third'")


def test_threads_and_compute_units_reach_the_engine(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    import windfall

    calls, load = [], windfall.load
    monkeypatch.setattr(windfall, "load", lambda path, **options: calls.append(options) or load(path, **options))
    run("predict", "style.mlmodel", "cat.png", "--threads", 1, "--compute-units", "cpu-and-gpu")
    run("predict", "style.mlmodel", "cat.png")
    assert calls == [
        {"threads": 1, "compute_units": "cpu_and_gpu", "function": "", "linked_models": None, "weights": "expanded"},
        {"threads": None, "compute_units": "all", "function": "", "linked_models": None, "weights": "expanded"},
    ]


@pytest.mark.parametrize(
    "option", [["--fit", "crop"], ["--threads", 0], ["--top", 0], ["--compute-units", "tpu"], ["--output", "cat.png"]]
)
def test_wrong_options_are_wrong_usage(option: list[object], run: Run) -> None:
    result = run("predict", "style.mlmodel", "cat.png", *option)
    assert result.exit_code == 2
    assert "Usage: windfall predict" in result.stderr


# Errors


def test_wrong_inputs_are_one_line(run: Run, folder: Path) -> None:
    (folder / "text.jpg").write_text("no picture")
    header = b"IHDR" + struct.pack(">IIBBBBB", 50_000, 50_000, 8, 2, 0, 0, 0)
    framed = [struct.pack(">I", len(c) - 4) + c + struct.pack(">I", zlib.crc32(c)) for c in (header, b"IDAT")]
    (folder / "bomb.png").write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(framed))
    (folder / "cut.png").write_bytes((folder / "cat.png").read_bytes()[:60])
    (folder / "number.json").write_text('{"photo": NaN}')
    (folder / "list.json").write_text("[1]")
    (folder / "broken.json").write_text("{")
    (folder / "extra.json").write_text('{"photo": "cat.png", "other": 1}')
    (folder / "folder").mkdir()
    for arguments, message in {
        ("text.jpg",): "text.jpg is not a picture that can be read; convert it to PNG or JPEG",
        ("bomb.png",): "bomb.png has too many pixels, must have at most 89,478,485; scale it down first",
        ("none.jpg",): "cannot open none.jpg: no such file; give a file, or name=value",
        ("folder",): "folder is a directory, must be a file; name the files in it",
        ("foto=cat.png",): "the model has no input 'foto'; its inputs are 'photo'",
        ("photo=nan",): "input 'photo' is an image, and 'nan' is no file; give a picture file",
        ("number.json",): "input 'photo' is an image, its value is the number nan; give the name of a picture file",
        ("list.json",): "list.json holds a list, must hold an object with a value for each input",
        ("extra.json",): "the model has no input 'other'; its inputs are 'photo'",
        ("photo=cat.png", "photo=dog.png"): "input 'photo' is given twice; give it once",
        ("photo=cat.png", "dog.png"): "input 'photo' is given already; leave out dog.png",
        ("x.npy",): "cannot open x.npy: no such file; give a file, or name=value",
        ("photo=x.npy",): "cannot open x.npy: no such file; check the path",
    }.items():
        assert error(run, "style.mlmodel", *arguments) == message
    assert error(run, "style.mlmodel", "cut.png").startswith("cut.png ")
    assert error(run, "style.mlmodel", "broken.json").startswith("broken.json cannot be read as JSON: ")
    assert error(run, "style.mlmodel").startswith("input 'photo' is missing")
    assert not list(folder.glob("*_styled*"))


def test_wrong_arrays_are_one_line(run: Run, folder: Path) -> None:
    (folder / "text.npy").write_text("no array")
    np.save(folder / "objects.npy", np.array([{}], object), allow_pickle=True)
    for arguments, message in {
        ("x0=one",): "input 'x0' is 'one', must be a number, a JSON list or a .npy file",
        (f"x0={'[' * 60}",): f"input 'x0' is '{'[' * 37}...', must be a number, a JSON list or a .npy file",
        ("cat.png",): "the model has no image input for cat.png; its inputs are 'x0', give name=value",
        ("x0=none.json",): "cannot open none.json: No such file or directory; check the path",
    }.items():
        assert error(run, "array.mlmodel", *arguments) == message
    for name in ("text.npy", "objects.npy"):
        assert error(run, "array.mlmodel", name).startswith(f"{name} cannot be read as a .npy file: ")
    assert error(run, "array.mlmodel", "x0=[1, 2]").startswith("input 'x0' has shape [2], must be [2, 3]")
    assert error(run, "array.mlmodel", 'x0="text"').startswith("input 'x0' is str")


def test_two_image_inputs_must_be_named(run: Run, folder: Path) -> None:
    saved(image_spec(mask=PICTURE), folder / "two.mlmodel")
    assert error(run, "two.mlmodel", "cat.png") == "the model has 2 image inputs, say which: photo=cat.png"
    assert run("predict", "two.mlmodel", "mask=dog.png", "cat.png").exit_code == 0
    assert (folder / "cat_styled.png").exists()


def test_one_bad_photo_does_not_stop_the_others(run: Run, folder: Path) -> None:
    (folder / "bad.png").write_text("no picture")
    result = run("predict", "style.mlmodel", "cat.png", "bad.png", "dog.png", "--json")
    assert result.exit_code == 1
    assert [json.loads(line)["input"] for line in result.stdout.splitlines()] == ["cat.png", "dog.png"]
    assert result.stderr.splitlines() == [
        "Error: bad.png is not a picture that can be read; convert it to PNG or JPEG",
        "Error: 1 of 3 inputs could not be used",
    ]


def test_an_output_folder_that_cannot_be_made(run: Run, folder: Path) -> None:
    assert error(run, "style.mlmodel", "cat.png", "-o", "cat.png/out").startswith(
        "cannot make the folder cat.png/out: "
    )


def test_a_model_that_cannot_be_run_says_why(run: Run, folder: Path) -> None:
    saved(layer_spec("custom", np.zeros(2), className="Mine"), folder / "custom.mlmodel")
    assert "custom layer 'Mine' ('layer')" in error(run, "custom.mlmodel", "x0=[1, 2]")


def test_models_that_cannot_be_read(run: Run) -> None:
    assert error(run, "none.mlmodel", "cat.png").startswith("cannot open none.mlmodel: No such file or directory")
    assert error(run, "cat.png", "cat.png").startswith("cat.png cannot be read as a Core ML model")


def test_values_for_every_type_of_input(run: Run, folder: Path) -> None:
    from windfall.cli.inputs import InputReader
    from windfall.description import describe
    from windfall.spec.modelfile import from_spec

    strings = {"dictionaryType": {"stringKeyType": {}}}
    types = {"n": {"int64Type": {}}, "t": {"stringType": {}}, "d": strings, "s": {"sequenceType": {"stringType": {}}}}
    reader = InputReader(describe(from_spec(image_spec(**types))), "centerCrop")
    (case,) = reader.cases(["n=3", "t=3", 'd={"a": 1}', 's=["x"]'])
    assert case.read() == {"n": 3, "t": "3", "d": {"a": 1}, "s": ["x"]}


def vectorizer_spec(keys: str) -> Any:
    """A model that puts the values of a dictionary in the places of its keys, 2 and -7."""
    fields = {"int64ToIndex": {"vector": [2, -7]}} if keys == "int64" else {"stringToIndex": {"vector": ["2", "-7"]}}
    return model_spec("dictVectorizer", {"d": f"{keys} dictionary"}, {"y": (2,)}, fields)


@pytest.mark.parametrize("keys", ["int64", "string"])
def test_a_dictionary_as_json_has_the_keys_that_the_model_takes(keys: str, run: Run, folder: Path) -> None:
    saved(vectorizer_spec(keys), folder / "places.mlmodel")
    (folder / "d.json").write_text('{"-7": 0.5, "2": 3}')
    (folder / "inputs.json").write_text('{"d": {"-7": 0.5, "2": 3}}')
    for argument in ('d={"-7": 0.5, "2": 3}', "d=d.json", "inputs.json"):
        assert outputs(run, "places.mlmodel", argument)["y"]["values"] == [3, 0.5]


@pytest.mark.parametrize("key", ["one", "1.0", "", " 1", "1_0", "02", "-0", "9" * 20])
def test_a_key_that_is_no_integer_is_refused(key: str, run: Run, folder: Path) -> None:
    saved(vectorizer_spec("int64"), folder / "places.mlmodel")
    message = f"input 'd' has the key {key!r}, must have integers as keys"
    assert error(run, "places.mlmodel", "d=" + json.dumps({"2": 1, key: 1})) == message


def test_a_dictionary_that_is_no_object_is_refused(run: Run, folder: Path) -> None:
    saved(vectorizer_spec("int64"), folder / "places.mlmodel")
    assert error(run, "places.mlmodel", "d=[1, 2]") == "input 'd' is [1, 2] (list), must be a dictionary of numbers"


def test_weights_may_stay_as_they_are_stored(run: Run, folder: Path) -> None:
    quantized = {"numberOfBits": 8, "linearQuantization": {"scale": [0.5], "bias": [-3.0]}}
    codes = np.arange(32 * 32).astype(np.uint8)
    weights = {"rawValue": codes.tobytes(), "quantization": quantized}
    x = np.ones((1, 32), np.float32)
    saved(layer_spec("innerProduct", x, inputChannels=32, outputChannels=32, weights=weights), folder / "q.mlmodel")
    np.save(folder / "x.npy", x)
    expected = (codes.reshape(32, 32) * 0.5 - 3).sum(1)
    for way in ("expanded", "compressed"):
        values = outputs(run, "q.mlmodel", "x0=x.npy", "--weights", way)["y0"]["values"]
        np.testing.assert_allclose(np.ravel(values), expected, rtol=1e-6)
    assert (
        "'packed' is not one of 'expanded', 'compressed'" in run("predict", "q.mlmodel", "--weights", "packed").output
    )
