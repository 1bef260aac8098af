"""coremltools with windfall installed, in processes of its own: see session.py."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

SESSION = Path(__file__).with_name("session.py")
RESULT, DOUBLE = {"y": [0, 2, 3]}, {"y": [0, 4, 6]}


@pytest.fixture(scope="module", params=["before", "after"])
def found(request):
    """What came out where coremltools was imported before, or after, windfall was installed."""
    command = [sys.executable, "-W", "ignore", str(SESSION), request.param]
    done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603  # our own script
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def test_coremltools_predicts(found):
    for way in ("predict", "hints", "compiled", "compiled elsewhere", "compiled path", "asset", "asset in memory"):
        assert found[way] == RESULT, way
    assert found["batch"] == found["compiled batch"] == [RESULT, DOUBLE]
    assert found["durations"]


def test_coremltools_is_told_of_devices_and_structure(found):
    assert found["devices"] == ["MLCPUComputeDevice"]
    assert found["layer"] == ["relu", "activation", ["x"], ["y"]]
    assert found["same structure"]
    assert found["members"] == [["first", "relu"]]
    assert found["runs on"] == ["MLCPUComputeDevice", 1]


def test_coremltools_saves_the_lowest_version(found):
    assert found["saved version"] == 1


def test_coremltools_says_what_cannot_be_run(found):
    reason = "cannot be run: layer 'relu' (custom, className 'Sparkle')"
    assert len(found["warning"]) == 1
    assert "You will not be able to run predict()" in found["warning"][0]
    assert reason in found["warning"][0]
    assert found["missing input"] == "RuntimeError: input 'x' is missing; give a value for each of ['x']"
    assert found["state of none"].endswith(".mlmodel keeps no states; predict without one")
    assert found["program"].startswith("RuntimeError: model.mlmodel cannot be run: operator warp at 'w'; see all with")


def test_coremltools_runs_programs_with_weights_and_states(found):
    assert found["state"] == [True, True, True]
    assert found["state is written"] == [True, "float16"]
    assert found["no such state"] == "RuntimeError: there is no state 'sum'; states are 'total'"
    assert found["costs"] == {"const": None, "mul": 0.25, "read_state": 0.25, "add": 0.25, "write_state": 0}
    assert found["program's devices"]
    assert found["program in memory"] == [2 * i for i in range(1, 31)]


def test_custom_layers_are_refused_in_words_of_coremltools(found):
    assert found["custom layer"].startswith("Exception: This model contains a custom neural network layer")


def test_installing_neither_imports_coremltools_nor_lies_to_others(found):
    assert not found["imported by windfall"]
    assert found["installed"]
    assert not found["others see a Mac"]


def test_uninstalling_puts_back_what_was_there(found):
    assert not found["still installed"]
    assert found["as before"]
    assert found["left behind"] == found["finders"] == []
    assert "macOS" in found["after uninstall"]
    assert found["installed again"] == RESULT
