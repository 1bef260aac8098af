"""Which binder a model has, by its type."""

from collections.abc import Callable, Mapping

from windfall.features.binding import Binder
from windfall.features.networks import NetworkBinder
from windfall.features.programs import ProgramBinder
from windfall.spec.modelfile import ModelFile
from windfall.spec.pipelines import CLASSICAL, PIPELINES
from windfall.spec.proto import NEURAL_NETWORK_TYPES


def _row_binder(file: ModelFile, function: str) -> Binder:
    from windfall.features.rows import RowBinder  # networks start without it

    return RowBinder(file, function)


BINDERS: Mapping[str | None, Callable[[ModelFile, str], Binder]] = {
    **dict.fromkeys(NEURAL_NETWORK_TYPES, NetworkBinder),
    "mlProgram": ProgramBinder,
    **dict.fromkeys((*CLASSICAL, *PIPELINES), _row_binder),
}
"""The binder of each type of model; it is given the name of the function that is to be run."""
