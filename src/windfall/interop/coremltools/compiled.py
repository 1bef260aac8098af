"""Compiled models, of a form of our own: a folder ``<name>.mlmodelc`` that holds ``model.mlmodel``.

Apple's form is not documented, and devices cannot load ours. It exists so that code which compiles a model, moves the
folder and opens it works unchanged.
"""

import atexit
import shutil
import tempfile
from functools import cache
from pathlib import Path

from windfall.errors import FormatError, UnsupportedError
from windfall.model import Model

SUFFIX = ".mlmodelc"
_MODEL = "model.mlmodel"


def write_compiled(model: Model, name: str) -> Path:
    """Write a model to a new folder ``<name>.mlmodelc``, which is removed at the end of the program.

    Raises:
        WindfallError: The model cannot be read any more, or the folder cannot be written.
    """
    folder = Path(tempfile.mkdtemp(dir=_root())) / f"{name}{SUFFIX}"
    folder.mkdir()
    model.save(folder / _MODEL)
    return folder


def remove_compiled(folder: Path) -> None:
    """Remove what ``write_compiled`` wrote."""
    shutil.rmtree(folder.parent, ignore_errors=True)


def model_path(path: str) -> Path:
    """Return the model file behind a path: that of a model, or of a folder that ``write_compiled`` wrote.

    Raises:
        FormatError: A compiled model is asked for, and there is none.
        UnsupportedError: The folder is one that Apple's compiler wrote.
    """
    folder = Path(path)
    if folder.suffix != SUFFIX:
        return folder
    if not folder.is_dir():
        raise FormatError(f"cannot open {path}: there is no such folder; check the path")
    if not (folder / _MODEL).exists():
        raise UnsupportedError(
            f"{folder.name} holds no {_MODEL}: windfall opens the compiled models that it made, not those of Apple's "
            "compiler; compile the .mlmodel with coremltools.models.utils.compile_model"
        )
    return folder / _MODEL


@cache
def _root() -> str:
    """Return the folder of all compiled models of this process."""
    folder = tempfile.mkdtemp(prefix="windfall-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder
