"""The models and samples that a command line names, compared with a progress bar."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import windfall
from windfall.cli.inputs import Case, InputReader
from windfall.cli.progress import SlowProgress
from windfall.comparison import Comparison
from windfall.comparison.contenders import Contender, contenders
from windfall.comparison.results import checked_report
from windfall.comparison.running import run
from windfall.comparison.samples import Sample, in_classes, photo, pictures_in
from windfall.errors import FeatureError, WindfallError
from windfall.features.fitting import picture_input

_MODELS = (".mlmodel", ".mlpackage", ".mlmodelc")
_Makers = list[Callable[[], Sample]]


def run_comparison(
    arguments: Sequence[str], page: Path | None, fit: str, *, classes: bool, threads: int | None
) -> Comparison:
    """Compare the models among the arguments on the others.

    Args:
        arguments: Models, the reference first, and inputs.
        page: Where a page is to be written later: a path that cannot be is to be known before.
        fit: How photos are brought to the model's size.
        classes: Whether the folders in a folder are classes.
        threads: How many threads a prediction may use.

    Raises:
        WindfallError: See ``windfall.compare``; or there are not two models, or the page would replace something.
    """
    if page is not None:
        checked_report(page)
    # A package may be named with a slash at its end, as shells complete it.
    paths = [argument for argument in arguments if _is_model(argument)]
    if len(paths) < 2:
        raise WindfallError(
            f"there {'is 1 model' if paths else 'are no models'} among the arguments, must be two or more "
            f"({', '.join(_MODELS)}): the first is the reference"
        )
    loaded = [windfall.load(path, threads=threads) for path in paths]
    models = contenders(loaded[0], loaded[1:])
    inputs = [argument for argument in arguments if not _is_model(argument)]
    makers = sample_makers(inputs, models[0], fit, classes=classes)
    with SlowProgress(len(makers)) as progress:
        return run(models, _advancing(makers, progress), None)


def _is_model(argument: str) -> bool:
    return argument.rstrip("/\\").lower().endswith(_MODELS)


def _advancing(makers: _Makers, progress: SlowProgress) -> Iterator[Sample]:
    """Make one sample after the other, so that no two pictures are in memory at once."""
    for make in makers:
        yield make()
        progress.advance()


def sample_makers(inputs: Sequence[str], reference: Contender, fit: str, *, classes: bool) -> _Makers:
    """Return what makes each sample.

    Photos are fitted to each model by itself where they are all that it takes; other inputs are the same for all.
    """
    reader = InputReader(reference.description, fit)
    names = {feature.name for feature in reference.inputs}
    shared = [argument for argument in inputs if "=" in argument and argument.partition("=")[0] in names]
    if shared and len(shared) == len(inputs):
        return [_from_case(replace(case, name="the input")) for case in reader.cases(shared)]
    makers: _Makers = []
    for argument in (argument for argument in inputs if argument not in shared):
        makers += _of_argument(argument, shared, reader, reference, fit, classes=classes)
    return makers


def _of_argument(  # what a command line says
    argument: str, shared: list[str], reader: InputReader, reference: Contender, fit: str, *, classes: bool
) -> _Makers:
    path = Path(argument)
    if path.is_dir() and classes:
        return _of_classes(path, fit)
    paths = _pictures(path) if path.is_dir() else [path]
    is_photo = path.is_dir() or path.suffix.lower() not in (".json", ".npy")
    if is_photo and not shared and path.exists() and picture_input(reference.inputs) is not None:
        return [partial(photo, path, fit) for path in paths]
    return [_from_case(case) for case in reader.cases([*shared, *map(str, paths)])]


def _of_classes(folder: Path, fit: str) -> _Makers:
    # Samples keep the picture that they have read: only where each lies is kept here.
    places = [(Path(sample.name), sample.label) for sample in in_classes(folder, fit)]
    return [partial(photo, path, fit, label) for path, label in places]


def _pictures(folder: Path) -> list[Path]:
    pictures = pictures_in(folder)
    if not pictures:
        raise FeatureError(f"{folder} has no pictures; if the folders in it are classes, say --classes")
    return pictures


def _from_case(case: Case) -> Callable[[], Sample]:
    def make() -> Sample:
        values = case.read()
        return Sample(case.name, lambda _: values)

    return make
