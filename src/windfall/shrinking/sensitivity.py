"""How far the outputs are off when one layer alone is quantized: measured for some options, predicted for the others.

As long as changes are small, the error of the outputs is the sum of what each layer causes, and that grows with the
squared change of the layer's weights. Per-layer sensitivities of this kind decide on bits in HAWQ-V2 (Dong, Yao, Cai,
Arfeen, Gholami, Mahoney and Keutzer, "HAWQ-V2: Hessian Aware trace-Weighted Quantization of Neural Networks",
arXiv:1911.03852, 2019), which takes them from the trace of the Hessian; here they are measured, without gradients.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from windfall.shrinking.options import LayerOptions, Option

_FIRST_WIDTHS = (4, 2)


class Sensitivity:
    """The output errors of one layer's options.

    Args:
        layer: The layer.
    """

    def __init__(self, layer: LayerOptions) -> None:
        self._layer = layer
        self._errors = dict[int, float]()

    def first(self) -> list[int]:
        """Return the options to measure first: the best of few bits, and of very few."""
        places = [self._best_of(bits) for bits in _FIRST_WIDTHS]
        found = list(dict.fromkeys(place for place in places if place is not None))
        return found or [place for place in range(len(self._layer.options)) if place != self._layer.stays][:1]

    def _best_of(self, bits: int) -> int | None:
        places = [place for place, option in enumerate(self._layer.options) if option.bits == bits]
        return min(places, key=lambda place: self._layer.options[place].error, default=None)

    def needs(self, place: int) -> bool:
        """Whether an option has not been measured, and would change something."""
        return place not in self._errors and self._layer.options[place].error > 0

    def learn(self, place: int, error: float) -> None:
        """Take in what was measured; NaN where outputs say nothing: then the weights' own error stands for it."""
        self._errors[place] = self._layer.options[place].error if np.isnan(error) else error

    def predicted(self) -> NDArray[np.float64]:
        """Return the error of each option: measured, or in proportion to that of the weights.

        The proportion is that of the options measured on both sides, by the logarithm of the weights' error; of those
        of the same mode where there are any.
        """
        return np.array([self._predicted(place, option) for place, option in enumerate(self._layer.options)])

    def _predicted(self, place: int, option: Option) -> float:
        if option.error <= 0:
            return 0.0
        if place in self._errors:
            return self._errors[place]
        known = self._known(option.mode) or self._known(None)
        if not known:
            return option.error
        errors, shares = zip(*sorted(known), strict=True)
        return option.error * float(np.interp(np.log(option.error), errors, shares))

    def _known(self, mode: str | None) -> list[tuple[float, float]]:
        options: Sequence[Option] = self._layer.options
        return [
            (float(np.log(options[place].error)), error / options[place].error)
            for place, error in self._errors.items()
            if options[place].error > 0 and mode in (None, options[place].mode)
        ]
