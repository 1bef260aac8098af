"""Find out, on samples, how a graph is to be quantized: ranges, and the layers that stay in float32."""

import hashlib
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from windfall.errors import UnsupportedError
from windfall.quantization.activations.agreement import agree
from windfall.quantization.activations.measuring import measured_ranges, noises
from windfall.quantization.activations.ranges import Range
from windfall.quantization.activations.rewriting import quantize
from windfall.runtime.engine import Engine, EngineOptions
from windfall.runtime.onnxruntime import OnnxRuntime
from windfall.runtime.serialize import serialize

LOG = logging.getLogger("windfall")
Feeds = Mapping[str, NDArray[Any]]


@dataclass(frozen=True)
class Plan:
    """How a graph is quantized.

    Attributes:
        ranges: What the values around layers become, by their names.
        kept: The names of layers that stay in float32.
        largest_weight: The largest of the whole numbers that weights become.
    """

    ranges: Mapping[str, Range]
    kept: frozenset[str]
    largest_weight: int

    def apply(self, model: ir.Model) -> int:
        """Quantize a graph, in place, and return how many layers compute in 8 bits."""
        return quantize(model, self.ranges, self.kept, self.largest_weight)


@dataclass(frozen=True)
class Trial:
    """What a graph is calibrated with.

    Attributes:
        lower: Makes the graph anew, in float32.
        samples: Its inputs, for each sample.
        probabilities: For each output, whether it holds the probabilities of classes.
        engine: What will run it.
        options: How.
        largest_weight: The largest of the whole numbers that weights become.
    """

    lower: Callable[[], ir.Model]
    samples: Sequence[Feeds]
    probabilities: Sequence[bool]
    engine: Engine
    options: EngineOptions
    largest_weight: int

    def plan(self) -> Plan:
        """Return the plan in which the fewest layers stay in float32, of those tried; the noisiest stay first.

        Raises:
            UnsupportedError: The graph has no layers that compute in 8 bits, or no plan agrees with float32.
        """
        ranges = measured_ranges(self.lower(), self.samples)
        noise = noises(self.lower(), self.samples, ranges, self.largest_weight)
        if not noise:
            raise UnsupportedError(
                "the model has no convolutions or matrix products with constant weights and known shapes, which are "
                "what arithmetic='int8' is for; use 'float32'"
            )
        names = sorted(noise, key=lambda name: -noise[name])
        float_program = OnnxRuntime().compile(serialize(self.lower()), self.options)
        reference = [float_program.run(feeds) for feeds in self.samples]

        def plan_without(count: int) -> Plan:
            return Plan(ranges, frozenset(names[:count]), self.largest_weight)

        kept = _least(len(names), lambda count: self._agrees(plan_without(count), reference))
        if kept == len(names):
            raise UnsupportedError(
                "in 8 bits no layer of the model leaves its outputs as near to float32 as they must be; use "
                "arithmetic='float32'"
            )
        LOG.info("%d of %d layers compute in 8 bits", len(names) - kept, len(names))
        return plan_without(kept)

    def _agrees(self, plan: Plan, reference: Sequence[Sequence[NDArray[Any]]]) -> bool:
        model = self.lower()
        plan.apply(model)
        program = self.engine.compile(serialize(model), self.options)
        return agree(reference, [program.run(feeds) for feeds in self.samples], self.probabilities)


def _least(end: int, holds: Callable[[int], bool]) -> int:
    """Return a small number for which something holds, found in about 2 log2 steps; ``end`` if there is none."""
    failed, tried = -1, 0
    while tried < end and not holds(tried):
        failed, tried = tried, min(max(1, tried * 2), end)
    while tried - failed > 1:
        middle = (failed + tried) // 2
        failed, tried = (failed, middle) if holds(middle) else (middle, tried)
    return tried


def digest(samples: Sequence[Feeds]) -> str:
    """Return a name for the content of samples."""
    found = hashlib.sha256()
    for feeds in samples:
        for name, array in feeds.items():
            found.update(repr((name, array.shape, array.dtype.str)).encode())
            found.update(np.ascontiguousarray(array).tobytes())
    return found.hexdigest()
