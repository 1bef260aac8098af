import io
from collections.abc import Iterator

import pytest
from rich.console import Console

from windfall.cli.progress import SlowDownload, SlowProgress


def progress(total: int, seconds: float, terminal: bool = True) -> tuple[SlowProgress, io.StringIO]:
    """A progress whose every step takes some seconds, and what it writes to."""
    written = io.StringIO()
    console = Console(file=written, force_terminal=terminal, width=80)
    ticks: Iterator[float] = iter(step * seconds for step in range(1000))
    return SlowProgress(total, console, clock=lambda: next(ticks)), written


@pytest.mark.parametrize(
    ("total", "seconds", "terminal", "shown"),
    [(10, 0.1, True, False), (10, 1.0, True, True), (10, 1.0, False, False), (1, 9.0, True, False)],
)
def test_the_bar_is_for_many_slow_steps_on_a_terminal(total: int, seconds: float, terminal: bool, shown: bool) -> None:
    steps, written = progress(total, seconds, terminal)
    with steps:
        for _ in range(min(total, 5)):
            steps.advance()
        assert steps.shown == shown
    assert bool(written.getvalue()) == shown


def test_the_bar_counts_and_steps_aside(capsys: pytest.CaptureFixture[str]) -> None:
    steps, written = progress(9, 3.0)
    with steps:
        for _ in range(4):
            steps.advance()
            with steps.aside():
                print("result")  # noqa: T201  # what a prediction prints
    assert "4/9" in written.getvalue()
    assert "result" not in written.getvalue()
    assert capsys.readouterr().out == "result\n" * 4


@pytest.mark.parametrize("total", [2_000_000, None])
def test_the_bar_of_a_download_shows_bytes(total: int | None) -> None:
    written = io.StringIO()
    console = Console(file=written, force_terminal=True, width=80)
    ticks: Iterator[float] = iter(range(100))
    with SlowDownload(console, clock=lambda: next(ticks)) as shown:
        shown(0, total)
        assert not shown.shown
        shown(500_000, total)
        shown(1_000_000, total)
        assert shown.shown
        shown(2_000_000, total)
    assert "2.0/2.0 MB" in written.getvalue()


def test_a_download_that_is_there_at_once_has_no_bar() -> None:
    written = io.StringIO()
    console = Console(file=written, force_terminal=True, width=80)
    ticks: Iterator[float] = iter([0.0, 9.0])
    with SlowDownload(console, clock=lambda: next(ticks)) as shown:
        shown(10, 10)
    assert written.getvalue() == ""
