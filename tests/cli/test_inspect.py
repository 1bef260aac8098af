import json
from pathlib import Path

from tests.cli.conftest import Run, saved
from tests.description.test_compression import quantized, use
from tests.description.test_programs import several
from windfall.spec.proto import Model_pb2


def test_the_description_is_printed(run: Run) -> None:
    result = run("inspect", "style.mlmodel")
    assert result.exit_code == 0
    lines = result.output.splitlines()
    assert lines[0] == "style.mlmodel"
    assert "  Type          Neural network" in lines
    for heading in ("Inputs", "Outputs", "Layers (1)"):
        assert heading in lines
    assert "  activation 1" in lines
    assert all(line == line.rstrip() and len(line) <= 80 for line in lines)


def test_json(run: Run, folder: Path) -> None:
    description = json.loads(run("inspect", "classify.mlmodel", "--json").output)
    assert description["type"] == "neuralNetworkClassifier"
    assert description["size"] == (folder / "classify.mlmodel").stat().st_size
    assert description["class_labels"] == {"count": 3, "first": ["cat", "dog", "owl"]}
    assert description["predicted_feature"] == "label"
    assert description["layer_counts"] == {"activation": 1}
    assert "layers" not in description


def program(folder: Path) -> str:
    """A program with two functions, one of which keeps states and has a compressed weight."""
    spec = several()
    block = spec.mlProgram.functions["extend"].block_specializations["CoreML7"]
    quantized(block, "w", 64)
    use(block, "w")
    return saved(spec, folder / "program.mlmodel")


def test_a_program(run: Run, folder: Path) -> None:
    result = run("inspect", program(folder))
    lines = [" ".join(line.split()) for line in result.output.splitlines()]
    for line in (
        "Opset CoreML8 (iOS 18), CoreML7 (iOS 17)",
        "keys State of MultiArray (4)",
        "Functions (2)",
        "extend (default) CoreML7 (iOS 17) token → y keys, values",
        "Int8 40 40 bytes 100.0 %",
        "conv 8-bit linear 1 48 bytes 80 bytes 9.60",
        "Operations (2)",
        "constexpr_blockwise_shift_scale 1 conv 1",
    ):
        assert line in lines
    assert all(line == line.rstrip() and len(line) <= 80 for line in result.output.splitlines())


def test_a_program_as_json(run: Run, folder: Path) -> None:
    description = json.loads(run("inspect", program(folder), "--json").output)
    assert [(f["name"], f["opset"], len(f["states"])) for f in description["functions"]] == [
        ("prompt", "CoreML8", 0),
        ("extend", "CoreML7", 2),
    ]
    assert [(one["operator"], one["form"], one["bytes"]) for one in description["compressions"]] == [
        ("conv", "8-bit linear", 48)
    ]
    assert description["weights"] == [{"precision": "Int8", "values": 40, "bytes": 40, "share": 1.0}]
    assert description["layer_counts"] == {"constexpr_blockwise_shift_scale": 1, "conv": 1}


def test_layers(run: Run) -> None:
    output = run("inspect", "array.mlmodel", "--layers").output
    assert output.splitlines()[-3:] == [
        "   1 layer activation",
        "     x0 → y0",
        "     NonlinearityType=linear, linear.alpha=1.0",
    ]
    (layer,) = json.loads(run("inspect", "array.mlmodel", "--layers", "--json").output)["layers"]
    assert layer["name"] == "layer"
    assert layer["inputs"] == ["x0"]


def test_layers_names_all_that_is_not_supported(run: Run, folder: Path) -> None:
    spec = Model_pb2.Model(specificationVersion=4)
    for number in range(12):
        spec.neuralNetwork.layers.add(name=f"new{number}")
    (folder / "new.mlmodel").write_bytes(spec.SerializeToString())
    assert "- layer 'new11'" not in run("inspect", "new.mlmodel").output
    assert "- layer 'new11'" in run("inspect", "new.mlmodel", "--layers").output


def test_files_that_are_no_models(run: Run, folder: Path) -> None:
    (folder / "notes.txt").write_text("just text")
    (folder / "empty.mlmodel").write_bytes(b"")
    for name, message in {
        "none.mlmodel": "cannot open none.mlmodel: No such file or directory; check the path",
        "cat.png": "cat.png cannot be read as a Core ML model: it is not one, or is cut off; ",
        "notes.txt": "notes.txt cannot be read as a Core ML model: it is text, not a model; ",
        "empty.mlmodel": "empty.mlmodel is empty, must be a Core ML model; ",
    }.items():
        result = run("inspect", name)
        assert result.stderr.startswith(f"Error: {message}")
        assert result.stderr.count("\n") == 1
        assert result.exit_code == 1
        assert result.stdout == ""
    (folder / "directory").mkdir()
    assert run("inspect", "directory").stderr.startswith("Error: directory is a directory, must be ")
