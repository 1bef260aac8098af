import json
import subprocess
import sys
import time

import numpy as np
import pytest
from filelock import FileLock
from PIL import Image
from pyarrow.parquet import read_table
from rich.progress import Progress

import windfall
from tests.cli.conftest import IDENTITY, classifier_spec, image_spec, saved
from tests.support import fill
from windfall.cli.batches import BatchProgress, RateColumn
from windfall.cli.batchfiles import sink_for
from windfall.cli.journal import complete_lines
from windfall.cli.photos import Photo, find_photos
from windfall.errors import FeatureError, UnsupportedError, WindfallError
from windfall.features.fitting import fit

COUNT = 7
SLOW = """
import time
from windfall.cli import batches
note = batches.PhotoBatch._note
def slow(*arguments):
    note(*arguments)
    time.sleep(0.03)
batches.PhotoBatch._note = slow
from windfall.cli.main import main
main()
"""


def picture(seed, size=(40, 20)):
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8))


@pytest.fixture
def photos(folder):
    """The current folder, with a folder of photos, and one in it."""
    (folder / "photos" / "deep").mkdir(parents=True)
    for number in range(COUNT):
        picture(number).save(folder / "photos" / f"p{number}.png")
    picture(99).save(folder / "photos" / "deep" / "p0.jpg")
    saved(photo_classifier(), folder / "classes.mlmodel")
    return folder


def photo_classifier():
    """A classifier of 16x8 pictures: the largest mean of the three channels."""
    spec = image_spec()
    layers = [
        {
            "name": "mean",
            "input": ["photo"],
            "output": ["scores"],
            "pooling": {"type": "AVERAGE", "globalPooling": True, "valid": {}},
        }
    ]
    labels = classifier_spec().neuralNetworkClassifier.stringClassLabels
    spec.ClearField("neuralNetwork")
    del spec.description.output[:]
    string, dictionary = {"stringType": {}}, {"dictionaryType": {"stringKeyType": {}}}
    outputs = [{"name": "label", "type": string}, {"name": "scores", "type": dictionary}]
    names = {"predictedFeatureName": "label", "predictedProbabilitiesName": "scores"}
    fill(
        spec,
        {
            "description": {"output": outputs, **names},
            "neuralNetworkClassifier": {"layers": layers, "stringClassLabels": labels},
        },
    )
    return spec


def styled(path):
    model = windfall.load("style.mlmodel")
    return np.asarray(model.predict({"photo": fit(Image.open(path), (16, 8))})["styled"])


def files_in(folder):
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


def test_pictures_keep_their_names(run, photos):
    result = run("batch", "style.mlmodel", "photos", "--recursive", "-o", "out")
    assert result.exit_code == 0, result.stderr
    expected = [f"p{number}.png" for number in range(COUNT)]
    assert files_in(photos / "out") == [".windfall-batch.jsonl", "deep/p0.png", *expected]
    for number in range(COUNT):
        got = np.asarray(Image.open(photos / "out" / f"p{number}.png"))
        np.testing.assert_array_equal(got, styled(photos / "photos" / f"p{number}.png"))
    np.testing.assert_array_equal(np.asarray(Image.open("out/deep/p0.png")), styled("photos/deep/p0.jpg"))
    assert f"{COUNT + 1} photos in " in result.stdout
    assert "written to out" in result.stdout


@pytest.mark.parametrize(
    ("arguments", "names"),
    [
        (["photos"], [f"p{number}.png" for number in range(COUNT)]),
        (["photos/p1.png", "photos/p0.png", "photos/p1.png"], ["p1.png", "p0.png"]),
        (["photos/p[01].png"], ["p0.png", "p1.png"]),
        (["photos/**/p0.*"], ["deep/p0.jpg", "p0.png"]),
        (["*"], ["cat.png", "dog.png", *(f"photos/p{number}.png" for number in range(COUNT))]),
    ],
)
def test_photos_are_files_folders_and_patterns(photos, arguments, names):
    found = find_photos(arguments, recursive=False, leave=photos / "out")
    assert [photo.name for photo in found] == names


