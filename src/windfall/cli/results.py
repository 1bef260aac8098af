"""What a prediction gives, as text, as JSON and as files."""

import io
import json
import math
import re
from collections.abc import Callable, Iterator, Mapping
from collections.abc import Set as AbstractSet
from pathlib import Path
from typing import Any

import click
import numpy as np
from numpy.typing import NDArray
from PIL import Image
from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from windfall.cli.inputs import Case
from windfall.cli.printing import ascii_only, print_table
from windfall.description.report import shown
from windfall.errors import WindfallError
from windfall.spec.writing import write_file

_LARGEST_PRINTED = 1000
_FIRST_VALUES = 6
_BAR_WIDTH = 24
_WIDEST_NAME = 24
_EIGHTHS = " ▏▎▍▌▋▊▉"


class ResultWriter:
    """Writes pictures and arrays to files.

    Args:
        folder: Where they go, None for pictures to the current folder and arrays nowhere.
        inputs: Full paths that must not be overwritten; the set may grow meanwhile.
    """

    def __init__(self, folder: Path | None, inputs: AbstractSet[Path]) -> None:
        self._folder = folder
        self._inputs = inputs
        self._used: set[str] = set()

    def picture(self, picture: Image.Image, stem: str, output: str) -> Path:
        """Write a picture: PNG, or TIFF where the pixels are floating point, which PNG has not."""
        suffix, kind = (".tiff", "TIFF") if picture.mode == "F" else (".png", "PNG")
        buffer = io.BytesIO()
        picture.save(buffer, kind)
        return self._write(f"{stem}_{output}", suffix, buffer.getvalue())

    def array(self, array: NDArray[Any], stem: str, output: str) -> Path | None:
        """Write an array if there is a folder for it."""
        if self._folder is None:
            return None
        buffer = io.BytesIO()
        np.save(buffer, array, allow_pickle=False)
        return self._write(f"{stem}_{output}", ".npy", buffer.getvalue())

    def _write(self, name: str, suffix: str, data: bytes) -> Path:
        folder = self._folder or Path()
        path = folder / f"{self._unused(name, suffix)}{suffix}"
        if path.resolve() in self._inputs:
            raise WindfallError(f"the output {path} would overwrite an input; give another folder with --output")
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise WindfallError(f"cannot make the folder {folder}: {error.strerror}") from error
        return write_file(path, data)

    def _unused(self, name: str, suffix: str) -> str:
        """Return a file name that this run has not used: two photos in different folders may share theirs."""
        # Names of outputs come from the model's file: nothing of them may lead out of the folder.
        clean = re.sub(r"[^\w.-]", "_", name).lstrip(".-")[:150] or "output"
        number, unused = 1, clean
        while (key := f"{unused}{suffix}".casefold()) in self._used:
            number += 1
            unused = f"{clean}_{number}"
        self._used.add(key)
        return unused


class Output:
    """Puts the results of predictions out.

    Args:
        files: Writes what goes into files.
        as_json: Print JSON, an object per line.
        top: How many classes to show.
    """

    def __init__(self, files: ResultWriter, *, as_json: bool, top: int) -> None:
        self._files = files
        self._as_json = as_json
        self._top = top

    def show(self, case: Case, values: Mapping[str, Any], *, several: bool) -> None:
        """Print one prediction."""
        if self._as_json:
            outputs = {name: _json_value(value, self._file(case, name, value)) for name, value in values.items()}
            line = {"input": case.name, "outputs": outputs}
            click.echo(json.dumps(line, ensure_ascii=False, allow_nan=False))
            return
        body = Group(*self._parts(case, values))
        if several:
            print_table(shown(case.name, "bold"))
        print_table(Padding(body, (0, 0, 0, 2)) if several else body)

    def _file(self, case: Case, name: str, value: Any) -> Path | None:
        if isinstance(value, Image.Image):
            return self._files.picture(value, case.stem, name)
        return self._files.array(value, case.stem, name) if isinstance(value, np.ndarray) else None

    def _parts(self, case: Case, values: Mapping[str, Any]) -> Iterator[RenderableType]:
        """Yield simple values side by side with their names, each dictionary of classes as a table below."""
        simple = {name: value for name, value in values.items() if not isinstance(value, Mapping)}
        width = max(map(len, simple), default=0)
        for name, value in simple.items():
            text = shown(_line(value, self._file(case, name, value)), most=2000)
            if width <= _WIDEST_NAME:
                yield _beside(name, text, width)
            else:
                yield from (shown(name, "cyan"), Padding(text, (0, 0, 0, 2)))
        for name, value in values.items():
            if isinstance(value, Mapping):
                yield shown(name, "cyan")
                yield Padding(_classes(value, self._top, ascii_only()), (0, 0, 0, 2))


