"""Count what coremltools' tests did: which reached windfall, which passed, and why the others did not."""

import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Result:
    """What became of one test.

    Attributes:
        name: The test, ``test/neural_network/test_model.py::MLModelTest::test_predict_api``.
        outcome: ``passed``, ``failed`` or ``skipped``.
        reached: It opened a model or asked for a prediction, so that its outcome says something about windfall.
        reason: The error's first line.
    """

    name: str
    outcome: str
    reached: bool
    reason: str = ""

    @property
    def file(self) -> str:
        """The test's file."""
        return self.name.split("::", maxsplit=1)[0]

    @property
    def package(self) -> str:
        """The file's folder; those inside a folder ``tests`` count as one.

        >>> Result("converters/mil/mil/ops/tests/iOS17/test_conv.py::test_it", "passed", True).package
        'converters/mil/mil/ops/tests'
        """
        return re.sub(r"/tests/.*", "/tests", self.file.rpartition("/")[0])


def short_name(path: Path, node_id: str) -> str:
    """Return a test's name without the place where coremltools is installed.

    >>> short_name(Path("lib/coremltools/test/neural_network/test_model.py"), "test_model.py::MLModelTest::test_save")
    'test/neural_network/test_model.py::MLModelTest::test_save'
    """
    places = [index for index, part in enumerate(path.parts) if part == "coremltools"]
    return "/".join(path.parts[places[-1] + 1 :]) + node_id[node_id.index("::") :]


def reason_pattern(reason: str) -> str:
    """Return a reason without the names and numbers that differ from test to test."""
    return re.sub(r"\S+\.(mlmodel|mlpackage|mlmodelc)\b|'[^']*'|[-+]?\d[\d.e+-]*", "..", reason)[:160]


def tally(
    results: Iterable[Result], expected_for: Callable[[str], object | None], by_file: bool = False, reasons: int = 25
) -> list[str]:
    """Return the lines of the report: a table, why tests were expected to fail, and why others failed.

    Args:
        results: What became of the tests.
        expected_for: Gives the reason for which a test is expected to fail, None if it is not.
        by_file: A row for each file, not for each package.
        reasons: How many reasons of unexpected failures to show, the most frequent first.
    """
    results = list(results)
    failed = [r for r in results if r.reached and r.outcome == "failed"]
    listed = {r.name: str(reason) for r in failed if (reason := expected_for(r.name)) is not None}
    unlisted = [reason_pattern(r.reason) for r in failed if r.name not in listed]
    return [
        *_table(results, listed.keys(), by_file),
        *_frequent("expected failures:", listed.values(), len(listed)),
        *_frequent("unexpected failures:", unlisted, reasons),
    ]


def pass_rate(results: Iterable[Result]) -> str:
    """Return the line that sums it up."""
    outcomes = Counter(r.outcome for r in results if r.reached)
    judged = outcomes["passed"] + outcomes["failed"]
    rate = f", {outcomes['passed'] / judged:.1%}" if judged else ""
    return f"{outcomes['passed']} of {judged} tests that reached windfall passed{rate}"


def _frequent(title: str, reasons: Iterable[str], limit: int) -> list[str]:
    counts = Counter(reasons)
    return ["", title, *(f"{count:6d}  {reason}" for reason, count in counts.most_common(limit))] if counts else []


def _table(results: Sequence[Result], listed: Iterable[str], by_file: bool) -> list[str]:
    listed = frozenset(listed)
    rows: defaultdict[str, list[Result]] = defaultdict(list)
    for result in results:
        rows[result.file if by_file else result.package].append(result)
    width = max(map(len, ["total", *rows]))
    header = f"{'':{width}}  reached  passed  failed  expected    rate  no engine"
    return [
        header,
        *(_row(name, group, listed, width) for name, group in sorted(rows.items())),
        _row("total", results, listed, width),
    ]


def _row(name: str, results: Sequence[Result], listed: frozenset[str], width: int) -> str:
    outcomes = Counter(r.outcome for r in results if r.reached)
    judged = outcomes["passed"] + outcomes["failed"]
    rate = f"{outcomes['passed'] / judged:7.1%}" if judged else "      -"
    expected = sum(r.name in listed for r in results)
    counts = f"{judged:7d} {outcomes['passed']:7d} {outcomes['failed']:7d} {expected:9d}"
    return f"{name:{width}}  {counts} {rate} {sum(not r.reached for r in results):10d}"
