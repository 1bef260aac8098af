import os
import subprocess
import sys
from pathlib import Path

import click
import pytest

import windfall
from tests.cli.conftest import Run, runner
from windfall.cli import errors
from windfall.cli.main import COMMANDS, Commands, cli, main

HEAVY = {"numpy", "onnx", "onnx_ir", "onnxruntime", "PIL", "rich", "google", "coremltools"}


def python(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run Python in the current folder, with windfall from where this process has it."""
    environment = os.environ | {"PYTHONPATH": str(Path(windfall.__file__).parents[1])}
    command = [sys.executable, *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False, env=environment)  # noqa: S603  # our own


def raising(error: BaseException, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let ``windfall inspect`` fail."""

    def fail(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr(windfall, "load", fail)


def test_the_module_is_the_command(folder: Path) -> None:
    result = python("-m", "windfall", "inspect", "style.mlmodel")
    assert result.stderr == ""
    assert result.returncode == 0
    assert "Neural network" in result.stdout
    assert "Image (RGB 16" in result.stdout


def test_the_module_fails_with_one_line(folder: Path) -> None:
    result = python("-m", "windfall", "inspect", "none.mlmodel")
    assert result.stderr == "Error: cannot open none.mlmodel: No such file or directory; check the path\n"
    assert result.stdout == ""
    assert result.returncode == 1


@pytest.mark.parametrize("arguments", ["--help", *(f"{name} --help" for name in COMMANDS)])
def test_help_imports_nothing_heavy(arguments: str) -> None:
    code = (
        "import sys\nfrom windfall.cli.main import cli\n"
        f"cli({arguments.split()!r}, standalone_mode=False)\n"
        f"print('loaded:', sorted({HEAVY!r} & set(sys.modules)))"
    )
    assert python("-c", code).stdout.splitlines()[-1] == "loaded: []"


def test_the_version(run: Run) -> None:
    assert run("--version").output == f"windfall {windfall.__version__}\n"


def test_no_command_shows_the_help(run: Run) -> None:
    assert "Commands:" in run().output


def test_every_command_is_listed_with_a_summary(run: Run) -> None:
    lines = run("--help").output.partition("Commands:")[2].split("\n")
    summaries = dict(line.split(None, 1) for line in lines if line.strip())
    assert summaries.keys() == COMMANDS.keys()


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_help_with_an_example(name: str, run: Run) -> None:
    output = run(name, "--help").output
    assert f"\n    windfall {name} " in output
    assert "--debug" in output
    assert max(map(len, output.splitlines())) <= 80


@pytest.mark.parametrize("name", COMMANDS)
def test_every_option_has_help(name: str) -> None:
    command = cli.get_command(click.Context(cli), name)
    assert command is not None
    assert command.help
    assert all(option.help for option in command.params if isinstance(option, click.Option))


def test_an_unknown_command_is_wrong_usage(run: Run) -> None:
    result = run("predit")
    assert result.exit_code == 2
    assert "No such command 'predit'" in result.stderr


@pytest.mark.parametrize(
    "arguments", [("--debug", "inspect", "x"), ("inspect", "--debug", "x"), ("inspect", "x", "--debug")]
)
def test_debug_shows_the_traceback(arguments: tuple[str, ...], run: Run) -> None:
    result = run(*arguments)
    assert isinstance(result.exception, windfall.FormatError)
    assert result.stderr == ""


def test_a_bug_is_one_line_with_a_hint(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    raising(ZeroDivisionError("division\nby zero"), monkeypatch)
    result = run("inspect", "style.mlmodel")
    assert result.exit_code == 1
    assert result.stderr == (
        "Error: unexpected ZeroDivisionError: division by zero; "
        "this is a bug, run again with --debug to see where it is\n"
    )
    raising(MemoryError(), monkeypatch)
    assert run("inspect", "style.mlmodel").stderr.startswith("Error: unexpected MemoryError; this is a bug")


def test_an_error_cannot_control_the_terminal(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    raising(windfall.FormatError("layer '\x1b[2J'"), monkeypatch)
    assert run("inspect", "style.mlmodel").stderr == "Error: layer '\N{REPLACEMENT CHARACTER}[2J'\n"


def test_ctrl_c_ends_with_130(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    raising(KeyboardInterrupt(), monkeypatch)
    result = run("inspect", "style.mlmodel")
    assert result.exit_code == 130
    assert result.output == ""


def test_ctrl_c_outside_a_command_ends_with_130(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(Commands, "main", interrupted)
    with pytest.raises(SystemExit) as exit_:
        main()
    assert exit_.value.code == 130


def test_a_reader_that_went_away_is_no_error(folder: Path) -> None:
    code = (
        "import os, sys\n"
        "read, write = os.pipe()\n"
        "os.close(read)\n"
        "os.dup2(write, 1)\n"
        "sys.argv = ['windfall', 'inspect', 'style.mlmodel', '--json']\n"
        "from windfall.cli.main import main\n"
        "main()\n"
    )
    result = python("-c", code)
    assert result.stderr == ""
    assert result.returncode == 1


@pytest.mark.parametrize("encoding", ["ascii", "iso8859-5"])
def test_a_terminal_without_unicode_gets_ascii(encoding: str, folder: Path) -> None:
    inspected = runner(encoding).invoke(cli, ["inspect", "style.mlmodel", "--layers"])
    assert "Image (RGB 16 x 8)" in inspected.stdout_bytes.decode("ascii")
    assert "photo > styled" in inspected.stdout_bytes.decode("ascii")
    predicted = runner(encoding).invoke(cli, ["predict", "classify.mlmodel", "x0=[0.25, 0.5, 0.25]"])
    assert f"dog  {12 * '#'}  50.0 %" in predicted.stdout_bytes.decode("ascii")


def test_a_character_that_the_encoding_lacks_is_no_error(folder: Path) -> None:
    code = (
        "import sys\n"
        "sys.stdout.reconfigure(encoding='iso8859-1')\n"
        "import windfall\n"
        "from windfall.cli.main import main\n"
        "main()\n"
    )
    (folder / "模型.mlmodel").write_bytes((folder / "style.mlmodel").read_bytes())
    result = python("-c", code, "inspect", "模型.mlmodel")
    assert result.stderr == ""
    assert result.stdout.startswith("??.mlmodel")


def test_an_error_is_named_by_its_type_alone_where_it_has_no_text() -> None:
    assert errors.message(KeyError()).startswith("unexpected KeyError; this is a bug")
    assert errors.message(windfall.FeatureError("one\ntwo")) == "one two"


def test_the_runner_and_the_script_are_the_same_command() -> None:
    assert runner().invoke(cli, ["--version"]).output == python("-m", "windfall", "--version").stdout
