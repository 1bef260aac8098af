"""Count what coremltools' tests did: which reached windfall, which passed, and why the others did not."""

import re
from collections import Counter, defaultdict
from collections.abc import Iterable
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


def short_name(path: Path, node_id: str) -> str:
    """Return a test's name without the place where coremltools is installed.

    >>> short_name(Path("lib/coremltools/test/neural_network/test_model.py"), "test_model.py::MLModelTest::test_save")
    'test/neural_network/test_model.py::MLModelTest::test_save'
    """
    inside = path.parts[path.parts.index("coremltools") + 1 :]
    return "/".join(inside) + node_id[node_id.index("::") :]


def tally(results: Iterable[Result], reasons: int = 25) -> list[str]:
    """Return the lines of the report: a row for each file, a total, and the most frequent reasons of failures."""
    results = list(results)
    by_file: defaultdict[str, list[Result]] = defaultdict(list)
    for result in results:
        by_file[result.file].append(result)
    width = max((len(name) for name in by_file), default=0)
    rows = [_row(name, group, width) for name, group in sorted(by_file.items())]
    why = Counter(_pattern(r.reason) for r in results if r.reached and r.outcome == "failed")
    frequent = [f"{count:6d}  {reason}" for reason, count in why.most_common(reasons)]
    header = f"{'':{width}}  reached  passed  failed    rate  no engine"
    return [header, *rows, _row("total", results, width), "", "why tests that reached windfall failed:", *frequent]


def _row(name: str, results: list[Result], width: int) -> str:
    outcomes = Counter(r.outcome for r in results if r.reached)
    judged = outcomes["passed"] + outcomes["failed"]
    rate = f"{outcomes['passed'] / judged:7.1%}" if judged else "      -"
    unreached = sum(not r.reached for r in results)
    return f"{name:{width}}  {judged:7d} {outcomes['passed']:7d} {outcomes['failed']:7d} {rate} {unreached:10d}"


def _pattern(reason: str) -> str:
    """Return a reason without the names and numbers that differ from test to test."""
    return re.sub(r"\S+\.mlmodel\b|'[^']*'|[-+]?\d[\d.e+-]*", "..", reason)[:160]
