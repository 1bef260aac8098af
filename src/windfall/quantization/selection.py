"""Which weights are quantized, and to how many bits."""

from collections.abc import Callable, Iterable, Mapping
from difflib import get_close_matches
from fnmatch import fnmatchcase

from windfall.errors import UnsupportedError
from windfall.quantization.weight import Weight
from windfall.text import brief

Select = str | Iterable[str] | Mapping[str, int | None] | Callable[[Weight], int | bool | None]
"""What may be given as ``select``."""

_MOST_LISTED = 8


class Selection:
    """Says of each weight how many bits it gets.

    Args:
        select: See ``quantize_weights``.
        bits: What weights get unless ``select`` says another number.
        checked: Refuses a number of bits that the mode does not have.
        smallest: How many values a weight must have to be taken where ``select`` does not decide on each.
    """

    def __init__(self, select: Select | None, bits: int, checked: Callable[[object], int], smallest: int) -> None:
        self._bits = bits
        self._checked = checked
        self._smallest = smallest
        self._function = select if callable(select) else None
        self._patterns = {} if select is None or callable(select) else _patterns(select, bits)
        self._others = bits if select is None or isinstance(select, Mapping) else None
        self._unused = dict.fromkeys(self._patterns)
        self._known = dict[str, None]()
        for number in self._patterns.values():
            if number is not None:
                checked(number)

    def bits_for(self, weight: Weight) -> int | None:
        """Return how many bits a weight gets, None if it is left alone."""
        if self._function is not None:
            return self._answer(self._function(weight))
        bits = self.layer_bits(*weight.names)
        return None if weight.is_vector or weight.size < self._smallest else bits

    def layer_bits(self, layer: str, *also: str) -> int | None:
        """Return how many bits the larger weights of a layer get, where no function decides on each.

        Args:
            layer: Its name.
            also: What else it may be called.
        """
        self._known[layer] = None
        pattern = self._match(layer, *also)
        return self._others if pattern is None else self._patterns[pattern]

    @property
    def is_each(self) -> bool:
        """Whether a function decides on each weight."""
        return self._function is not None

    def names(self, layer: str) -> bool:
        """Whether a layer is named to be quantized, not only among all."""
        pattern = self._match(layer)
        return pattern is not None and self._patterns[pattern] is not None

    def check_all_used(self, name: str) -> None:
        """Refuse names that no layer has.

        Raises:
            UnsupportedError: There are such.
        """
        if not self._unused:
            return
        known = list(self._known)
        wrong = next(iter(self._unused))
        near = get_close_matches(wrong, known, n=3, cutoff=0.5) or known[:_MOST_LISTED]
        more = f" (and {len(self._unused) - 1} more)" if len(self._unused) > 1 else ""
        raise UnsupportedError(
            f"select has {brief(wrong)}{more}, which no layer of {name} with weights is called; "
            f"such are {', '.join(map(repr, near)) or 'none'}"
        )

    def _answer(self, given: object) -> int | None:
        if given is None or given is False:
            return None
        return self._bits if given is True else self._checked(given)

    def _match(self, layer: str, *also: str) -> str | None:
        """Return the first pattern for a layer: its name with or without what it lies in, a full name before others."""
        names = (layer, layer.rpartition("/")[2], *also)
        used = None
        for pattern in self._patterns:
            if pattern in names:
                self._unused.pop(pattern, None)
                return pattern
            if any(fnmatchcase(name, pattern) for name in names):
                self._unused.pop(pattern, None)
                used = used or pattern
        return used


def _patterns(select: str | Iterable[str] | Mapping[str, int | None], bits: int) -> dict[str, int | None]:
    named = {select: bits} if isinstance(select, str) else select
    pairs = dict(named) if isinstance(named, Mapping) else dict.fromkeys(_listed(named), bits)
    for pattern in pairs:
        if not isinstance(pattern, str):
            raise UnsupportedError(
                f"select has {brief(pattern)}, must have names of layers or patterns such as 'conv*'"
            )
    return pairs


def _listed(names: object) -> list[str]:
    if not isinstance(names, Iterable):
        rule = "must be names, a mapping from names to bits, or a function of a weight"
        raise UnsupportedError(f"select is {brief(names)}, {rule}")
    return list(names)
