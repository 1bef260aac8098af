"""The custom components of one model, and which model is at work: lowerings ask here what stands for a layer."""

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING

from windfall.custom.registry import Classes
from windfall.errors import UnsupportedError

if TYPE_CHECKING:
    from windfall.custom.placed import PlacedLayer
    from windfall.lowering.neural_network.context import LayerContext

_AT_WORK: ContextVar["Customs | None"] = ContextVar("windfall_customs", default=None)
NO_LAYER = "needs a class of yours: @windfall.custom_layer(CLASS_NAME), or load(..., custom_layers={CLASS_NAME: CLASS})"
"""Why a layer without a class does not run."""


def title(ctx: "LayerContext") -> str:
    """Return what messages call a custom layer."""
    return f"layer {ctx.layer.name!r} (custom, className {ctx.params.className!r}) of {ctx.file.name}"


class Customs:
    """The custom components of one model.

    Args:
        classes: The classes that it may use.
    """

    def __init__(self, classes: Classes) -> None:
        self.classes = classes
        self._placed: dict[tuple[str, str, bytes], PlacedLayer] = {}
        self._numbered: list[PlacedLayer] = []

    @contextmanager
    def at_work(self) -> Iterator[None]:
        """Let lowerings and descriptions ask this object."""
        token = _AT_WORK.set(self)
        try:
            yield
        finally:
            _AT_WORK.reset(token)

    def refuse_to_wait(self, name: str) -> None:
        """Refuse a prediction of a model that is being made ready, by code of the user's that is a part of that.

        Args:
            name: What messages call the model.

        Raises:
            UnsupportedError: It would wait for itself.
        """
        if _AT_WORK.get() is self:
            raise UnsupportedError(
                f"{name} is asked to predict by the constructor, output_shapes or encode of its own custom part, "
                "before it is ready; only evaluate and predict may do so"
            )

    def placed(self, ctx: "LayerContext") -> "PlacedLayer":
        """Return the object for a layer, made when it is first asked for.

        Raises:
            UnsupportedError: No class is registered for it.
            LoweringError: Its parameters or weights cannot be read.
        """
        from windfall.custom.placed import PlacedLayer  # it needs NumPy, and what reads weights

        stored = hashlib.sha256(ctx.params.SerializeToString(deterministic=True)).digest()
        key = (ctx.file.name, str(ctx.layer.name), stored)
        if key not in self._placed:
            found = self.classes.layer(ctx.params.className)
            if found is None:
                raise UnsupportedError(f"{title(ctx)} {NO_LAYER}")
            self._placed[key] = PlacedLayer(found, ctx, len(self._numbered))
            self._numbered.append(self._placed[key])
        return self._placed[key]

    def numbered(self, number: int) -> "PlacedLayer":
        """Return the object that a node of a graph has the number of."""
        return self._numbered[number]


def at_work() -> Customs:
    """Return what the model that is at work may use; where there is none, what is registered for all models."""
    return _AT_WORK.get() or Customs(Classes())
