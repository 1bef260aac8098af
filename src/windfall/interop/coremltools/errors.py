"""Errors as coremltools expects them from Core ML."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import NoReturn

from windfall.errors import WindfallError


@contextmanager
def as_runtime_errors() -> Iterator[None]:
    """Turn windfall's errors into RuntimeErrors of the same text: coremltools handles those alone."""
    try:
        yield
    except WindfallError as error:
        raise RuntimeError(str(error)) from error


def refuse(text: str) -> NoReturn:
    """Raise for what windfall does not have; the text says what, and the way out."""
    raise RuntimeError(text)
