"""The identity.

Source: ``Identity`` in Identity.proto.
"""

from collections.abc import Callable, Mapping

from windfall.lowering.classical.context import ModelContext
from windfall.lowering.classical.forms import Column, Form, Forms, Tensor
from windfall.lowering.classical.outputs import as_declared


def lower_identity(ctx: ModelContext) -> Forms:
    """Return the inputs as they are; each output has the name of an input, or stands at the same place.

    Source: ``Identity``.

    Raises:
        LoweringError: There are not as many inputs as outputs.
    """
    outputs = list(ctx.description.output)
    if len(outputs) != len(ctx.inputs):
        raise ctx.error("output", f"must be {len(ctx.inputs)}, one for each input", value=f"{len(outputs)} values")
    names = {feature.name: feature.name for feature in outputs if feature.name in ctx.inputs}
    rest = [name for name in ctx.inputs if name not in names]
    others = (feature.name for feature in outputs if feature.name not in names)
    names |= dict(zip(others, rest, strict=True))
    return {feature.name: _passed(ctx, names[feature.name], feature) for feature in outputs}


def _passed(ctx: ModelContext, name: str, feature: object) -> Form:
    form = ctx.inputs[name]
    if not isinstance(form, Tensor | Column) or ctx.input_type(name) == "imageType":
        return form
    return Tensor(as_declared(ctx, ctx.tensor(name), feature))


LOWERINGS: Mapping[str, Callable[[ModelContext], Forms]] = {"identity": lower_identity}