def test_photos_of_one_name_get_two(run, photos):
    result = run("batch", "style.mlmodel", "photos/p0.png", "photos/deep/p0.jpg", "-o", "out")
    assert result.exit_code == 0, result.stderr
    assert files_in(photos / "out") == [".windfall-batch.jsonl", "p0.png", "p0_2.png"]
    np.testing.assert_array_equal(np.asarray(Image.open("out/p0_2.png")), styled("photos/deep/p0.jpg"))


def rows(model="classes.mlmodel"):
    loaded = windfall.load(model)
    for number in range(COUNT):
        yield loaded.predict({"photo": fit(Image.open(f"photos/p{number}.png"), (16, 8))})


def test_rows_as_json_lines(run, photos):
    result = run("batch", "classes.mlmodel", "photos", "-o", "out.jsonl", "--json")
    assert result.exit_code == 0, result.stderr
    got = [json.loads(line) for line in (photos / "out.jsonl").read_text().splitlines()]
    assert [row["input"] for row in got] == [f"p{number}.png" for number in range(COUNT)]
    assert [row["outputs"] for row in got] == list(rows())
    summary = json.loads(result.stdout)
    assert (summary["photos"], summary["failed"], summary["done_before"]) == (COUNT, 0, 0)
    assert (summary["output"], summary["errors"]) == ("out.jsonl", None)
    assert [path.name for path in photos.glob("*out*")] == ["out.jsonl"]


def test_rows_as_csv(run, photos):
    assert run("batch", "classes.mlmodel", "photos", "-o", "out.csv", "--top", 1).exit_code == 0
    lines = (photos / "out.csv").read_text().splitlines()
    assert lines[0] == "input,label,scores"
    first = next(rows())
    best = json.dumps({first["label"]: first["scores"][first["label"]]}).replace('"', '""')
    assert lines[1] == f'p0.png,{first["label"]},"{best}"'
    assert len(lines) == COUNT + 1


def test_rows_as_parquet(run, photos):
    assert run("batch", "classes.mlmodel", "photos", "-o", "out.parquet").exit_code == 0
    table = read_table("out.parquet").to_pylist()
    assert [row["label"] for row in table] == [row["label"] for row in rows()]
    assert [json.loads(row["scores"]) for row in table] == [row["scores"] for row in rows()]


def test_parquet_without_pyarrow(photos, monkeypatch):
    monkeypatch.setattr("windfall.cli.batchfiles.find_spec", lambda name: None)
    with pytest.raises(UnsupportedError) as error:
        sink_for(photos / "o.parquet", windfall.load("classes.mlmodel").description, [], None)
    assert str(error.value) == (
        f"{photos / 'o.parquet'} needs pyarrow, which is not installed: pip install 'windfall[parquet]', or name a "
        ".jsonl or .csv file"
    )


