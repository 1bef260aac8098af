"""A run of coremltools' tests is judged: here with tests of our own in their place."""

from pathlib import Path

import pytest

from tests.conformance.suite import in_sample, pytest_addoption

pytest_plugins = ["pytester"]

ROOT = Path(__file__).parents[2]
REACHED = (
    "import os, unittest\nimport pytest\nfrom tests.conformance.calls import CALLS\ndef reach(): CALLS['models'] = 1\n"
)
TESTS = """
def test_pass(): reach()
def test_fail(): reach(); raise ValueError("no\\nmore")
def test_unreached(): raise ImportError("no tensorflow")
@pytest.mark.parametrize("x", [1, 2])
def test_each(x): reach(); assert x == 0
class T(unittest.TestCase):
    def test_parts(self):
        reach()
        for part in 1, 2:
            with self.subTest(part=part):
                assert part == 2
"""
CRASH = """
def test_before(): reach()
def test_crash(): os._exit(3)
def test_after(): reach()
"""
FAILING = ["test_fail", "test_each[*]", "T::test_parts"]


def run(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch, tests: str, listed: list[str], *arguments: str
) -> tuple[int, list[str]]:
    """Run tests in a package named coremltools and return the exit status and the report's lines."""
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    folder = pytester.mkpydir("coremltools") / "test"
    folder.mkdir()
    (folder / "__init__.py").touch()
    (folder / "test_x.py").write_text(REACHED + tests, encoding="utf-8")
    expected = pytester.path / "expected.toml"
    names = [f"test/test_x.py::{name}" for name in listed]
    groups = f'[[failures]]\nreason = "why"\nkind = "bug in the test"\ntests = {names}\n' if listed else ""
    expected.write_text(groups, encoding="utf-8")
    # Other plugins would take most of the time.
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
    plugins = ["-p", "xdist", "-p", "tests.conformance.suite", "-p", "no:cacheprovider"]
    options = [*plugins, "-q", "-rN", "--tb=no", "--expected", str(expected), *arguments]
    result = pytester.runpytest_subprocess(*options, "--pyargs", "coremltools.test")
    return int(result.ret), result.outlines


def found(lines: list[str]) -> list[str]:
    """Return what the report says is not as expected."""
    starts = ("unexpected failure: ", "unexpected pass: ", "listed in ", "no test ")
    return [line for line in lines if line.startswith(starts) or " did not run, " in line]


@pytest.mark.parametrize("processes", ["0", "1"])
def test_failures_that_are_listed_are_no_failure(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch, processes: str
) -> None:
    status, lines = run(pytester, monkeypatch, TESTS, FAILING, "-n", processes)
    assert (status, found(lines)) == (0, [])
    assert "test         5       1       4         4   20.0%          1" in lines
    assert "     4  why (bug in the test)" in lines
    assert lines[-2] == "1 of 5 tests that reached windfall passed, 20.0%"


@pytest.mark.parametrize("processes", ["0", "1"])
def test_everything_unexpected_is_named(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch, processes: str
) -> None:
    listed = ["test_pass", "test_each[*]", "test_gone", "T::test_parts"]
    status, lines = run(pytester, monkeypatch, TESTS, listed, "-n", processes)
    assert status == 1
    assert found(lines) == [
        "unexpected failure: test/test_x.py::test_fail: ValueError: no",
        "unexpected pass: test/test_x.py::test_pass, expected to fail: why (bug in the test); take it off the list",
        "listed in expected_failures.toml, but not there: test/test_x.py::test_gone",
    ]


def test_a_part_that_fails_fails_its_test(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    status, lines = run(pytester, monkeypatch, TESTS, FAILING[:2], "-n", "0")
    assert status == 1
    assert found(lines) == ["unexpected failure: test/test_x.py::T::test_parts: assert 1 == 2"]


def test_a_run_of_some_tests_judges_those_alone(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    status, lines = run(pytester, monkeypatch, TESTS, ["test_each[*]"], "-n", "0", "-k", "each or pass")
    assert (status, found(lines)) == (0, [])


def test_a_run_that_reached_nothing_proves_nothing(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    status, lines = run(pytester, monkeypatch, TESTS, FAILING, "-n", "0", "-k", "unreached")
    assert (status, found(lines)) == (1, ["no test reached windfall, so nothing is known"])


def test_a_test_that_ends_its_process_failed(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    status, lines = run(pytester, monkeypatch, CRASH, [], "-n", "1")
    assert status == 1
    assert [line.partition(": worker")[0] for line in found(lines)] == [
        "unexpected failure: test/test_x.py::test_crash"
    ]
    assert lines[-2] == "2 of 3 tests that reached windfall passed, 66.7%"


def test_a_crash_can_be_expected(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    status, lines = run(pytester, monkeypatch, CRASH, ["test_crash"], "-n", "1")
    assert (status, found(lines)) == (0, [])


def test_tests_that_did_not_run_are_reported(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    arguments = ["-n", "1", "--max-worker-restart", "0"]
    status, lines = run(pytester, monkeypatch, CRASH, ["test_crash"], *arguments)
    assert status == 1
    assert [line.partition(", the first")[0] for line in found(lines)] == ["1 of 3 tests did not run"]


def test_results_and_a_skeleton_are_written(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    run(pytester, monkeypatch, TESTS, ["test_each[*]"], "-n", "0", "--results", "r.txt", "--update-expected", "e.toml")
    lines = (pytester.path / "r.txt").read_text(encoding="utf-8").splitlines()
    assert lines[0] == "failed\ttest/test_x.py::T::test_parts\tassert 1 == 2"
    assert len(lines) == 5
    skeleton = (pytester.path / "e.toml").read_text(encoding="utf-8")
    assert skeleton.count("[[failures]]") == 2
    assert '    "test/test_x.py::test_fail",\n' in skeleton


def test_a_list_that_breaks_a_rule_stops_the_run(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    status, _ = run(pytester, monkeypatch, TESTS, ["test_pass", "test_pass"])
    assert status == pytest.ExitCode.USAGE_ERROR


@pytest.mark.parametrize(("number", "message"), [("0", "is 0, must be 1 or more"), ("-2", "is -2, must be 1 or more")])
def test_a_sample_is_1_in_a_positive_number(number: str, message: str) -> None:
    parser = pytest.Parser(_ispytest=True)
    pytest_addoption(parser)
    with pytest.raises(pytest.UsageError, match=message):
        parser.parse(["--sample", number])


def test_a_sample_is_always_the_same_and_about_as_large_as_asked() -> None:
    names = [f"test/test_x.py::test_it[{number}]" for number in range(2000)]
    sample = [name for name in names if in_sample(name, 20)]
    assert 70 < len(sample) < 130
    assert sample[0] == "test/test_x.py::test_it[20]"
    assert all(in_sample(name, 1) for name in names)
