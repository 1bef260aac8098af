"""Quantize the weights of a model one after another, each fitted to what the layers before it, quantized, give it."""

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from windfall.errors import FormatError, UnsupportedError
from windfall.model import Model
from windfall.quantization.calibration.correction import can_correct, correct, mean_error
from windfall.quantization.calibration.fitting import best
from windfall.quantization.calibration.moments import Moments
from windfall.quantization.calibration.patches import picked
from windfall.quantization.calibration.samples import CALIBRATED, Calibration
from windfall.quantization.calibration.uses import OTHER, Use, network_uses
from windfall.quantization.calibration.values import Inputs, Probe, inputs_of_member
from windfall.quantization.codecs import Encoded, decoded
from windfall.quantization.fields import NetworkWeight
from windfall.quantization.networks import Layer, networks
from windfall.quantization.settings import Settings
from windfall.quantization.weight import Weight, weight_error

Floats = NDArray[np.float32]
Bits = Sequence[int | None]
_HALF = 16
_MOST_STAGES = 64
"""The network is compiled for each stage; where it has more layers, several make up one."""
_MOST_NUMBERS = 2**26
"""How many numbers the moments of the layers of a stage may have together, unless it is a single layer."""
SILENT = "its input is always 0"
PROGRAM = "lies in an ML program"


class _Part(NamedTuple):
    """A layer whose weights are fitted.

    Attributes:
        use: How it uses them.
        biases: The weights, by field, each with the bias that may be corrected, None where there is none.
        size: How many numbers the moments of its input have.
    """

    use: Use
    biases: dict[str, NetworkWeight | None]
    size: int


class _Network:
    """A network, as it was and as it becomes.

    Attributes:
        path: What stands in front of its layers' names.
        models: The messages of the pipelines that it lies in, the outermost first, then its own.
        current: Its own message, whose weights are being replaced.
        inputs: What it is given for each sample, None as long as nobody asked.
        is_changed: Whether a weight of it was replaced already.
    """

    def __init__(self, path: str, models: tuple[Any, ...], current: Any) -> None:
        self.path = path
        self.models = models
        self.current = current
        self.inputs: list[Inputs] | None = None
        self.is_changed = False


class _Stage(NamedTuple):
    """Layers of a network, by name, whose inputs are computed at the same time."""

    network: _Network
    parts: dict[str, _Part]


