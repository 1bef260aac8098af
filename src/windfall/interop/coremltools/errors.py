"""Errors as coremltools expects them from Core ML."""

from collections.abc import Iterator
from contextlib import contextmanager

from windfall.errors import EngineError, WindfallError


@contextmanager
def as_runtime_errors() -> Iterator[None]:
    """Turn windfall's errors into RuntimeErrors of the same text: coremltools handles those alone."""
    try:
        yield
    except WindfallError as error:
        raise RuntimeError(str(error)) from error


@contextmanager
def as_failed_predictions(of_program: bool) -> Iterator[None]:
    """Turn windfall's errors into RuntimeErrors; what fails while an ML program runs starts as Core ML's text does.

    Args:
        of_program: Whether it is an ML program.
    """
    try:
        yield
    except EngineError as error:
        start = "Unable to compute the prediction using ML Program: " if of_program else ""
        raise RuntimeError(f"{start}{error}") from error
    except WindfallError as error:
        raise RuntimeError(str(error)) from error
