"""Lower one classical model, of any type."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from windfall.errors import WindfallError
from windfall.graph.shapes import ShapeError
from windfall.lowering.classical import (
    encoding,
    identity,
    imputing,
    linear,
    neighbors,
    probit,
    recommending,
    scaling,
    sound,
    support_vectors,
    suppression,
    thresholding,
    trees,
    vectorizing,
)
from windfall.lowering.classical.context import ModelContext
from windfall.lowering.classical.forms import Forms

_TABLES: Sequence[Mapping[str, Callable[[ModelContext], Forms]]] = (
    encoding.LOWERINGS,
    identity.LOWERINGS,
    imputing.LOWERINGS,
    linear.LOWERINGS,
    neighbors.LOWERINGS,
    probit.LOWERINGS,
    recommending.LOWERINGS,
    scaling.LOWERINGS,
    sound.LOWERINGS,
    support_vectors.LOWERINGS,
    suppression.LOWERINGS,
    thresholding.LOWERINGS,
    trees.LOWERINGS,
    vectorizing.LOWERINGS,
)


def _merged() -> dict[str, Callable[[ModelContext], Forms]]:
    counts = Counter(kind for table in _TABLES for kind in table)
    twice = [kind for kind, count in counts.items() if count > 1]
    if twice:
        raise ValueError(f"{twice[0]} is lowered in two modules; remove one")
    return {kind: function for table in _TABLES for kind, function in table.items()}


LOWERINGS: Mapping[str, Callable[[ModelContext], Forms]] = _merged()
"""How each type of classical model is lowered, by its name in the oneof ``Type``."""


def lower_model(ctx: ModelContext) -> Forms:
    """Return the outputs of a classical model.

    Raises:
        LoweringError: The model breaks a rule of the specification.
    """
    ctx.graph.prefix = f"{ctx.graph.prefix}/{ctx.kind}" if ctx.graph.prefix else ctx.kind
    try:
        with np.errstate(all="ignore"):  # of parameters that are not finite, nothing else can come
            return LOWERINGS[ctx.kind](ctx)
    except ShapeError as error:
        raise ctx.error("input", f"does not fit the model: {error}") from error
    except WindfallError:
        raise
    except (ArithmeticError, LookupError, MemoryError, TypeError, ValueError) as error:
        # Damaged parameters fail in more ways than a lowering can check one by one.
        reason = f"{type(error).__name__}: {error}".partition("\n")[0]
        raise ctx.error("parameters", f"have values that the model cannot have ({reason})") from error