class Session:
    """Fits weights to samples.

    Weights must be asked for in the order of the model's layers, each after those before it have been stored.

    Args:
        model: The model as it was.
        spec: Its ``Model`` message, whose weights are being replaced.
        plan: The layers with the bits that their weights get.
        settings: The samples, and how to quantize.

    Raises:
        FeatureError: There are no samples, or one does not fit the model.
        UnsupportedError: The model has no neural network.
    """

    def __init__(self, model: Model, spec: Any, plan: Sequence[tuple[Layer, Bits]], settings: Settings) -> None:
        assert isinstance(settings.calibration, Calibration)
        self._model = model
        self._file = model._file
        self._settings = settings
        self._outcomes = settings.calibration.outcomes
        self._outcomes.clear()
        self._samples = settings.calibration.inputs(model)
        self._reasons: dict[str, str] = {}
        self._stages: dict[str, _Stage] = {}
        self._moments: dict[str, Moments] = {}
        self._errors: list[tuple[NetworkWeight, NDArray[np.float64]]] = []
        self._refuse_programs(plan)
        before, after = networks(self._file, self._file.spec), networks(self._file, spec)
        for (path, network, models), (_, _, current) in zip(before, after, strict=True):
            uses = network_uses(self._file, network, models[-1].description, path)
            self._reasons.update({name: use for name, use in uses.items() if isinstance(use, str)})
            parts = {layer.path: self._part(layer, bits, uses.get(layer.path)) for layer, bits in plan}
            place = _Network(path, models, current[-1])
            for stage in _staged({name: part for name, part in parts.items() if part is not None}):
                self._stages.update(dict.fromkeys(stage, _Stage(place, stage)))

    def _refuse_programs(self, plan: Sequence[tuple[Layer, Bits]]) -> None:
        """Note the weights of ML programs as those that are not fitted; refuse a model that has no others."""
        for layer, bits in plan:
            for weight, number in zip(layer.weights, bits, strict=True):
                if layer.is_program and number is not None and number < _HALF:
                    self._outcomes[weight.layer, weight.field] = PROGRAM
        if not networks(self._file, self._file.spec):
            raise UnsupportedError(
                f"{self._file.name} has no neural network; only these can be calibrated, leave calibration out"
            )

    def _part(self, layer: Layer, bits: Bits, use: Use | str | None) -> _Part | None:
        """Return a layer if it has weights to fit."""
        if not isinstance(use, Use):
            return None
        wanted = {weight.field: (weight, number) for weight, number in zip(layer.weights, bits, strict=True)}
        biases: dict[str, NetworkWeight | None] = {}
        sizes = [0]
        for field, (weight, number) in wanted.items():
            if field not in use.biases or number is None or number >= _HALF or weight.channel_axis is None:
                continue
            bias, kind = wanted.get(use.biases[field], (None, None))
            biases[field] = None
            if isinstance(bias, NetworkWeight) and (kind is None or kind >= _HALF) and can_correct(self._file, bias):
                biases[field] = bias
            sizes.append(weight.size // weight.channels)
        return _Part(use, biases, 2 * use.groups * max(sizes) ** 2) if biases else None

    def encoded(self, weight: Weight, values: Floats, bits: int, plain: Encoded) -> Encoded:
        """Return a weight in fewer bits, with the least error of the layer's outputs.

        Args:
            weight: The weight.
            values: Its values, in its shape.
            bits: How many bits each gets.
            plain: The same without calibration, which is taken where nothing is better.

        Raises:
            FeatureError: A sample leads to numbers that are not finite.
        """
        stage = self._stages.get(weight.layer)
        if stage is None or weight.field not in stage.parts[weight.layer].biases:
            return self._without(weight, self._reasons.get(weight.layer, OTHER), plain)
        if weight.layer not in self._moments:
            self._moments = self._measured(stage)
        moments = self._moments[weight.layer]
        stage.network.is_changed = True
        if not moments.second.any():
            return self._without(weight, SILENT, plain)
        part = stage.parts[weight.layer]
        bias = part.biases[weight.field]
        matrix = _matrix(weight.by_channel(values), part.use.groups)
        by_channel = self._settings.finest == "per_channel" and weight.channels > 1
        found = best(
            matrix,
            moments,
            self._settings.mode,
            bits,
            _values(weight, plain, part.use.groups),
            by_channel=by_channel,
            has_bias=bias is not None,
        )
        self._outcomes[weight.layer, weight.field] = CALIBRATED
        chosen = plain if found is None else found._replace(codes=weight.as_stored(found.codes))
        if bias is not None:
            self._errors.append((bias, mean_error(matrix, _values(weight, chosen, part.use.groups), moments)))
        return chosen

    def _without(self, weight: Weight, reason: str, plain: Encoded) -> Encoded:
        self._outcomes[weight.layer, weight.field] = reason
        return plain

    def _measured(self, stage: _Stage) -> dict[str, Moments]:
        """Return the moments of the inputs of a stage's layers."""
        network, parts = stage.network, stage.parts
        values = list(dict.fromkeys(part.use.value for part in parts.values()))
        original = Probe(self._file, network.models[-1], values, self._model._options)
        current = Probe(self._file, network.current, values, self._model._options) if network.is_changed else None
        moments: dict[str, Moments] = {}
        for number, ((sample, _), inputs) in enumerate(zip(self._samples, self._inputs(network), strict=True)):
            was = original(inputs, sample)
            now = None if current is None else current(inputs, sample)
            for name, part in parts.items():
                rows = part.use.rows(was[part.use.value], picked(number))
                if name not in moments:
                    moments[name] = Moments(rows.shape[0], rows.shape[2])
                if now is None:
                    moments[name].add(rows)
                else:
                    moments[name].add(part.use.rows(now[part.use.value], picked(number)), rows)
        for each in moments.values():
            each.flush()
        return moments

    def _inputs(self, network: _Network) -> list[Inputs]:
        if network.inputs is None:
            name = network.path[:-1]
            network.inputs = [
                inputs_of_member(self._model, network.models, name, inputs) for _, inputs in self._samples
            ]
        return network.inputs

    def finish(self) -> None:
        """Correct the biases of the layer whose weights were asked for last; these must have been stored."""
        for bias, error in self._errors:
            try:
                correct(self._file, bias, error)
            except FormatError as problem:
                raise weight_error(bias, str(problem), self._file) from problem
        self._errors.clear()


def _matrix(rows: Floats, groups: int) -> Floats:
    """Turn [groups * rows, columns] into [groups, columns, rows]."""
    return np.ascontiguousarray(rows.reshape(groups, -1, rows.shape[1]).swapaxes(1, 2))


def _values(weight: Weight, encoded: Encoded, groups: int) -> Floats:
    """Return what stands for a weight now as [groups, columns, rows]."""
    rows = weight.by_channel(encoded.codes.reshape(weight.shape))
    return _matrix(decoded(encoded._replace(codes=rows)), groups)


def _staged(parts: dict[str, _Part]) -> Iterator[dict[str, _Part]]:
    """Yield the layers that are done together: those that have the same input, and more where there are many."""
    least = -(-len(parts) // _MOST_STAGES)
    stage: dict[str, _Part] = {}
    value = ""
    for name, part in parts.items():
        is_full = len(stage) >= least and part.use.value != value
        if stage and (is_full or sum(other.size for other in stage.values()) + part.size > _MOST_NUMBERS):
            yield stage
            stage = {}
        stage[name] = part
        value = part.use.value
    if stage:
        yield stage
