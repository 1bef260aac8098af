"""Contestants that take turns: each in a process of its own, as threads that wait would slow the others down."""

import os
import statistics
import subprocess
import threading
import time
from collections.abc import Hashable, Mapping, Sequence
from compileall import compile_dir
from typing import TypeVar

import windfall

Figures = dict[str, list[float]]
Name = TypeVar("Name", bound=Hashable)


class Server:
    """A contestant that stays warm; ``about`` is the first line that it printed.

    It answers a line ``N`` with the median milliseconds of N predictions: see ``serve`` in ``contestant.py``. One that
    is not ready after ``patience`` seconds is stopped.
    """

    def __init__(
        self, arguments: Sequence[str], environment: Mapping[str, str] | None = None, patience: float = 600
    ) -> None:
        self.process = subprocess.Popen(
            arguments, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
        )
        waiting = threading.Timer(patience, self.process.kill)
        waiting.start()
        try:
            self.about = self._answer().strip()
        finally:
            waiting.cancel()

    def _answer(self) -> str:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            raise SystemExit("a contestant stopped")
        return line

    def ask(self, command: str) -> str:
        assert self.process.stdin is not None
        self.process.stdin.write(f"{command}\n")
        self.process.stdin.flush()
        return self._answer()

    def time(self, runs: int) -> float:
        return float(self.ask(str(runs)))

    def close(self) -> None:
        self.process.communicate()


def in_turns(servers: Mapping[Name, Server], rounds: int, runs: int, pause: float = 0.0) -> dict[Name, list[float]]:
    """Ask every server once a round, forwards and backwards in turn, and close them; returns milliseconds.

    Threads of some libraries wait for work by spinning for up to 0.2 s after a run; ``pause`` is in seconds.
    """
    times: dict[Name, list[float]] = {name: [] for name in servers}
    for turn in range(rounds):
        for name in list(servers)[:: 1 if turn % 2 else -1]:
            time.sleep(pause)
            times[name].append(servers[name].time(runs))
    for server in servers.values():
        server.close()
    return times


def ratio(times: Sequence[float], base: Sequence[float]) -> float:
    """The median of time / base of neighbouring rounds: above 1 where the base is faster."""
    return statistics.median(one / other for one, other in zip(times, base, strict=True))


def starts(commands: Mapping[str, Sequence[str]], rounds: int, cache: str) -> tuple[Figures, Figures]:
    """Milliseconds of a whole process and its peak memory in MB, in turns; the first round is left out.

    ``cache`` is the folder of windfall's compiled graphs, or "off"; the first round fills it.
    """
    times: Figures = {name: [] for name in commands}
    memory: Figures = {name: [] for name in commands}
    environment = os.environ | {"WINDFALL_CACHE": cache}
    # What pip installs has bytecode, as all peers have; a checkout need not.
    for folder in windfall.__path__:
        compile_dir(folder, quiet=1)
    for turn in range(rounds + 1):
        for name in list(commands)[:: 1 if turn % 2 else -1]:
            start = time.perf_counter()
            process = subprocess.Popen(commands[name], env=environment, stdout=subprocess.DEVNULL)
            _, status, usage = os.wait4(process.pid, 0)
            process.returncode = os.waitstatus_to_exitcode(status)
            if process.returncode:
                raise SystemExit("a contestant stopped")
            if turn:
                times[name].append((time.perf_counter() - start) * 1000)
                memory[name].append(usage.ru_maxrss / 1024)
    return times, memory
