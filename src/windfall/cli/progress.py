"""A progress bar on stderr for what takes long."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)

_PATIENCE = 2.0


class SlowProgress:
    """Shows a bar once some steps have taken over two seconds; only on a terminal.

    Args:
        total: How many steps there are; for a single one there is no bar.
        console: Where it is shown, stderr by default.
        clock: Tells the time in seconds.
    """

    def __init__(self, total: int, console: Console | None = None, clock: Callable[[], float] = time.monotonic) -> None:
        self._total = total
        self._console = console or Console(stderr=True)
        self._clock = clock
        self._start = clock()
        self._done = 0
        self._bar: Progress | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bar is not None:
            self._bar.stop()

    @property
    def shown(self) -> bool:
        """Whether there is a bar."""
        return self._bar is not None

    def advance(self) -> None:
        """Count a step."""
        self._show(self._done + 1)

    def _show(self, done: int) -> None:
        self._done = done
        slow = self._clock() - self._start > _PATIENCE and self._done < self._total
        if self._bar is None and slow and self._console.is_terminal:
            self._bar = self._make()
        if self._bar is not None:
            self._bar.update(self._bar.task_ids[0], completed=self._done, total=self._total)

    @contextmanager
    def aside(self) -> Iterator[None]:
        """Take the bar away while something else is printed."""
        if self._bar is None:
            yield
            return
        self._bar.stop()
        try:
            yield
        finally:
            self._bar.start()

    def _columns(self) -> list[ProgressColumn]:
        return [MofNCompleteColumn()]

    def _make(self) -> Progress:
        # stdout may be a pipe: rich must leave it alone.
        bar = Progress(
            BarColumn(),
            *self._columns(),
            TimeRemainingColumn(),
            console=self._console,
            transient=True,
            redirect_stdout=False,
            redirect_stderr=False,
        )
        bar.add_task("", total=self._total)
        bar.start()
        return bar


class SlowDownload(SlowProgress):
    """Shows how many bytes have arrived once that has taken over two seconds."""

    def __init__(self, console: Console | None = None, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__(0, console, clock)

    def __call__(self, done: int, total: int | None) -> None:
        """Show a state of the download; a whole one needs no bar."""
        self._total = done + 1 if total is None else total
        self._show(done)

    def _columns(self) -> list[ProgressColumn]:
        return [DownloadColumn(), TransferSpeedColumn()]