@pytest.fixture
def broken(photos):
    (photos / "photos" / "p2.png").write_bytes(b"no picture")
    data = (photos / "photos" / "p4.png").read_bytes()
    (photos / "photos" / "p4.png").write_bytes(data[: len(data) // 2])
    return photos


@pytest.mark.parametrize("output", ["out", "out.csv"])
def test_photos_that_cannot_be_used_do_not_stop_the_others(run, broken, output):
    model = "classes.mlmodel" if output.endswith("csv") else "style.mlmodel"
    errors = broken / ("out.csv.errors.jsonl" if output.endswith("csv") else "out/errors.jsonl")
    result = run("batch", model, "photos", "-o", output)
    assert result.exit_code == 1
    text = "photos/p2.png is not a picture that can be read; convert it to PNG or JPEG"
    lines = result.stderr.splitlines()
    assert lines[0] == f"Error: {text}"
    assert lines[1].startswith("Error: photos/p4.png cannot be decoded: ")
    assert lines[2] == f"Error: 2 of {COUNT} photos could not be used; {errors.relative_to(broken)} lists them"
    listed = [json.loads(line) for line in errors.read_text().splitlines()]
    assert listed[0] == {"input": "p2.png", "error": text}
    assert [record["input"] for record in listed] == ["p2.png", "p4.png"]
    summary = json.loads(run("batch", model, "photos", "-o", output, "--json").stdout)
    assert (summary["failed"], summary["errors"]) == (2, str(errors.relative_to(broken)))
    for name in ("p2.png", "p4.png"):
        picture(0).save(broken / "photos" / name)
    assert run("batch", model, "photos", "-o", output).exit_code == 0
    assert not errors.exists()


def test_a_photo_with_too_many_pixels(run, photos, monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 500)
    result = run("batch", "style.mlmodel", "photos/p0.png", "-o", "out")
    assert result.exit_code == 1
    assert "Error: photos/p0.png has too many pixels, must have at most 500; scale it down first" in result.stderr


def journal_lines(path):
    if not path.exists():
        return 0
    with path.open("rb") as file:
        return sum(1 for _ in complete_lines(file))


@pytest.mark.parametrize(
    ("model", "output", "journal"),
    [("style.mlmodel", "out", "out/.windfall-batch.jsonl"), ("classes.mlmodel", "out.jsonl", "out.jsonl.partial")],
)
def test_a_batch_that_was_killed_goes_on(run, photos, model, output, journal):
    for number in range(COUNT, 60):
        picture(number).save(photos / "photos" / f"p{number}.png")
    arguments = ["batch", model, "photos", "-o", output]
    process = subprocess.Popen([sys.executable, "-c", SLOW, *arguments])  # noqa: S603  # our own command
    deadline = time.monotonic() + 120
    while journal_lines(photos / journal) < 12 and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.005)
    process.kill()
    process.wait()
    before = journal_lines(photos / journal) - 1
    assert 11 <= before < 60
    stopped = run(*arguments)
    assert stopped.exit_code == 1
    assert stopped.stderr == (
        f"Error: {journal} is of a batch that was stopped; add --resume to go on, or remove it to begin anew\n"
    )
    result = run(*arguments, "--resume", "--json")
    assert result.exit_code == 0, result.stderr
    summary = json.loads(result.stdout)
    assert (summary["photos"], summary["done_before"]) == (60, before)
    fresh = run("batch", model, "photos", "-o", output.replace("out", "other"))
    assert fresh.exit_code == 0
    if output == "out":
        names = [name for name in files_in(photos / "other") if name.endswith(".png")]
        assert [name for name in files_in(photos / "out") if name.endswith(".png")] == names
        assert len(names) == 60
        for name in names:
            assert (photos / "out" / name).read_bytes() == (photos / "other" / name).read_bytes()
    else:
        assert (photos / "out.jsonl").read_text() == (photos / "other.jsonl").read_text()
        assert not (photos / journal).exists()


def test_a_journal_cut_anywhere_goes_on(run, broken, monkeypatch):
    kept = {}
    end = "windfall.cli.batchfiles.RowFile.end"
    with monkeypatch.context() as patch:
        patch.setattr(end, lambda self, records: kept.update(data=self.journal.read_bytes()))
        assert run("batch", "classes.mlmodel", "photos", "-o", "out.jsonl").exit_code == 1
    journal = broken / "out.jsonl.partial"
    data = kept["data"]
    assert data.endswith(b'{"finished": true}\n')
    assert run("batch", "classes.mlmodel", "photos", "-o", "out.jsonl", "--resume").exit_code == 1
    expected = (broken / "out.jsonl").read_text()
    assert len(expected.splitlines()) == COUNT - 2
    first = data.index(b"\n") + 1
    for cut in [0, 1, first - 1, first, *range(first + 1, len(data), 97), len(data) - 1]:
        (broken / "out.jsonl").unlink()
        journal.write_bytes(data[:cut])
        result = run("batch", "classes.mlmodel", "photos", "-o", "out.jsonl", "--resume")
        assert f"2 of {COUNT} photos could not be used" in result.stderr
        assert (broken / "out.jsonl").read_text() == expected
        assert not journal.exists()


@pytest.mark.parametrize(
    ("arguments", "what"),
    [
        (["other.mlmodel", "photos"], "another model"),
        (["style.mlmodel", "photos", "--fit", "scale-fill"], "other options"),
        (["style.mlmodel", "photos", "cat.png"], "other photos"),
        (["other.mlmodel", "photos", "--fit", "scale-fill"], "another model and other options"),
    ],
)
def test_another_batch_is_not_resumed(run, photos, arguments, what):
    spec = image_spec()
    spec.neuralNetwork.layers[0].activation.linear.alpha = 0.5
    saved(spec, photos / "other.mlmodel")
    assert run("batch", "style.mlmodel", "photos", "-o", "out").exit_code == 0
    again = run("batch", "style.mlmodel", "photos", "-o", "out", "--resume", "--json")
    assert json.loads(again.stdout)["done_before"] == COUNT
    result = run("batch", *arguments, "-o", "out", "--resume")
    assert result.exit_code == 1
    assert result.stderr == (
        f"Error: out/.windfall-batch.jsonl was begun with {what}, and cannot be resumed; give the same, or remove it "
        "to begin anew\n"
    )
    assert run("batch", *arguments, "-o", "out").exit_code == 0


def test_results_among_the_photos_are_no_photos(run, photos):
    assert run("batch", "style.mlmodel", "photos", "-o", "photos/out", "--recursive").exit_code == 0
    summary = json.loads(run("batch", "style.mlmodel", "photos", "-o", "photos/out", "--recursive", "--json").stdout)
    assert summary["photos"] == COUNT + 1


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (
            ["style.mlmodel", "none.png", "-o", "out"],
            "cannot open none.png: no such file; give a photo, a folder or a pattern such as '*.jpg'",
        ),
        (["style.mlmodel", "*.gif", "-o", "out"], "no photo matches *.gif; check the pattern"),
        (
            ["style.mlmodel", "empty", "-o", "out"],
            (
                "empty has no photos (.bmp, .gif, .jpeg, .jpg, .png, .tif, .tiff, .webp); --recursive searches its "
                "folders, too"
            ),
        ),
        (
            ["style.mlmodel", "photos", "-o", "photos"],
            "all photos lie in photos, where results go; give others, or another --output",
        ),
        (
            ["style.mlmodel", "cat.png", "-o", "."],
            "all photos lie in ., where results go; give others, or another --output",
        ),
        (
            ["style.mlmodel", "photos", "-o", "o.csv"],
            "output 'styled' is a picture, which o.csv cannot hold; give a folder",
        ),
        (
            ["classes.mlmodel", "photos", "-o", "out"],
            (
                "the model gives no picture, but 'label', 'scores'; name a file with --output that ends in .jsonl, "
                ".csv, .parquet"
            ),
        ),
        (
            ["classes.mlmodel", "photos", "-o", "o.txt"],
            (
                "o.txt ends in .txt, must end in .jsonl, .csv, .parquet, or be a folder; make a folder of that name "
                "first, if it is to be one"
            ),
        ),
        (
            ["classes.mlmodel", "photos", "-o", "style.mlmodel/o.csv"],
            "cannot write 'style.mlmodel/o.csv.partial': File exists; check the folder",
        ),
    ],
)
def test_errors(run, photos, arguments, text):
    (photos / "empty").mkdir()
    result = run("batch", *arguments)
    assert result.exit_code == 1
    assert result.stderr == f"Error: {text}\n"


