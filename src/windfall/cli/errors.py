"""Errors as the command line shows them: one line, no traceback unless it is asked for."""

from collections.abc import Callable
from typing import TypeVar

import click

from windfall.errors import WindfallError
from windfall.text import safe

_DEBUG = "windfall.debug"
_Function = TypeVar("_Function", bound=Callable[..., object])


def message(error: Exception) -> str:
    """Return an error's text on one line; for one that nobody expected, what to do about it."""
    text = " ".join(safe(error).split("\n"))
    if isinstance(error, WindfallError):
        return text
    name = type(error).__name__
    return f"unexpected {name}{f': {text}' if text else ''}; this is a bug, run again with --debug to see where it is"


def print_error(error: Exception) -> None:
    """Write an error to stderr."""
    click.secho("Error: ", err=True, nl=False, fg="red", bold=True)
    click.echo(message(error), err=True)


def debug_option(function: _Function) -> _Function:
    """Add ``--debug`` to a command; it may stand before and after the subcommand."""
    return click.option(
        "--debug",
        is_flag=True,
        expose_value=False,
        is_eager=True,
        callback=_remember,
        help="Show where an error comes from.",
    )(function)


def _remember(ctx: click.Context, _parameter: click.Parameter, value: bool) -> None:
    if value:
        ctx.meta[_DEBUG] = True


def debugging(ctx: click.Context) -> bool:
    """Whether ``--debug`` was given."""
    return bool(ctx.meta.get(_DEBUG))
