"""Values that do not fit, given to predictions."""

import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from decimal import Decimal
from fractions import Fraction
from types import MappingProxyType
from typing import Any

import numpy as np
from PIL import Image

import windfall

Give = Callable[[windfall.Model], object]


class Lying:
    """Says that it has a length, and has no items."""

    def __len__(self) -> int:
        return 3


class WithoutLength:
    """May be gone through as often as one likes."""

    def __iter__(self) -> Iterator[str]:
        return iter("ab")


class NotAnArray:
    """Says that it is an array, and gives text."""

    def __array__(self, *_: Any, **__: Any) -> Any:
        return np.array(["a"])


class Lines:
    """Shows itself in many lines."""

    def __repr__(self) -> str:
        return "a\nb\n" * 1000


def _deep(depth: int) -> list[Any]:
    found: list[Any] = []
    for _ in range(depth):
        found = [found]
    return found


def _endless() -> list[Any]:
    found: list[Any] = []
    found.append(found)
    return found


NUMBERS = (
    True, 0, -1, 7, 2**31, 2**53 + 1, 2**63 - 1, 2**63, -(2**63), 2**64, 10**400, 10**5000, 1.5, -0.0, float("nan"),
    float("inf"), -float("inf"), 1e308, 5e-324, 1j, Decimal("1.5"), Fraction(1, 3), np.float16(1), np.int8(-1),
    np.uint64(2**64 - 1), np.longdouble(1), np.bool_(True), np.complex64(1j), np.datetime64("2000-01-01"),
    np.timedelta64(1, "s"),
)  # fmt: skip
TEXTS = (
    "", "a", "red", "1", "1.5", "nan", "é\0", "\0", "\ud800", "a\ud800b", "\udcff", "\U0001f600", "a" * 5000, "\n",
    np.str_("a"), b"", b"a", b"\xff", bytearray(b"a"), memoryview(b"a"),
)  # fmt: skip
LISTS = (
    [], [[]], [[], []], [None], [1, None], [1, "a"], ["a"], ["a", "b", "c"], [b"a"], [[1], [1, 2]], [1.0] * 3,
    [[1.0] * 3],
    [1] * 1000, [2**63], [10**400], [float("nan")] * 3, [1, 2, 2**70], ["\ud800"], ["\0"], [{}], [{"a": 1}],
    [[[[1.0]]]],
    [True, False], [1.5, 2, 3], (), (1, 2, 3), range(3), range(5000), set(), {1, 2}, frozenset("a"),
    _deep(50), _deep(5000), _endless(), [object()], [1j], slice(3),
)  # fmt: skip
DICTIONARIES = (
    {}, {"a": 1}, {1: 2.0}, {0: 1.0, 3: 2.0}, {1: 2, "a": 3}, {"a": "b"}, {"a": None}, {None: 1}, {1.5: 2},
    {"a": float("nan")},
    {"\ud800": 1}, {"\0": 1}, {"": 1}, {2**70: 1}, {-1: 1}, {2**62: 1}, {True: 1}, {"a": [1, 2]}, {"a": {"b": 1}},
    {"a": 10**400}, {("a",): 1}, {b"a": 1}, {"a": 1j}, {"a": np.array([1.0])}, {"a": np.array("x")}, {"a": np.zeros(0)},
    {np.int64(1): np.float32(2)}, {np.str_("a"): True}, dict.fromkeys(range(3000), 1.0), MappingProxyType({"a": 1}),
    {"red": 1, "a": 2.5, "ant": 1}, {"a": "1"}, {"a": b"1"}, {"a": object()}, {"a": Decimal(1)},
)  # fmt: skip
ARRAYS = (
    np.zeros(0), np.zeros((0, 3)), np.zeros((3, 0)), np.zeros((1, 3)), np.zeros((3, 1)), np.zeros((2, 2)),
    np.zeros(3)[::-1],
    np.array(3), np.array("x"), np.array(["a", "b"]), np.array([object()]), np.array([None, 1.0]), np.array([1 + 2j]),
    np.zeros((1,) * 32), np.zeros(2, [("a", int)]), np.array([b"a"]), np.array(["2000"], "M8[Y]"), np.zeros(3,
    np.float16),
    np.zeros(3, np.longdouble), np.full(3, np.nan), np.full(3, 1e300), np.array([2**63], np.uint64), np.zeros(3,
    np.bool_),
    np.ma.masked_array([1.0, 2.0, 3.0], [True, False, False]), np.zeros((3, 2), order="F"), np.zeros(3, ">f8"),
    np.broadcast_to(np.float64(1), (3,)),
)  # fmt: skip
OBJECTS = (
    None, object(), object, len, Ellipsis, NotImplemented, Lying(), WithoutLength(), NotAnArray(), Lines(),
    Image.new("RGB", (8, 8)),
    Image.new("L", (1, 1)), Image.new("RGB", (0, 3)), Image.new("P", (8, 8)), windfall, Exception("a\nb"),
)  # fmt: skip
VALUES: Sequence[Any] = (*NUMBERS, *TEXTS, *LISTS, *DICTIONARIES, *ARRAYS, *OBJECTS)
"""What may be given as a value; rarely what it should be."""
_NAMES = ("z", "", "x ", "\ud800", 1, None, b"x", ("x",), "x:keys", ":doubles")


