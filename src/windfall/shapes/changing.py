"""Give inputs other sizes, and let the rest of the model follow."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

from windfall.errors import UnsupportedError
from windfall.model import Model
from windfall.shapes.allowed import Allowed, write_allowed
from windfall.shapes.exploring import Explorer, all_axes, size_of
from windfall.shapes.mending import Mended, Rewrite, mend
from windfall.shapes.outputs import update_outputs
from windfall.shapes.probing import Probe, Prober, Sizes
from windfall.shapes.sampling import samples
from windfall.shapes.types import open_types, settle_types
from windfall.spec.modelfile import ModelFile
from windfall.text import brief

Names = str | Sequence[str]
"""The name of an input, or of several that are set at once."""
_FLEXIBLE_VERSION = 3
_MOST_LISTED = 3


class Changed(NamedTuple):
    """A model with other sizes.

    Attributes:
        file: The model.
        rewrites: The layers that were rewritten so that they follow the sizes.
    """

    file: ModelFile
    rewrites: tuple[Rewrite, ...]


def changed_model(model: Model, names: Names, change: Callable[[Allowed], Allowed]) -> tuple[Model, Sequence[Rewrite]]:
    """Return a model whose inputs of some names have other sizes, and the layers that were rewritten.

    Args:
        model: The model; it is not changed.
        names: The inputs.
        change: Makes of the sizes that an input may have those that it may have then.

    Raises:
        UnsupportedError: There is no such input, or a layer refuses one of the sizes.
    """
    prober = Prober(model._file, model._function)
    wanted = {name: change(prober.inputs[name]) for name in checked_names(prober, names)}
    found = changed_file(prober, wanted)
    return model._of_file(found.file), found.rewrites


def checked_names(prober: Prober, names: Names) -> list[str]:
    """Return the names of inputs as a list.

    Raises:
        UnsupportedError: One is no input that is an image or an array.
    """
    listed = [names] if isinstance(names, str) else list(names)
    for name in listed:
        if name not in prober.inputs:
            known = ", ".join(map(repr, prober.inputs)) or "none"
            raise UnsupportedError(f"{prober.file.name} has no input {brief(name)}; its images and arrays are {known}")
    return list(dict.fromkeys(listed))


def changed_file(prober: Prober, wanted: dict[str, Allowed]) -> Changed:
    """Return a model whose inputs have other sizes.

    Args:
        prober: The model as it is; it is not changed.
        wanted: The new sizes, by the inputs' names.

    Raises:
        UnsupportedError: A layer refuses one of the sizes.
    """
    file = _with_sizes(prober, wanted)
    found = _mended(prober, file, list(wanted))
    after = Prober(file, prober.function)
    if after.is_program:
        settle_types(file, prober.function, found.probes)
    update_outputs(after, found.probes)
    if any(allowed.is_flexible for allowed in after.inputs.values()):
        file.spec.specificationVersion = max(file.spec.specificationVersion, _FLEXIBLE_VERSION)
    return Changed(file, found.rewrites)


def copied(file: ModelFile) -> ModelFile:
    """Return a copy of a model whose message may be changed; it has the same weight files."""
    return ModelFile(file.full_spec(), blobs=file.blobs, title=file.name)


def _with_sizes(prober: Prober, wanted: dict[str, Allowed]) -> ModelFile:
    """Return a copy with other sizes in its description; a program's own are all left open."""
    file = copied(prober.file)
    if prober.is_program:
        open_types(file, prober.function)
    for feature in Prober(file, prober.function).description.input:
        if feature.name in wanted:
            write_allowed(feature, wanted[feature.name])
    return file


def _mended(before: Prober, file: ModelFile, names: list[str]) -> Mended:
    """Rewrite layers until all sizes go.

    Raises:
        UnsupportedError: A layer cannot be rewritten so that it takes one of the sizes.
    """
    inputs = Prober(file, before.function).inputs
    wanted = samples(inputs, names)
    found = mend(before, file, wanted)
    kept = [probe for probe in found.probes if not _is_beyond(probe, inputs)]
    refused = next((probe for probe in kept if probe.refusal is not None), None)
    if refused is None:
        return found._replace(probes=tuple(kept))
    raise UnsupportedError(_message(Prober(file, before.function), refused, found.reasons))


def _is_beyond(probe: Probe, inputs: dict[str, Allowed]) -> bool:
    """Whether a probe failed for want of memory alone, at a size that stands for those without a limit."""
    if probe.refusal is None or not probe.refusal.is_size:
        return False
    return any(
        one.most is None and size > max(one.least, default)
        for name, dims in probe.sizes.items()
        for size, default, one in zip(dims, inputs[name].default, inputs[name].ranges, strict=False)
    )


def _message(prober: Prober, probe: Probe, reasons: Sequence[str]) -> str:
    inputs = prober.inputs
    other = {name: dims for name, dims in probe.sizes.items() if dims != inputs[name].default} or probe.sizes
    text = f"{prober.file.name} cannot take {sizes_text(other, inputs)}: {probe.refusal}"
    if probe.refusal is not None and probe.refusal.is_size:
        return f"{text}; give a smaller upper end"
    why = "".join(f"{reason}; " for reason in reasons[:_MOST_LISTED])
    return f"{text}; {_steps(prober, probe) or f'{why}windfall.shapes.check tells which sizes go'}"


def _steps(prober: Prober, probe: Probe) -> str:
    """Say so where a layer refuses since an axis goes in steps; empty where none does."""
    if prober.at(probe.sizes).refusal is None:
        return ""
    for axis in all_axes(prober):
        if probe.sizes[axis.input][axis.number] != size_of(prober, axis):
            step = Explorer(prober, [axis]).step()
            name = prober.inputs[axis.input].axis_name(axis.number)
            if step is not None and step > 1:
                return f"the {name} goes in steps of {step} only, which no range can say: enumerate the sizes"
    return ""


def sizes_text(sizes: Sizes, inputs: dict[str, Allowed]) -> str:
    """Return the sizes of some inputs as messages show them."""
    return ", ".join(f"{name!r} of {inputs[name].sizes_text(dims)}" for name, dims in sizes.items())
