"""Run a function over items in threads: in order, a bounded number of them at once."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from typing import Generic, TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")
Other = TypeVar("Other")


class Source(Generic[Item]):
    """Items that are asked for as they are needed, in the thread of whoever asks.

    Attributes:
        error: What the iterable raised; it has ended then.
        taken: How many items were taken so far.
        is_over: Whether it is known that there are no more.
    """

    def __init__(self, items: Iterable[Item]) -> None:
        self._items = iter(items)
        self.error: Exception | None = None
        self.taken = 0
        self.is_over = False

    def take(self, count: int) -> list[Item]:
        """Return the next items, fewer at the end."""
        found: list[Item] = []
        try:
            for item in islice(self._items, count):
                found.append(item)  # noqa: PERF402  # what came before an error stays
        except Exception as error:  # noqa: BLE001  # it is raised behind the results of what came before it
            self.error = error
            self._items = iter(())
        self.taken += len(found)
        self.is_over = len(found) < count
        return found

    def next(self) -> Item | None:
        """Return the next item, None at the end."""
        try:
            found = next(self._items)
        except StopIteration:
            self.is_over = True
            return None
        except Exception as error:  # noqa: BLE001  # as above
            self.error = error
            self._items = iter(())
            self.is_over = True
            return None
        self.taken += 1
        return found


class Flow(Generic[Item, Result]):
    """Runs a function over parts of a source in threads of its own; they end with ``close``.

    Args:
        function: Returns the results of some items; must not raise.
        source: The items.
        threads: How many there may be for them.
    """

    def __init__(self, function: Callable[[list[Item]], Result], source: Source[Item], threads: int) -> None:
        self._function = function
        self._source = source
        self._pool = ThreadPoolExecutor(threads + 1, "windfall-batch")
        self._waiting: deque[Future[Result]] = deque()

    def submit(self, function: Callable[[], Other]) -> Future[Other]:
        """Run something else beside the items."""
        return self._pool.submit(function)

    def run(self, workers: int, size: int, until: Callable[[], bool]) -> Iterator[Result]:
        """Yield the results of the parts in order.

        Args:
            workers: How many parts are worked on at once; as many more may be ready or wait.
            size: Items of a part.
            until: Whether to begin no further part; those begun are finished.
        """
        is_over = False
        while True:
            while not is_over and len(self._waiting) < 2 * workers:
                if len(self._waiting) >= workers and self._waiting[0].done():
                    break
                is_over = until() or not self._begin(size)
            if not self._waiting:
                return
            yield self._waiting.popleft().result()

    def _begin(self, size: int) -> bool:
        part = self._source.take(size)
        if part:
            self._waiting.append(self._pool.submit(self._function, part))
        return bool(part)

    def close(self) -> None:
        """Drop what has not begun, wait for what has, and end the threads."""
        self._pool.shutdown(wait=True, cancel_futures=True)
        self._waiting.clear()