def damaged(value: Any, rng: random.Random) -> Any:
    """Return another value, or one that is damaged inside."""
    if rng.random() < 0.3:
        if isinstance(value, Mapping):
            return {**value, rng.choice((*TEXTS[:13], *NUMBERS[:14], None)): rng.choice(VALUES)}
        if isinstance(value, list):
            return [*value[: rng.randrange(len(value) + 1)], rng.choice(VALUES), *value[1:]]
    return rng.choice(VALUES)


def _inputs(feeds: Mapping[str, Any], rng: random.Random) -> dict[Any, Any]:
    """Return the inputs of a prediction of which one or two are damaged."""
    found: dict[Any, Any] = dict(feeds)
    for _ in range(rng.choice((1, 1, 2))):
        name = rng.choice(sorted(feeds))
        kind = rng.randrange(10)
        if kind == 0:
            found.pop(name, None)
        elif kind == 1:
            found[rng.choice(_NAMES)] = damaged(feeds[name], rng)
        else:
            found[name] = damaged(feeds[name], rng)
    return found


def _once(feeds: Mapping[str, Any], rng: random.Random) -> Give:
    inputs = _inputs(feeds, rng)
    return lambda model: model.predict(inputs)


def _by_rows(feeds: Mapping[str, Any], rng: random.Random) -> Give:
    """Give one damaged row among others."""
    rows: list[Any] = [feeds] * rng.choice((0, 1, 2, 300))
    bad = rng.choice((_inputs(feeds, rng), _inputs(feeds, rng), _inputs(feeds, rng), rng.choice(VALUES)))
    rows.insert(rng.randrange(len(rows) + 1), bad)
    given: Any = iter(rows) if rng.random() < 0.2 else rows
    return lambda model: model.predict_batch(given)


def _by_columns(feeds: Mapping[str, Any], rng: random.Random) -> Give:
    """Give a table with a damaged column, or one with a damaged value."""
    count = rng.choice((0, 1, 2, 3, 300))
    table: dict[Any, Any] = {name: [value] * count for name, value in feeds.items()}
    name = rng.choice(sorted(feeds))
    kind = rng.randrange(5)
    if kind == 0 or not count:
        table[name] = rng.choice(VALUES)
    elif kind == 1:
        table[name] = table[name][: rng.randrange(count + 1)]
    elif kind == 2:
        table[rng.choice(_NAMES)] = table[name]
    elif kind == 3:
        table = {name: rng.choice((*ARRAYS, *LISTS)) for name in table}
    else:
        table[name][rng.randrange(count)] = damaged(feeds[name], rng)
    return lambda model: model.predict_batch(table)


def _anything(_feeds: Mapping[str, Any], rng: random.Random) -> Give:
    """Give what is no dictionary of inputs."""
    value = rng.choice(VALUES)
    return (lambda model: model.predict(value)) if rng.random() < 0.5 else lambda model: model.predict_batch(value)


def _outputs(feeds: Mapping[str, Any], rng: random.Random) -> Give:
    """Ask for what may not be there."""
    value: Any = rng.choice((*TEXTS, *LISTS, *OBJECTS, ["y"], ["label", "scores"], ["x"], ["y", "y"], [":doubles"]))
    return lambda model: model.predict(feeds, outputs=value)


_WAYS = (_once, _once, _once, _by_rows, _by_rows, _by_columns, _by_columns, _anything, _outputs)


def use(feeds: Mapping[str, Any], rng: random.Random) -> Give:
    """Return what gives a model values that do not fit, in one of all ways."""
    return rng.choice(_WAYS)(feeds, rng)
