"""The search by itself, on layers whose true errors are known."""

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import product
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from windfall.comparison import Measure, Score
from windfall.shrinking.criteria import Criterion
from windfall.shrinking.options import Choice, LayerOptions, Option
from windfall.shrinking.search import Search

SENSITIVITIES = (1.0, 0.1, 3.0, 0.01)


def layer(number: int) -> LayerOptions:
    values = 100 * (number + 1)
    options = [Option(bits, "kmeans", values * bits // 8, 4.0**-bits) for bits in (1, 2, 3, 4, 5, 6, 8)]
    return LayerOptions(f"layer{number}", "made up", values, (*options, Option(None, "", values * 4, 0.0)))


LAYERS = [layer(number) for number in range(len(SENSITIVITIES))]


def error_of(choice: Choice) -> float:
    return sum(
        share * one.options[place].error for share, one, place in zip(SENSITIVITIES, LAYERS, choice, strict=True)
    )


def size_of(choice: Choice) -> int:
    return 500 + sum(one.options[place].size for one, place in zip(LAYERS, choice, strict=True))


def made(choice: Choice) -> Any:
    return SimpleNamespace(_file=SimpleNamespace(size=size_of(choice)), choice=choice)


class Evaluator:
    """Knows the errors; what holds together is that many times as bad as what each layer does alone."""

    def __init__(self, factor: float) -> None:
        self.factor = factor
        self.runs = 0

    def errors(self, makers: Iterable[Callable[[], Any]]) -> Iterator[float]:
        return (error_of(make().choice) for make in makers)

    def scores(self, model: Any) -> list[Score]:
        self.runs += 1
        error = self.factor * error_of(model.choice)
        value = math.inf if error == 0 else -10 * math.log10(error)
        return [Score("y", "m", "dB", "higher", value, value, value, "a", "a", 0)]


def smallest(bound: float, factor: float) -> int:
    """The least size of all choices there are."""
    every = product(*(range(len(one.options)) for one in LAYERS))
    return min(size_of(choice) for choice in every if factor * error_of(choice) <= 10 ** (-bound / 10))


def criteria(bound: float) -> Sequence[Criterion]:
    return [Criterion("m", "m", "y", "array", Measure(lambda _a, _b: None, "higher", "dB", math.inf), bound)]


@pytest.mark.parametrize("factor", [1e-4, 0.05, 1.0, 30.0, 1e4])
@pytest.mark.parametrize("bound", [5.0, 15.0, 25.0])
def test_the_smallest_is_found_however_far_predictions_are_off(bound: float, factor: float) -> None:
    evaluator = Evaluator(factor)
    search = Search(LAYERS, made, evaluator, criteria(bound), worst=False)  # type: ignore[arg-type]  # a stand-in
    best = search.run()
    assert best is not None
    assert best.holds
    assert best.scores[0].mean >= bound
    assert best.size <= 1.02 * smallest(bound, factor)
    assert evaluator.runs == len(search.verified) <= 50


def test_nothing_is_found_where_nothing_holds() -> None:
    search = Search(LAYERS, made, Evaluator(1.0), criteria(math.inf), worst=False)  # type: ignore[arg-type]  # a stand-in
    assert search.run() is None
    stays = tuple(one.stays for one in LAYERS)
    least = np.min([error_of(choice) for choice in search.verified if choice != stays])
    # The best that can be done is to quantize the one layer that matters least, to 8 bits.
    assert least == pytest.approx(min(SENSITIVITIES) * 4.0**-8)
