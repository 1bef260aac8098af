"""Compiled models, of a form of our own: a folder ``<name>.mlmodelc`` that holds the model as it was.

Devices cannot load ours. It exists so that code which compiles a model, moves the folder and opens it works unchanged.
Folders of Apple's compiler are opened too.
"""

import atexit
import shutil
import tempfile
from collections.abc import Mapping
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any

from windfall.errors import FormatError, WindfallError
from windfall.model import Model
from windfall.spec.miltext import write_program
from windfall.spec.package import write_package_files
from windfall.spec.writing import write_file

SUFFIX = ".mlmodelc"
_MODELS = ("model.mlmodel", "model.mlpackage")


def write_compiled(model: Model, name: str) -> Path:
    """Write a model to a new folder ``<name>.mlmodelc``, which is removed at the end of the program.

    Raises:
        WindfallError: The model cannot be read any more, or the folder cannot be written.
    """
    folder = Path(tempfile.mkdtemp(dir=_root())) / f"{name}{SUFFIX}"
    folder.mkdir()
    model.save(folder / f"model{model.suffix}")
    if model.message.WhichOneof("Type") == "mlProgram":
        # What Apple's compiler writes, too: tools look into it. A damaged program, refused later, may have no text.
        with suppress(WindfallError):
            write_file(folder / "model.mil", write_program(model.message.mlProgram).encode())
    return folder


def remove_compiled(folder: Path) -> None:
    """Remove what ``write_compiled`` wrote."""
    shutil.rmtree(folder.parent, ignore_errors=True)


def write_asset(spec: Any, blobs: Mapping[str, bytes]) -> Path:
    """Write a model and the files with its weights as a package, which is removed at the end of the program.

    Raises:
        FormatError: A file's path leaves the model's folder.
    """
    package = Path(tempfile.mkdtemp(dir=_root())) / "model.mlpackage"
    return write_package_files(package, spec, blobs)


def model_path(path: str) -> Path:
    """Return the model behind a path: that of a model, or of a folder that ``write_compiled`` wrote.

    Raises:
        FormatError: A compiled model is asked for, and there is none.
    """
    folder = Path(path)
    if folder.suffix != SUFFIX:
        return folder
    if not folder.is_dir():
        raise FormatError(f"cannot open {path}: there is no such folder; check the path")
    return next((folder / name for name in _MODELS if (folder / name).exists()), folder)


@cache
def _root() -> str:
    """Return the folder of all compiled models of this process."""
    folder = tempfile.mkdtemp(prefix="windfall-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder
