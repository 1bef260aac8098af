"""The list of tests that are known to fail."""

import json
from pathlib import Path

import pytest

from tests.conformance.expected import EXPECTED, KINDS, ExpectedError, ExpectedFailures, Group, load, skeleton
from tests.conformance.tally import Result

ONE, TWO = "test/a/x.py::T::one", "test/a/x.py::T::two[1-b]"
TIES = Group("ties", "bug in the test", (ONE, "test/a/x.py::T::two[*]"))
LISTED = ExpectedFailures([TIES])


def written(path: Path, *groups: dict[str, object], more: str = "") -> Path:
    """Write a file of expected failures; JSON's values are TOML's."""
    lines = [
        line for group in groups for line in ("[[failures]]", *(f"{k} = {json.dumps(v)}" for k, v in group.items()))
    ]
    file = path / "expected.toml"
    file.write_text("\n".join([more, *lines]), encoding="utf-8")
    return file


def group(**changes: object) -> dict[str, object]:
    return {"reason": "ties", "kind": "bug in the test", "tests": [ONE]} | changes


def test_the_list_of_this_project_follows_the_rules() -> None:
    assert isinstance(load(EXPECTED), ExpectedFailures)


def test_groups_are_read(tmp_path: Path) -> None:
    more = group(reason="no library", kind="library that cannot be had", tests=[TWO])
    groups = load(written(tmp_path, group(), more)).groups
    assert groups == [
        Group("ties", "bug in the test", (ONE,)),
        Group("no library", "library that cannot be had", (TWO,)),
    ]


def test_an_empty_list_is_the_aim(tmp_path: Path) -> None:
    assert load(written(tmp_path)).groups == []


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"reason": ""}, "reason is '', must say why these tests fail"),
        ({"reason": " "}, "reason is ' ', must say why these tests fail"),
        ({"kind": "flaky"}, f"kind is 'flaky', must be one of {list(KINDS)}"),
        ({"tests": []}, "tests is [], must be a list of names"),
        ({"tests": ONE}, f"tests is {ONE!r}, must be a list of names"),
        ({"tests": ["test_it"]}, "'test_it' is no test, must be like 'test/api/test_api.py::TestApi::test_it'"),
        ({"tests": [7]}, "7 is no test, must be like 'test/api/test_api.py::TestApi::test_it'"),
        ({"resaon": "x"}, "'resaon' is none of ['kind', 'reason', 'tests']"),
    ],
)
def test_a_group_that_breaks_a_rule_is_refused(tmp_path: Path, changes: dict[str, object], message: str) -> None:
    with pytest.raises(ExpectedError) as caught:
        load(written(tmp_path, group(), group(**({"tests": [TWO]} | changes))))
    assert str(caught.value) == f"expected.toml, failures 2: {message}"


def test_a_group_without_a_kind_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ExpectedError, match=r"^expected.toml, failures 1: 'kind' is missing$"):
        load(written(tmp_path, {"reason": "ties", "tests": [ONE]}))


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ("[[failure]]", "expected.toml has 'failure', may have [[failures]] alone"),
        ("failures = 3", "expected.toml: failures must be tables, each under [[failures]]"),
        ("failures = [3]", "expected.toml: failures must be tables, each under [[failures]]"),
        ("failures =", "expected.toml cannot be read: Invalid value (at end of document)"),
    ],
)
def test_a_file_that_breaks_a_rule_is_refused(tmp_path: Path, more: str, message: str) -> None:
    with pytest.raises(ExpectedError) as caught:
        load(written(tmp_path, more=more))
    assert str(caught.value) == message


def test_a_test_may_be_listed_once(tmp_path: Path) -> None:
    with pytest.raises(ExpectedError) as caught:
        load(written(tmp_path, group(), group(reason="other")))
    assert str(caught.value) == f"expected.toml lists {ONE!r} twice, must list it once"


def test_a_pattern_may_not_stand_for_a_test_that_is_listed(tmp_path: Path) -> None:
    pattern = "test/a/x.py::T::two[*]"
    with pytest.raises(ExpectedError) as caught:
        load(written(tmp_path, group(tests=[TWO, pattern])))
    assert str(caught.value) == f"expected.toml lists {TWO!r} twice: {pattern!r} stands for it, too"


@pytest.mark.parametrize("name", [ONE, TWO, "test/a/x.py::T::two[]", "test/a/x.py::T::two[a::b\n]"])
def test_a_listed_test_has_a_reason(name: str) -> None:
    assert LISTED.group_of(name) is TIES


@pytest.mark.parametrize("name", [f"{ONE}s", "test/a/x.py::T::two", "test/a/xxpy::T::two[1]", "test/a/x.py::T::two1"])
def test_brackets_and_dots_stand_for_themselves(name: str) -> None:
    assert LISTED.group_of(name) is None


def test_a_failure_must_be_listed_and_what_is_listed_must_fail() -> None:
    results = [
        Result(ONE, "passed", False),
        Result(TWO, "failed", True, "AssertionError"),
        Result("test/b.py::three", "failed", True, "ValueError: no"),
        Result("test/b.py::four", "failed", False, "ImportError"),
        Result("test/b.py::five", "passed", True),
        Result("test/a/x.py::T::two[skipped]", "skipped", True),
    ]
    assert LISTED.broken(results) == [
        f"unexpected pass: {ONE}, expected to fail: ties (bug in the test); take it off the list",
        "unexpected failure: test/b.py::three: ValueError: no",
    ]


@pytest.mark.parametrize("argument", ["coremltools.test.a", "coremltools.test", "coremltools.test.a.x"])
def test_a_listed_test_must_exist(argument: str) -> None:
    assert LISTED.missing([TWO, "test/a/y.py::T::one"], [argument]) == [ONE]
    assert LISTED.missing([ONE], [argument]) == ["test/a/x.py::T::two[*]"]
    assert LISTED.missing([ONE, TWO], [argument]) == []


@pytest.mark.parametrize(
    "argument", ["coremltools.test.b", "coremltools.tes", "coremltools.test.a.x::T", "test/a", "coremltools.test.a.x.T"]
)
def test_what_was_not_asked_for_is_not_missed(argument: str) -> None:
    assert LISTED.missing([], [argument]) == []


def test_unexpected_failures_are_written_for_a_maintainer_to_fill_in(tmp_path: Path) -> None:
    text = skeleton(
        [
            Result(ONE, "failed", True, "listed"),
            Result("test/b.py::T::q[\"a\\b'é]", "failed", True, "Error: 2 bad\x07"),
            Result("test/b.py::T::r", "failed", True, "Error: 3 bad\x07"),
            Result("test/b.py::T::s", "failed", True, "Other"),
            Result("test/b.py::T::t", "failed", False, "no engine"),
        ],
        LISTED,
    )
    assert text.startswith('# Error: .. bad \n[[failures]]\nreason = ""\n')
    file = tmp_path / "expected.toml"
    file.write_text(text.replace('reason = ""', 'reason = "why"'), encoding="utf-8")
    assert [group.tests for group in load(file).groups] == [
        ("test/b.py::T::q[\"a\\b'é]", "test/b.py::T::r"),
        ("test/b.py::T::s",),
    ]
    file.write_text(text, encoding="utf-8")
    with pytest.raises(ExpectedError, match=r"reason is '', must say why"):
        load(file)