def test_a_photo_is_never_overwritten(photos):
    (photos / "link").symlink_to(photos / "photos")
    description = windfall.load("style.mlmodel").description
    with pytest.raises(FeatureError) as error:
        sink_for(photos / "link", description, [Photo(photos / "photos" / "p0.png", "p0.png")], None)
    assert str(error.value) == (
        f"the output {photos / 'link' / 'p0.png'} would overwrite a photo; give another folder with --output"
    )


def test_several_outputs_have_a_folder_each_and_the_rest_a_file(run, photos):
    spec = image_spec()
    image = spec.description.output[0].type
    spec.neuralNetwork.layers.add(name="twice", input=["photo"], output=["../up"])
    fill(spec.neuralNetwork.layers[1], {"activation": IDENTITY})
    spec.neuralNetwork.layers.add(name="mean", input=["photo"], output=["mean"])
    fill(spec.neuralNetwork.layers[2], {"pooling": {"type": "AVERAGE", "globalPooling": True, "valid": {}}})
    spec.description.output.add(name="../up", type=image)
    array = {"name": "mean", "type": {"multiArrayType": {"dataType": "FLOAT32"}}}
    fill(spec.description.output.add(), array)
    saved(spec, photos / "several.mlmodel")
    result = run("batch", "several.mlmodel", "photos/p0.png", "-o", "out")
    assert result.exit_code == 0, result.stderr
    assert files_in(photos / "out") == [".windfall-batch.jsonl", "___up/p0.png", "p0.json", "styled/p0.png"]
    mean = np.ravel(json.loads((photos / "out" / "p0.json").read_text())["mean"])
    np.testing.assert_allclose(mean, styled("photos/p0.png").mean((0, 1)), rtol=1e-5)


