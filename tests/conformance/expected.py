"""The tests that are known to fail, each with its reason: ``expected_failures.toml``."""

import json
import re
import tomllib
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from tests.conformance.tally import Result, reason_pattern

EXPECTED = Path(__file__).with_name("expected_failures.toml")
KINDS = ("bug in the test", "library that cannot be had", "not supported yet")


class ExpectedError(ValueError):
    """The file of expected failures breaks a rule."""


@dataclass(frozen=True)
class Group:
    """Tests that fail for one reason.

    Attributes:
        reason: Why they fail; a maintainer accepts it.
        kind: One of ``KINDS``.
        tests: Their names. A ``*`` stands for any text, so that one line names all variants of a test.
    """

    reason: str
    kind: str
    tests: tuple[str, ...]

    def __str__(self) -> str:
        return f"{self.reason} ({self.kind})"


class ExpectedFailures:
    """All groups, to be asked about a test."""

    def __init__(self, groups: Sequence[Group]) -> None:
        self.groups = groups
        self._group = {test: group for group in groups for test in group.tests}
        self._patterns = {test: _compile(test) for test in self._group if "*" in test}

    def group_of(self, name: str) -> Group | None:
        """Return the group that lists a test, by its name or by a pattern."""
        patterns = (test for test, pattern in self._patterns.items() if pattern.fullmatch(name))
        return self._group.get(name) or self._group.get(next(patterns, ""))

    def missing(self, collected: Iterable[str], arguments: Iterable[str]) -> list[str]:
        """Return what is listed and not among the collected tests, although its file or package was asked for."""
        names = list(collected)
        scopes = [scope for scope in map(_scope, arguments) if scope is not None]
        listed = [test for test in self._group if any(_inside(test, scope) for scope in scopes)]
        return [test for test in listed if test not in names and not self._matches_any(test, names)]

    def _matches_any(self, test: str, names: Iterable[str]) -> bool:
        pattern = self._patterns.get(test)
        return pattern is not None and any(map(pattern.fullmatch, names))

    def broken(self, results: Iterable[Result]) -> list[str]:
        """Return a line for each test that failed and is not listed, and for each that is listed and passed."""
        return [line for result in sorted(results, key=lambda r: r.name) if (line := self._judge(result)) is not None]

    def _judge(self, result: Result) -> str | None:
        group = self.group_of(result.name)
        if group is None and result.reached and result.outcome == "failed":
            return f"unexpected failure: {result.name}: {result.reason}"
        if group is not None and result.outcome == "passed":
            return f"unexpected pass: {result.name}, expected to fail: {group}; take it off the list"
        return None


def _compile(test: str) -> re.Pattern[str]:
    # Names hold brackets, which fnmatch would take for sets of characters.
    return re.compile(".*".join(map(re.escape, test.split("*"))), re.DOTALL)


def _scope(argument: str) -> str | None:
    """Return the folder or file, without ending, that an argument of pytest names; None if it names less."""
    if "::" in argument or not argument.startswith("coremltools."):
        return None
    return argument.removeprefix("coremltools.").replace(".", "/")


def _inside(test: str, scope: str) -> bool:
    return test.startswith((f"{scope}/", f"{scope}.py::"))


def load(path: Path) -> ExpectedFailures:
    """Read and check a file of expected failures.

    Raises:
        ExpectedError: The file is no TOML, or a group lacks a part, or a test is listed twice.
    """
    try:
        document = tomllib.loads(path.read_text(encoding="utf-8"))
    except tomllib.TOMLDecodeError as error:
        raise ExpectedError(f"{path.name} cannot be read: {error}") from None
    unknown = document.keys() - {"failures"}
    if unknown:
        raise ExpectedError(f"{path.name} has {min(unknown)!r}, may have [[failures]] alone")
    entries = document.get("failures", [])
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        raise ExpectedError(f"{path.name}: failures must be tables, each under [[failures]]")
    groups = [_group(f"{path.name}, failures {number}", entry) for number, entry in enumerate(entries, start=1)]
    _refuse_duplicates(path.name, groups)
    return ExpectedFailures(groups)


def _group(place: str, entry: dict[str, Any]) -> Group:
    wanted = {field.name for field in fields(Group)}
    for key in sorted(entry.keys() ^ wanted):
        raise ExpectedError(f"{place}: {key!r} is {'missing' if key in wanted else f'none of {sorted(wanted)}'}")
    reason, kind, tests = entry["reason"], entry["kind"], entry["tests"]
    if not isinstance(reason, str) or not reason.strip():
        raise ExpectedError(f"{place}: reason is {reason!r}, must say why these tests fail")
    if kind not in KINDS:
        raise ExpectedError(f"{place}: kind is {kind!r}, must be one of {list(KINDS)}")
    if not isinstance(tests, list) or not tests:
        raise ExpectedError(f"{place}: tests is {tests!r}, must be a list of names")
    for test in tests:
        if not isinstance(test, str) or "::" not in test:
            raise ExpectedError(f"{place}: {test!r} is no test, must be like 'test/api/test_api.py::TestApi::test_it'")
    return Group(reason, kind, tuple(tests))


def _refuse_duplicates(file: str, groups: Sequence[Group]) -> None:
    tests = [test for group in groups for test in group.tests]
    for test in tests:
        if tests.count(test) > 1:
            raise ExpectedError(f"{file} lists {test!r} twice, must list it once")
    for pattern in (test for test in tests if "*" in test):
        stands_for = _compile(pattern).fullmatch
        for test in tests:
            if test != pattern and stands_for(test):
                raise ExpectedError(f"{file} lists {test!r} twice: {pattern!r} stands for it, too")


def skeleton(results: Iterable[Result], expected: ExpectedFailures) -> str:
    """Return the unexpected failures as groups to be filled in: one for each error, its reason left empty."""
    by_error: defaultdict[str, list[str]] = defaultdict(list)
    for result in results:
        if result.reached and result.outcome == "failed" and expected.group_of(result.name) is None:
            by_error[reason_pattern(result.reason)].append(result.name)
    groups = sorted(by_error.items(), key=lambda item: (-len(item[1]), item[0]))
    return "\n".join(_skeleton_group(error, sorted(tests)) for error, tests in groups)


def _skeleton_group(error: str, tests: Sequence[str]) -> str:
    comment = "".join(character if character.isprintable() else " " for character in error)
    # JSON's strings are TOML's.
    lines = "".join(f"    {json.dumps(test, ensure_ascii=False)},\n" for test in tests)
    return f'# {comment}\n[[failures]]\nreason = ""\nkind = "{KINDS[-1]}"\ntests = [\n{lines}]\n'
