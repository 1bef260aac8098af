"""How make starts coremltools' tests."""

import shutil
import subprocess
from pathlib import Path

import pytest

WHOLE = "coremltools.test.neural_network coremltools.test.api coremltools.test.modelpackage coremltools.test.pipeline"
CLASSICAL = "coremltools.test.sklearn_tests coremltools.test.xgboost_tests"
SAMPLED = "coremltools.converters.mil.mil.ops.tests coremltools.test.ml_program"
MAKE = shutil.which("make")
pytestmark = pytest.mark.skipif(MAKE is None, reason="make is not installed")


def commands(*arguments: str) -> list[str]:
    """Return the runs of coremltools' tests that make would start."""
    line = [str(MAKE), "--dry-run", *arguments]
    root = Path(__file__).parents[2]
    shown = subprocess.run(line, cwd=root, capture_output=True, text=True, check=True)  # noqa: S603  # our own Makefile
    return [command for command in shown.stdout.replace("\\\n", " ").splitlines() if "conformance.ini" in command]


def test_test_runs_some_packages_whole_and_a_sample_of_the_others() -> None:
    whole, classical, sample = commands("test", "ARGS=-k padding")
    assert whole.endswith(f"--pyargs {WHOLE}")
    assert classical.endswith(f"--pyargs {CLASSICAL} --sample 3")
    assert sample.endswith(f"--pyargs {SAMPLED} --sample 20")
    assert "padding" not in whole + classical + sample


def test_conformance_runs_what_it_is_told_to() -> None:
    (command,) = commands("conformance", "TESTS=coremltools.test.pipeline", "ARGS=-k padding")
    assert command.endswith("--pyargs coremltools.test.pipeline -k padding")


def test_conformance_runs_everything_by_default() -> None:
    (command,) = commands("conformance")
    assert command.endswith(f"--pyargs {WHOLE} {CLASSICAL} {SAMPLED} ")


@pytest.mark.parametrize("setting", ["OMP_NUM_THREADS=1", "WINDFALL_CACHE=off", "-n 2"])
def test_each_process_has_one_thread_and_no_cache(setting: str) -> None:
    assert all(f"{setting} " in command for command in commands("test", "conformance"))
