"""The report on coremltools' tests."""

from pathlib import Path

from tests.conformance.tally import Result, short_name, tally

RESULTS = [
    Result("test/a.py::T::one", "passed", True),
    Result(
        "test/a.py::T::two", "failed", True, "RuntimeError: tmp1x.mlmodel has 1 layer that cannot be run: 'a' (lrn)"
    ),
    Result(
        "test/a.py::T::three", "failed", True, "RuntimeError: tmp2.mlmodel has 3 layers that cannot be run: 'b' (lrn)"
    ),
    Result("test/b.py::T::four", "failed", False, "ImportError: no tensorflow"),
    Result("test/b.py::T::five", "skipped", True),
]


def test_the_rate_is_over_tests_that_reached_windfall() -> None:
    assert tally(RESULTS)[:4] == [
        "           reached  passed  failed    rate  no engine",
        "test/a.py        3       1       2   33.3%          0",
        "test/b.py        0       0       0       -          1",
        "total            3       1       2   33.3%          1",
    ]


def test_reasons_are_counted_without_names_and_numbers() -> None:
    same = [RESULTS[1], Result("test/a.py::T::six", "failed", True, RESULTS[1].reason.replace("tmp1x", "tmp7"))]
    assert tally(same)[-1] == "     2  RuntimeError: .. has .. layer that cannot be run: .. (lrn)"


def test_no_results_are_no_reason_to_fail() -> None:
    assert tally([])[1].split() == ["total", "0", "0", "0", "-", "0"]


def test_a_name_is_the_same_wherever_coremltools_lies() -> None:
    path = Path("somewhere/site-packages/coremltools/test/api/test_api.py")
    assert short_name(path, "../test_api.py::TestApi::test_it[1-x]") == "test/api/test_api.py::TestApi::test_it[1-x]"