def _beside(name: str, text: Text, width: int) -> Table:
    grid = Table.grid(padding=(0, 3, 0, 0))
    grid.add_column(style="cyan", width=width, no_wrap=True)
    grid.add_column(overflow="fold")
    grid.add_row(shown(name), text)
    return grid


def _line(value: Any, file: Path | None) -> str:
    arrow = "" if file is None else f"\nwritten to {file}"
    if isinstance(value, Image.Image):
        return f"{value.mode} picture {value.width} x {value.height}{arrow}"
    if isinstance(value, np.ndarray):
        return _array_text(value) + arrow
    return str(value)


def _array_text(array: NDArray[Any]) -> str:
    head = f"{array.dtype} {list(array.shape)}"
    if not array.size or array.dtype.kind not in "fiub":
        return head
    first = ", ".join(f"{value:.6g}" for value in array.ravel()[:_FIRST_VALUES].tolist())
    more = ", ..." if array.size > _FIRST_VALUES else ""
    if array.size <= _FIRST_VALUES:
        return f"{head}  {first}"
    low, mean, high = _range(array)
    return f"{head}  min {low:.6g}  mean {mean:.6g}  max {high:.6g}\n{first}{more}"


def _range(array: NDArray[Any]) -> tuple[float, float, float]:
    wide = array.astype(np.float64)
    with np.errstate(invalid="ignore"):  # infinities of both signs have no mean
        return float(wide.min()), float(wide.mean()), float(wide.max())


def _classes(probabilities: Mapping[Any, float], top: int, plain: bool) -> Table:
    table = Table.grid(padding=(0, 2))
    table.add_column(overflow="fold", max_width=40)
    table.add_column(no_wrap=True, style="green")
    table.add_column(justify="right", no_wrap=True)
    ranked = sorted(probabilities.items(), key=rank)
    percent = all(0 <= value <= 1 for value in probabilities.values())
    for label, value in ranked[:top]:
        number = f"{100 * value:.1f} %" if percent else f"{value:.6g}"
        table.add_row(shown(label), Text(bar(value, plain) if percent else ""), number)
    if len(ranked) > top:
        table.add_row(Text(f"and {len(ranked) - top:,} more", "dim"))
    return table


def rank(item: tuple[Any, float]) -> float:
    """Return what puts the most probable class first, and what is no number last."""
    return math.inf if math.isnan(item[1]) else -item[1]


def bar(fraction: float, plain: bool = False) -> str:
    """Return a bar whose length shows a number from 0 to 1.

    >>> bar(0.25)
    '██████'
    """
    if plain:
        return "#" * round(fraction * _BAR_WIDTH)
    full, part = divmod(round(fraction * _BAR_WIDTH * 8), 8)
    return "█" * full + _EIGHTHS[part].strip()


def _json_value(value: Any, file: Path | None) -> Any:
    for kind, convert in _TO_JSON.items():
        if isinstance(value, kind):
            return convert(value, file)
    return value


def _json_picture(picture: Image.Image, file: Path | None) -> dict[str, Any]:
    return {"path": str(file), "width": picture.width, "height": picture.height, "mode": picture.mode}


def _json_array(array: NDArray[Any], file: Path | None) -> dict[str, Any]:
    result: dict[str, Any] = {"shape": list(array.shape), "dtype": str(array.dtype)}
    if file is not None:
        result["path"] = str(file)
    if array.size <= _LARGEST_PRINTED:
        return result | {"values": finite(array.tolist())}
    low, mean, high = (finite(number) for number in _range(array))
    return result | {"min": low, "mean": mean, "max": high}


def _json_classes(classes: Mapping[Any, float], _file: Path | None) -> dict[str, Any]:
    return {str(label): finite(value) for label, value in sorted(classes.items(), key=rank)}


_TO_JSON: Mapping[type, Callable[[Any, Path | None], Any]] = {
    Image.Image: _json_picture,
    np.ndarray: _json_array,
    Mapping: _json_classes,
    float: lambda number, _file: finite(number),
}


def finite(value: Any) -> Any:
    """Replace numbers that JSON does not have by their names, in lists and dictionaries too."""
    if isinstance(value, list):
        return [finite(item) for item in value]
    if isinstance(value, dict):
        return {name: finite(item) for name, item in value.items()}
    if not isinstance(value, float) or math.isfinite(value):
        return value
    return "NaN" if math.isnan(value) else ("Infinity" if value > 0 else "-Infinity")
