"""Predict with a flexible model and with models of one size, and compare."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from windfall.features.arrays import DTYPES
from windfall.features.images import MODES
from windfall.model import Model
from windfall.shapes.allowed import Allowed, Dims
from windfall.shapes.changing import changed_file
from windfall.shapes.exploring import Axis, with_sizes
from windfall.shapes.probing import Prober
from windfall.shapes.report import AxisSizes, Trial

_FACTORS = ((0.75, 1.25), (1.3, 0.8))
_MOST_VALUES = 2**24
_TOLERANCE = 1e-4
_LEVELS = 1.01 / 255  # one level of a pixel: rounding may go either way


def run_trials(model: Model, axes: Sequence[AxisSizes]) -> Iterator[Trial]:
    """Predict at a few sizes; very large ones are left out.

    Args:
        model: The model.
        axes: What each axis can have.
    """
    prober = Prober(model._file, model._function)
    chosen = [dims for factors in _FACTORS if (dims := _sizes(prober, axes, factors))]
    chosen = [dims for at, dims in enumerate(chosen) if dims not in chosen[:at] and _values(dims) <= _MOST_VALUES]
    if not chosen:
        return
    listed = {
        name: tuple(dict.fromkeys([prober.inputs[name].default, *(dims[name] for dims in chosen)]))
        for name in chosen[0]
    }
    wanted = {name: replace(prober.inputs[name], shapes=shapes, ranges=()) for name, shapes in listed.items()}
    flexible = model._of_file(changed_file(prober, wanted).file)
    for dims in chosen:
        fixed = {name: Allowed(name, prober.inputs[name].is_image, size) for name, size in dims.items()}
        yield _trial(flexible, model._of_file(changed_file(prober, fixed).file), dims)


def _values(dims: Mapping[str, Dims]) -> int:
    return sum(map(math.prod, dims.values()))


def _sizes(prober: Prober, axes: Sequence[AxisSizes], factors: tuple[float, float]) -> dict[str, Dims]:
    """Return sizes of the flexible inputs, near some factors of the default ones along every other axis."""
    changes: dict[Axis, int] = {}
    names = [Axis(name, index) for name, one in prober.inputs.items() for index in range(one.rank)]
    sizes: dict[str, int] = {}
    for place, (axis, one) in enumerate(zip(names, axes, strict=True)):
        label = f"{one.input} {one.axis}"
        same = next((sizes[other] for other in one.tied if other in sizes), None)
        if one.is_flexible and not one.has_gaps and not (axis.number == 0 and _is_batch(prober, axis)):
            sizes[label] = changes[axis] = _near(one, factors[place % 2]) if same is None else same
    return {name: tuple(dims) for name, dims in with_sizes(prober, changes).items()}


def _is_batch(prober: Prober, axis: Axis) -> bool:
    allowed = prober.inputs[axis.input]
    return not allowed.is_image and allowed.rank > 1 and allowed.default[0] == 1


def _near(axis: AxisSizes, factor: float) -> int:
    """Return a size that goes near a factor of the default one, another one if there is."""
    steps = round(axis.default * (factor - 1) / axis.step) or (1 if factor > 1 else -1)
    size = axis.default + steps * axis.step
    if size < axis.least or (axis.most is not None and size > axis.most):
        return axis.least if axis.least != axis.default or axis.most is None else axis.most
    return size


def _trial(flexible: Model, fixed: Model, dims: Mapping[str, Dims]) -> Trial:
    """Predict with both."""
    inputs = _random_inputs(fixed)
    one, other = (
        model.predict(inputs, model.make_state() if model.state_names else None) for model in (flexible, fixed)
    )
    differences = [_difference(one[name], other[name]) for name in other]
    return Trial(
        dict(dims),
        max((value for value, _ in differences), default=0.0),
        all(value <= most for value, most in differences),
    )


def _random_inputs(model: Model) -> dict[str, Any]:
    """Return an input of each of a model's sizes: pixels, numbers around 0, or whole numbers of 0 and 1."""
    rng = np.random.default_rng(0)
    prober = Prober(model._file, model._function)
    return {feature.name: _random(rng, feature, prober.inputs[feature.name]) for feature in prober.description.input}


def _random(rng: np.random.Generator, feature: Any, allowed: Allowed) -> Any:
    if allowed.is_image:
        from PIL import Image

        width, height = allowed.default
        mode = MODES[feature.type.imageType.colorSpace]
        pixels = rng.integers(0, 256, (height, width, 3) if mode == "RGB" else (height, width), np.uint8)
        return Image.fromarray(pixels).convert(mode)
    dtype = DTYPES.get(feature.type.multiArrayType.dataType, np.dtype(np.float32))
    if dtype.kind == "i":
        return rng.integers(0, 2, allowed.default).astype(dtype)
    return rng.standard_normal(allowed.default).astype(dtype)


def _difference(one: Any, other: Any) -> tuple[float, float]:
    """Return the largest difference of two results, and how large it may be."""
    if isinstance(other, dict):
        keys = list(other)
        return _difference(np.array([one.get(key, math.nan) for key in keys]), np.array([other[key] for key in keys]))
    is_image = hasattr(other, "getbands")
    if not is_image and not isinstance(other, np.ndarray | float | int):
        return (0.0 if one == other else math.inf), 0.0
    first, second = (np.asarray(value, np.float64) for value in (one, other))
    if first.shape != second.shape:
        return math.inf, 0.0
    scale = 255.0 if is_image else float(np.max(np.abs(second), initial=0.0)) or 1.0
    found = float(np.max(np.abs(first - second), initial=0.0)) / scale
    return (math.inf if math.isnan(found) else found), _LEVELS if is_image else _TOLERANCE
