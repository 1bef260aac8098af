"""The command ``windfall`` and its subcommands.

Only click is imported here and at the top of the subcommands' files, so that ``windfall --help`` is instant.
"""

import io
import sys
from importlib import import_module

import click

import windfall
from windfall.cli.errors import debug_option, debugging, print_error

COMMANDS = {
    "predict": "windfall.cli.predict",
    "batch": "windfall.cli.batch",
    "inspect": "windfall.cli.inspect",
    "profile": "windfall.cli.profile",
    "quantize": "windfall.cli.quantize",
    "shrink": "windfall.cli.shrink",
    "compare": "windfall.cli.compare",
    "shapes": "windfall.cli.shapes",
    "fetch": "windfall.cli.fetch",
    "compile": "windfall.cli.compile",
    "cache": "windfall.cli.cache",
}
"""The subcommands in the order of the help, each with the module that has a command of its name."""

_INTERRUPTED = 130  # what shells give for a process ended by Ctrl-C: 128 + SIGINT


class Commands(click.Group):
    """The subcommands, imported when they are needed; the one place where errors become messages."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002  # click's signature
        """Name the subcommands."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002  # click's signature
        """Import a subcommand."""
        if cmd_name not in COMMANDS:
            return None
        command = getattr(import_module(COMMANDS[cmd_name]), cmd_name)
        assert isinstance(command, click.Command)
        return command

    def invoke(self, ctx: click.Context) -> object:
        """Run a subcommand; its errors become one line on stderr and exit status 1."""
        try:
            result = super().invoke(ctx)
            sys.stdout.flush()  # a reader that went away is noticed here and not at exit
        except (click.ClickException, click.exceptions.Exit, click.Abort, BrokenPipeError):
            raise  # click turns these into an exit status itself
        except KeyboardInterrupt:
            ctx.exit(_INTERRUPTED)
        except Exception as error:
            if debugging(ctx):
                raise
            print_error(error)
            ctx.exit(1)
        return result


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(windfall.__version__, message="%(prog)s %(version)s", prog_name="windfall")
@debug_option
def cli() -> None:
    """Run, inspect, shrink and compare Core ML models on any platform.

    \b
    Examples:
      windfall inspect mobilenet.mlmodel
      windfall predict mobilenet.mlmodel cat.jpg
      windfall quantize mobilenet.mlmodel small.mlmodel --bits 4 --mode kmeans
      windfall compare mobilenet.mlmodel small.mlmodel photos
    """  # noqa: D301  # click's mark for lines to keep is a real backspace


def main() -> None:
    """Run the command and exit with its status: 0, 1 for an error, 2 for wrong usage, 130 for Ctrl-C."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            # A terminal or pipe that lacks a character shows "?" for it, instead of ending the program.
            stream.reconfigure(errors="replace")
    try:
        cli(prog_name="windfall")
    except KeyboardInterrupt:
        sys.exit(_INTERRUPTED)
