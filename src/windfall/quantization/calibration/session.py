"""Quantize the weights of a model one after another, each fitted to what the layers before it, quantized, give it."""

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from windfall.errors import FormatError
from windfall.model import Model
from windfall.quantization.calibration.correction import can_correct, correct, mean_error
from windfall.quantization.calibration.fitting import best
from windfall.quantization.calibration.layouts import channels_in_groups, layout_of
from windfall.quantization.calibration.moments import Moments
from windfall.quantization.calibration.patches import picked
from windfall.quantization.calibration.programuses import program_uses
from windfall.quantization.calibration.samples import CALIBRATED, Calibration
from windfall.quantization.calibration.uses import OTHER, Use, network_uses
from windfall.quantization.calibration.values import Inputs, Probe, inputs_of_member
from windfall.quantization.codecs import Encoded
from windfall.quantization.networks import Layer, Part, parts
from windfall.quantization.programs.weightfile import UnfinishedFile, WeightFile
from windfall.quantization.settings import Settings
from windfall.quantization.weight import Weight, weight_error
from windfall.spec.modelfile import ModelFile
from windfall.spec.programs import interface

Floats = NDArray[np.float32]
Bits = Sequence[int | None]
_HALF = 16
_MOST_STAGES = 64
"""The network is compiled for each stage; where it has more layers, several make up one."""
_MOST_NUMBERS = 2**26
"""How many numbers the moments of the layers of a stage may have together, unless it is a single layer."""
SILENT = "its input is always 0"


class _Part(NamedTuple):
    """A layer whose weights are fitted.

    Attributes:
        use: How it uses them.
        biases: The weights, by field, each with the bias that may be corrected, None where there is none.
        size: How many numbers the moments of its input have.
    """

    use: Use
    biases: dict[str, Weight | None]
    size: int


class _Network:
    """A network or a program, as it was and as it becomes.

    Attributes:
        path: What stands in front of its layers' names.
        models: The messages of the pipelines that it lies in, the outermost first, then its own.
        current: Its own message, whose weights are being replaced.
        file: What has the weights of that.
        function: The function of a program that the samples are for.
        inputs: What it is given for each sample, None as long as nobody asked.
        is_changed: Whether a weight of it was replaced already.
    """

    def __init__(self, part: Part, current: Any, file: ModelFile, function: str) -> None:
        self.path = part.prefix
        self.models = part.models
        self.current = current
        self.file = file
        self.function = function
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
        weights: Where weights of programs are stored.

    Raises:
        FeatureError: There are no samples, or one does not fit the model.
    """

    def __init__(
        self,
        model: Model,
        spec: Any,
        plan: Sequence[tuple[Layer, Bits]],
        settings: Settings,
        weights: WeightFile | None = None,
    ) -> None:
        assert isinstance(settings.calibration, Calibration)
        self._model = model
        self._file = model._file
        self._settings = settings
        self._weights = weights
        self._outcomes = settings.calibration.outcomes
        self._outcomes.clear()
        self._samples = settings.calibration.inputs(model)
        self._reasons: dict[str, str] = {}
        self._networks: dict[str, _Network] = {}
        self._stages: dict[str, _Stage] = {}
        self._moments: dict[str, Moments] = {}
        self._errors: list[tuple[Weight, NDArray[np.float64]]] = []
        for before, after in zip(parts(self._file, self._file.spec), parts(self._file, spec), strict=True):
            network = self._network(before, after)
            uses = self._uses(before, network.function)
            self._networks.update(dict.fromkeys(uses, network))
            self._reasons.update({name: use for name, use in uses.items() if isinstance(use, str)})
            found = {layer.path: self._part(layer, bits, uses.get(layer.path)) for layer, bits in plan}
            for stage in _staged({name: part for name, part in found.items() if part is not None}):
                self._stages.update(dict.fromkeys(stage, _Stage(network, stage)))

    def _network(self, before: Part, after: Part) -> _Network:
        current = after.models[-1]
        if not before.is_program:
            return _Network(before, current, self._file, "")
        assert self._weights is not None
        wanted = self._model._function if len(before.models) == 1 else ""
        function = interface(self._file.with_spec(before.models[-1], {}), wanted).function
        return _Network(before, current, UnfinishedFile(self._file, current, self._weights), function)

    def _uses(self, part: Part, function: str) -> dict[str, Use | str]:
        if part.is_program:
            return program_uses(self._file, part.message, part.prefix, function)
        return network_uses(self._file, part.message, part.models[-1].description, part.prefix)

    def _part(self, layer: Layer, bits: Bits, use: Use | str | None) -> _Part | None:
        """Return a layer if it has weights to fit."""
        if not isinstance(use, Use):
            return None
        wanted = {weight.field: (weight, number) for weight, number in zip(layer.weights, bits, strict=True)}
        biases: dict[str, Weight | None] = {}
        sizes = [0]
        for field, (weight, number) in wanted.items():
            if field not in use.biases or number is None or number >= _HALF or weight.channel_axis is None:
                continue
            bias, kind = wanted.get(use.biases[field], (None, None))
            biases[field] = bias if bias is not None and can_correct(self._file, bias, kind) else None
            sizes.append(weight.size // channels_in_groups(weight, use.groups).channels)
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
        chosen = self._chosen(weight, values, bits, plain)
        if weight.layer in self._networks:
            self._networks[weight.layer].is_changed = True
        return chosen

    def _chosen(self, weight: Weight, values: Floats, bits: int, plain: Encoded) -> Encoded:
        stage = self._stages.get(weight.layer)
        if stage is None or weight.field not in stage.parts[weight.layer].biases:
            return self._without(weight, self._reasons.get(weight.layer, OTHER), plain)
        part = stage.parts[weight.layer]
        layout = layout_of(weight, part.use.groups, self._settings)
        if isinstance(layout, str):
            return self._without(weight, layout, plain)
        if weight.layer not in self._moments:
            self._moments = self._measured(stage)
        moments = self._moments[weight.layer]
        if moments.is_zero:
            return self._without(weight, SILENT, plain)
        bias = part.biases[weight.field]
        matrix = layout.matrix(values)
        form = layout.form(plain, bits)
        found = best(matrix, moments, form, layout.values(plain), has_bias=bias is not None)
        self._outcomes[weight.layer, weight.field] = CALIBRATED
        chosen = plain if found is None else layout.stored(found)
        if bias is not None:
            self._errors.append((bias, mean_error(matrix, layout.values(chosen), moments)))
        return chosen

    def _without(self, weight: Weight, reason: str, plain: Encoded) -> Encoded:
        self._outcomes[weight.layer, weight.field] = reason
        return plain

    def _measured(self, stage: _Stage) -> dict[str, Moments]:
        """Return the moments of the inputs of a stage's layers."""
        network, parts = stage.network, stage.parts
        values = list(dict.fromkeys(part.use.value for part in parts.values()))
        options, function = self._model._options, network.function
        original = Probe(self._file, network.models[-1], values, options, function)
        current = Probe(network.file, network.current, values, options, function) if network.is_changed else None
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
                correct(self._file, bias, error, self._weights)
            except FormatError as problem:
                raise weight_error(bias, str(problem), self._file) from problem
        self._errors.clear()


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
