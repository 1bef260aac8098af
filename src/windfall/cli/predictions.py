"""Predictions one after another, with a progress bar where there are many."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from windfall.cli.errors import print_error
from windfall.cli.inputs import Case, InputReader
from windfall.cli.progress import SlowProgress
from windfall.description import ModelDescription
from windfall.errors import FeatureError, WindfallError

if TYPE_CHECKING:
    from windfall.cli.results import Output
    from windfall.model import Model


class Predictions:
    """The predictions that a command line asks for.

    Args:
        model: What computes them.
        inputs: The arguments.
        fit: How photos are brought to the model's size.
        layers: Layers, or inner values, to return in place of the outputs.

    Attributes:
        files: The files that are read so far; none of them may be overwritten.
    """

    def __init__(self, model: "Model", inputs: Sequence[str], fit: str, layers: Sequence[str]) -> None:
        reader = InputReader(model.description, fit)
        self._model = model
        self._cases = reader.cases(inputs)
        self._outputs = inner_values(model.description, layers)
        self.files: set[Path] = reader.files

    def run(self, output: "Output") -> None:
        """Make the predictions and put them out; an input that does not fit does not stop the others.

        Raises:
            FeatureError: The only input does not fit.
            WindfallError: Some of the inputs did not fit, or the model cannot be run.
        """
        failed = 0
        state = self._model.make_state() if self._model.state_names else None
        with SlowProgress(len(self._cases)) as progress:
            for case in self._cases:
                try:
                    values = self._model.predict(case.read(), state, outputs=self._outputs)
                except FeatureError as error:
                    if len(self._cases) == 1:
                        raise
                    failed += 1
                    with progress.aside():
                        print_error(FeatureError(_named(case, error)))
                else:
                    with progress.aside():
                        output.show(case, values, several=len(self._cases) > 1)
                progress.advance()
        if failed:
            raise WindfallError(f"{failed} of {len(self._cases)} inputs could not be used")


def _named(case: Case, error: FeatureError) -> str:
    return str(error) if case.name in str(error) else f"{case.name}: {error}"


def inner_values(description: ModelDescription, names: Sequence[str]) -> list[str] | None:
    """Return the values that layers give; a name that is no layer's is taken for a value's; None for no names."""
    if not names:
        return None
    layers = {layer.name: layer.outputs for layer in description.layers}
    wanted = [output for name in names for output in layers.get(name, (name,))]
    return list(dict.fromkeys(wanted))
