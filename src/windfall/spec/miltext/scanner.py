"""Walk over a text of a stranger, token by token; what is not expected becomes one error that says where it stands."""

import re
from collections.abc import Iterator
from contextlib import contextmanager

from windfall.errors import FormatError
from windfall.spec.openfile import shown
from windfall.text import safe

AGAIN = "compile the model again"
MOST_PARTS = 2_000_000
"""Operations and values within values in one program; each takes hundreds of bytes, however short its text is."""
# protobuf reads messages that lie at most 100 deep in each other; ten are around and inside what is counted.
_DEEPEST = 88
_FOUND = re.compile(r'\s*+([\w@.]++|"[^"\n]{0,40}+"?|->|.|)', re.DOTALL)
_SPACE = re.compile(r"\s*+")
_MOST_SHOWN = 40


def token(pattern: str) -> re.Pattern[str]:
    """Return a pattern for ``Scanner``: white space may stand before it."""
    return re.compile(rf"\s*+{pattern}")


class Scanner:
    """A text and the place reached in it.

    Attributes:
        position: Where the next token starts, or the white space before it.
    """

    def __init__(self, text: str, name: str) -> None:
        self.position = 0
        self._text = text
        self._name = name
        self._depth = 0
        self._parts = 0

    def accept(self, pattern: re.Pattern[str]) -> re.Match[str] | None:
        """Step over a token if it stands here."""
        found = pattern.match(self._text, self.position)
        if found is not None:
            self.position = found.end()
        return found

    def take(self, pattern: re.Pattern[str], expected: str) -> re.Match[str]:
        """Step over a token, which must stand here.

        Raises:
            FormatError: It does not.
        """
        found = pattern.match(self._text, self.position)
        if found is None:
            raise self.error(expected)
        self.position = found.end()
        return found

    def take_until(self, pattern: re.Pattern[str], expected: str) -> str:
        """Step over the text up to and with the next match of a pattern, and return it.

        Raises:
            FormatError: There is none.
        """
        found = pattern.search(self._text, self.position)
        if found is None:
            raise self.error(expected)
        passed = self._text[self.position : found.end()]
        self.position = found.end()
        return passed

    def error(self, expected: str, at: int | None = None) -> FormatError:
        """Return the error of what stands here, or at another place."""
        found = _FOUND.match(self._text, self.position if at is None else at)
        assert found is not None
        what = found[1] if len(found[1]) <= _MOST_SHOWN else f"{found[1][:_MOST_SHOWN]}..."
        return self.rule(f"found {shown(safe(what)) if what else 'the end'}, must be {expected}", found.start(1))

    def rule(self, message: str, at: int | None = None) -> FormatError:
        """Return the error of a rule that is broken here, or at another place."""
        return FormatError(f"{self.place(at)}: {message}; {AGAIN}")

    def place(self, at: int | None = None) -> str:
        """Return the name of the text, and the line and column of what stands here, or at another place."""
        space = _SPACE.match(self._text, self.position if at is None else at)
        assert space is not None
        line = self._text.count("\n", 0, space.end()) + 1
        column = space.end() - self._text.rfind("\n", 0, space.end())
        return f"{self._name}:{line}:{column}"

    def count_part(self) -> None:
        """Count one more operation or value within a value.

        Raises:
            FormatError: There are too many.
        """
        self._parts += 1
        if self._parts > MOST_PARTS:
            raise self.rule(f"the program has more than {MOST_PARTS:,} operations and values, the most there may be")

    @contextmanager
    def deeper(self, messages: int) -> Iterator[None]:
        """Step into what becomes that many messages, each inside the one before.

        Raises:
            FormatError: Too many lie in each other.
        """
        self._depth += messages
        if self._depth > _DEEPEST:
            raise self.rule("too many brackets lie in each other")
        yield
        self._depth -= messages
