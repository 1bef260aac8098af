"""A pytest plugin that judges a run of coremltools' own test suite.

A test counts when it reached windfall: it opened a model or asked for a prediction. The run fails when such a test
fails and ``expected_failures.toml`` does not list it, and when one passes that is listed. A run of some tests judges
those alone.
"""

import argparse
import re
import zlib
from collections.abc import Generator
from pathlib import Path
from typing import Any

import pytest

from tests.conformance.calls import CALLS
from tests.conformance.expected import EXPECTED, ExpectedError, ExpectedFailures, load, skeleton
from tests.conformance.tally import Result, pass_rate, short_name, tally

_NAME, _REACHED, _MISSING = "name", "reached", "missing"


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("conformance")
    group.addoption("--sample", type=_positive, default=1, metavar="N", help="run 1 in N of the tests, always the same")
    group.addoption("--files", action="store_true", help="a row of the report for each file, not for each package")
    group.addoption("--results", type=Path, help="write a line for each test to this file: outcome, name, reason")
    group.addoption("--expected", type=Path, default=EXPECTED, help="the tests that fail and why, a TOML file")
    group.addoption(
        "--update-expected",
        type=Path,
        metavar="FILE",
        help="write unexpected failures to FILE, reasons to be filled in",
    )


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"is {number}, must be 1 or more")
    return number


def pytest_configure(config: pytest.Config) -> None:
    """Judge where the tests are selected, which with xdist is in the workers, and where results arrive."""
    try:
        expected = load(config.getoption("--expected"))
    except (ExpectedError, OSError) as error:
        raise pytest.UsageError(str(error)) from None
    output = getattr(config, "workeroutput", {})
    config.pluginmanager.register(Selection(expected, output))
    if not hasattr(config, "workerinput"):
        config.pluginmanager.register(Collector(config, expected, output))


def pytest_runtest_setup() -> None:
    CALLS.update(models=0, predictions=0)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Note on each test's report its name and whether it reached windfall; the notes travel between processes."""
    report = yield
    report.user_properties += [(_NAME, _name(item)), (_REACHED, any(CALLS.values()))]
    return report


def _name(item: pytest.Item) -> str:
    return short_name(item.path, item.nodeid)


class Selection:
    """Looks whether all tests that are listed exist, and takes the sample."""

    def __init__(self, expected: ExpectedFailures, output: dict[str, Any]) -> None:
        self.expected = expected
        self.output = output

    @pytest.hookimpl(tryfirst=True)
    def pytest_collection_modifyitems(self, config: pytest.Config, items: list[pytest.Item]) -> None:
        names = {item: _name(item) for item in items}
        self.output[_MISSING] = self.expected.missing(names.values(), config.args)
        one_in = config.getoption("--sample")
        config.hook.pytest_deselected(items=[item for item in items if not in_sample(names[item], one_in)])
        items[:] = [item for item in items if in_sample(names[item], one_in)]


def in_sample(name: str, one_in: int) -> bool:
    """Tell whether a test belongs to the fixed sample of 1 in so many."""
    return zlib.crc32(name.encode()) % one_in == 0


class Collector:
    """Gathers the results of all processes and reports at the end."""

    def __init__(self, config: pytest.Config, expected: ExpectedFailures, output: dict[str, Any]) -> None:
        self.config = config
        self.expected = expected
        self.output = output
        self.selected: set[str] = set()
        self.ran: set[str] = set()
        self.results: dict[str, Result] = {}

    def pytest_collection_finish(self, session: pytest.Session) -> None:
        self.selected.update(item.nodeid for item in session.items)

    @pytest.hookimpl(optionalhook=True)
    def pytest_xdist_node_collection_finished(self, node: Any, ids: list[str]) -> None:
        self.selected.update(ids)

    @pytest.hookimpl(optionalhook=True)
    def pytest_testnodedown(self, node: Any, error: object) -> None:
        # A worker that crashed has no output.
        self.output.update(getattr(node, "workeroutput", {}))

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        self.ran.add(report.nodeid)
        if report.when == "call" or report.outcome != "passed":
            result = _result(report)
            before = self.results.get(result.name)
            # A test has several reports if it fails in parts; one failure is enough.
            if before is None or before.outcome != "failed":
                self.results[result.name] = result

    @pytest.hookimpl(trylast=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        """Fail for what is not as expected alone."""
        judged = session.exitstatus in (pytest.ExitCode.OK, pytest.ExitCode.TESTS_FAILED)
        if judged and not self.config.option.collectonly:
            session.exitstatus = pytest.ExitCode.TESTS_FAILED if self.broken() else pytest.ExitCode.OK

    def broken(self) -> list[str]:
        """Return a line for everything that is not as expected."""
        lines = self.expected.broken(self.results.values())
        lines += [f"listed in {EXPECTED.name}, but not there: {test}" for test in self.output.get(_MISSING, [])]
        left = sorted(self.selected - self.ran)
        lines += [f"{len(left)} of {len(self.selected)} tests did not run, the first is {left[0]}"] if left else []
        if not any(result.reached for result in self.results.values()):
            lines.append("no test reached windfall, so nothing is known")
        return lines

    @pytest.hookimpl(trylast=True)
    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        if self.config.option.collectonly:
            return
        results = self.results.values()
        terminalreporter.section("coremltools' tests on windfall")
        lines = tally(results, self.expected.group_of, by_file=self.config.getoption("--files"))
        for line in [*lines, "", *self.broken(), pass_rate(results)]:
            terminalreporter.write_line(line)
        self._write_files()

    def _write_files(self) -> None:
        file, update = self.config.getoption("--results"), self.config.getoption("--update-expected")
        if file is not None:
            lines = [f"{r.outcome}\t{r.name}\t{r.reason}\n" for r in self.results.values() if r.reached]
            file.write_text("".join(sorted(lines)), encoding="utf-8")
        if update is not None:
            update.write_text(skeleton(self.results.values(), self.expected), encoding="utf-8")


def _result(report: pytest.TestReport) -> Result:
    notes = dict(report.user_properties)
    # A test that ended its process, which native code alone does, comes without notes.
    name = str(notes.get(_NAME) or re.sub(r"^([^:]*/)?coremltools/", "", report.nodeid))
    return Result(name, report.outcome, bool(notes.get(_REACHED, True)), _reason(report))


def _reason(report: pytest.TestReport) -> str:
    crash = getattr(report.longrepr, "reprcrash", None)
    message = crash.message if crash is not None else str(report.longrepr or "")
    return message.strip().partition("\n")[0]
