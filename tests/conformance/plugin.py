"""A pytest plugin that runs coremltools' own test suite on windfall.

The suite ships inside coremltools' wheel; nobody of this project wrote it, and its expected values come from NumPy and
PyTorch. It predicts on a Mac alone, so the plugin installs windfall in the place of Core ML and says that this is a
Mac. ``make conformance`` runs it::

    python -m pytest -p tests.conformance.plugin --pyargs coremltools.test.neural_network

A test counts when it reached windfall: it opened a model or asked for a prediction. ``passing.txt`` lists the tests
that must pass; the run fails when one of them does not.
"""

from collections.abc import Generator
from pathlib import Path

import pytest

import windfall.interop.coremltools
from tests.conformance.proxy import CALLS, CountingProxy
from tests.conformance.tally import Result, short_name, tally

PASSING = Path(__file__).with_name("passing.txt")
_NAME, _REACHED = "name", "reached"


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("conformance")
    group.addoption("--update-passing", action="store_true", help="write the tests that passed to passing.txt")
    group.addoption("--results", type=Path, help="write a line for each test to this file: outcome, name, reason")


def pytest_configure(config: pytest.Config) -> None:
    """Install the engine before any test module is imported, and collect results where they arrive."""
    install()
    if not hasattr(config, "workerinput"):
        config.pluginmanager.register(Collector(config.getoption("--update-passing"), config.getoption("--results")))


def install() -> None:
    """Install windfall as users do, and let everything else in coremltools believe that this is a Mac, too."""
    windfall.interop.coremltools.install(CountingProxy)
    import coremltools._deps
    from coremltools.models import utils

    # Other modules hold this function already: its code is replaced, not its name.
    utils._is_macos.__code__ = (lambda: True).__code__
    coremltools._deps._IS_MACOS = True


def pytest_runtest_setup() -> None:
    CALLS.update(models=0, predictions=0)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Note on each test's report its name and whether it reached windfall; the notes travel between processes."""
    report = yield
    report.user_properties += [(_NAME, short_name(item.path, item.nodeid)), (_REACHED, any(CALLS.values()))]
    return report


class Collector:
    """Gathers the results of all processes and reports at the end."""

    def __init__(self, update: bool, file: Path | None) -> None:
        self.update = update
        self.file = file
        self.results: dict[str, Result] = {}

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.when == "call" or report.outcome != "passed":
            notes = dict(report.user_properties)
            result = Result(str(notes[_NAME]), report.outcome, bool(notes[_REACHED]), _reason(report))
            self.results[result.name] = result

    @pytest.hookimpl(trylast=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        """Fail for the listed tests alone."""
        if session.exitstatus in (pytest.ExitCode.OK, pytest.ExitCode.TESTS_FAILED):
            session.exitstatus = pytest.ExitCode.TESTS_FAILED if self.broken() else pytest.ExitCode.OK

    def broken(self) -> list[str]:
        """Return the tests that ran, must pass and did not."""
        listed = (
            set(PASSING.read_text(encoding="utf-8").splitlines()) if PASSING.exists() and not self.update else set()
        )
        return [r.name for r in self.results.values() if r.outcome == "failed" and r.name in listed]

    @pytest.hookimpl(trylast=True)
    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        write = terminalreporter.write_line
        terminalreporter.section("coremltools' tests on windfall")
        for line in tally(self.results.values()):
            write(line)
        for name in self.broken():
            write(f"must pass, see {PASSING.name}: {name}")
        if self.file is not None:
            lines = [f"{r.outcome}\t{r.name}\t{r.reason}\n" for r in self.results.values() if r.reached]
            self.file.write_text("".join(sorted(lines)), encoding="utf-8")
        if self.update:
            passed = sorted(r.name for r in self.results.values() if r.reached and r.outcome == "passed")
            PASSING.write_text("".join(f"{name}\n" for name in passed), encoding="utf-8")
            write(f"{PASSING.name} has {len(passed)} tests now")


def _reason(report: pytest.TestReport) -> str:
    crash = getattr(report.longrepr, "reprcrash", None)
    message = crash.message if crash is not None else str(report.longrepr or "")
    return message.strip().partition("\n")[0]
