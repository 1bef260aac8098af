"""The report on coremltools' tests."""

from pathlib import Path

import pytest

from tests.conformance.tally import Result, pass_rate, reason_pattern, short_name, tally

RESULTS = [
    Result("test/a/x.py::T::one", "passed", True),
    Result("test/a/x.py::T::two", "failed", True, "RuntimeError: tmp1x.mlmodel has 1 layer 'a' (lrn)"),
    Result("test/a/y.py::T::three", "failed", True, "RuntimeError: tmp2.mlmodel has 3 layers"),
    Result("ops/tests/iOS17/z.py::T::four", "failed", False, "ImportError: no tensorflow"),
    Result("ops/tests/iOS18/z.py::T::five", "skipped", True),
]


def expected_for(name: str) -> str | None:
    return "ties (bug in the test)" if name.endswith("three") else None


def test_the_rate_is_over_tests_that_reached_windfall() -> None:
    assert tally(RESULTS, expected_for) == [
        "           reached  passed  failed  expected    rate  no engine",
        "ops/tests        0       0       0         0       -          1",
        "test/a           3       1       2         1   33.3%          0",
        "total            3       1       2         1   33.3%          1",
        "",
        "expected failures:",
        "     1  ties (bug in the test)",
        "",
        "unexpected failures:",
        "     1  RuntimeError: .. has .. layer .. (lrn)",
    ]


def test_the_table_can_have_a_row_for_each_file() -> None:
    rows = tally(RESULTS, expected_for, by_file=True)[1:6]
    names = ["ops/tests/iOS17/z.py", "ops/tests/iOS18/z.py", "test/a/x.py", "test/a/y.py", "total"]
    assert [row.split()[0] for row in rows] == names


def test_reasons_are_counted_without_names_and_numbers() -> None:
    same = [RESULTS[1], Result("test/a/x.py::T::six", "failed", True, RESULTS[1].reason.replace("tmp1x", "tmp7"))]
    assert tally(same, expected_for)[-1] == "     2  RuntimeError: .. has .. layer .. (lrn)"


@pytest.mark.parametrize("file", ["tmpz7_a.mlmodel", "a.mlpackage", "tmp8.mlmodelc"])
def test_a_reason_does_not_hold_the_name_of_a_model(file: str) -> None:
    assert reason_pattern(f"{file} cannot be run") == ".. cannot be run"


def test_no_results_are_no_reason_to_fail() -> None:
    assert tally([], expected_for)[1:] == ["total        0       0       0         0       -          0"]


def test_the_pass_rate_sums_it_up() -> None:
    assert pass_rate(RESULTS) == "1 of 3 tests that reached windfall passed, 33.3%"
    assert pass_rate([]) == "0 of 0 tests that reached windfall passed"


@pytest.mark.parametrize("place", ["somewhere/site-packages", "coremltools/.venv"])
def test_a_name_is_the_same_wherever_coremltools_lies(place: str) -> None:
    path = Path(place, "coremltools/test/api/test_api.py")
    assert short_name(path, "../test_api.py::TestApi::test_it[1-x]") == "test/api/test_api.py::TestApi::test_it[1-x]"