def test_results_that_cannot_be_written_stop_the_batch(run, photos, monkeypatch):
    def full(path, data):
        raise WindfallError(f"cannot write {str(path)!r}: No space left on device; check the folder and the name")

    monkeypatch.setattr("windfall.cli.batchfiles.write_file", full)
    result = run("batch", "style.mlmodel", "photos", "-o", "out")
    assert result.exit_code == 1
    assert result.stderr == (
        "Error: cannot write 'out/p0.png': No space left on device; check the folder and the name\n"
    )


def test_a_model_that_breaks_a_rule_stops_the_batch(run, photos):
    spec = image_spec()
    spec.neuralNetwork.layers[0].input[0] = "nothing"
    saved(spec, photos / "damaged.mlmodel")
    result = run("batch", "damaged.mlmodel", "photos", "-o", "out")
    assert result.exit_code == 1
    assert len(result.stderr.splitlines()) == 1


def test_a_file_that_is_no_journal_is_left_alone(run, photos):
    (photos / "o.csv.partial").write_text('{"mine": 1}\n')
    for more in ([], ["--resume"]):
        result = run("batch", "classes.mlmodel", "photos", "-o", "o.csv", *more)
        assert result.exit_code == 1
        assert result.stderr == "Error: o.csv.partial is no journal of a batch; remove it, or give another --output\n"
    assert (photos / "o.csv.partial").read_text() == '{"mine": 1}\n'


def test_a_journal_has_one_writer(run, photos):
    with FileLock("o.csv.partial.lock"):
        result = run("batch", "classes.mlmodel", "photos", "-o", "o.csv")
    assert result.exit_code == 1
    assert result.stderr == (
        "Error: o.csv.partial is written by another process; wait for it, or give another --output\n"
    )
    assert run("batch", "classes.mlmodel", "photos", "-o", "o.csv").exit_code == 0
    assert not (photos / "o.csv.partial.lock").exists()


def test_the_bar_shows_how_many_are_done_in_a_second():
    now = 0.0
    bar = Progress(RateColumn(), get_time=lambda: now, disable=True)
    task = bar.add_task("", total=100)
    assert str(RateColumn().render(bar.tasks[0])) == ""
    for now in (0.5, 1.0, 1.5):  # noqa: B007  # the clock reads it
        bar.advance(task)
    assert str(RateColumn().render(bar.tasks[0])) == "2.0/s"
    names = [type(column).__name__ for column in BatchProgress(100)._columns()]
    assert names == ["MofNCompleteColumn", "RateColumn"]
