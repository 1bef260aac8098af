"""ML programs of one operation: every operator, with arguments that fit it or not."""

import inspect
import random
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, NamedTuple, Union, get_args, get_origin

import numpy as np

from tests.mutations.harness import Group, Mutation
from tests.mutations.messages import FLOATS, SMALL
from tests.mutations.operator_examples import COUNTS, DECLARED, EXAMPLES, OLDER_EXAMPLES, WORDS
from tests.programs import Input, Output, Typed, operator_spec
from windfall.lowering.ml_program.context import Array, Constant, Ints, Value
from windfall.lowering.ml_program.operators import LOWERINGS
from windfall.spec.proto import MIL_pb2

PER_OPERATOR = 24
# What makes no sense without other operations, see the loops and classifiers of ``programs.py``.
_NOT_ALONE = {"classify", "cond", "coreml_update_state", "read_state", "while_loop", "write_state"}
OPERATORS = sorted(set(LOWERINGS) - _NOT_ALONE)
_DTYPES = (np.float32,) * 6 + (np.int32,) * 3 + (np.bool_, np.float16, np.int8, np.uint8, np.int16, np.uint16)
_EXTREMES = (-(2**31), 2**31 - 1, -5, 100, 70_000, 2**28)
_LARGEST_FED = 300
_INTEGERS = ("indices", "shape", "begin", "end", "size", "reps", "lengths", "pad", "index", "position", "k")
_NARROW = (MIL_pb2.UINT1, MIL_pb2.UINT2, MIL_pb2.UINT3, MIL_pb2.UINT4, MIL_pb2.UINT6, MIL_pb2.INT4)


class Likely(NamedTuple):
    """What most arguments of an operation are like, so that they often fit each other."""

    shape: Sequence[int]
    dtype: Any


Maker = Callable[[str, Likely, random.Random], Any]
"""Returns an argument, given the parameter's name and what is likely."""


def random_operator(index: int, rng: random.Random, _folder: Path) -> Mutation:
    """Return a program of one operation; most of its arguments are often those of an example that is right."""
    operator = OPERATORS[index % len(OPERATORS)]
    change = rng.choice((_as_it_is, _as_it_is, _opened, _opened, _known))
    arguments = {name: change(value) for name, value in _arguments(operator, rng).items()}
    spec, feeds = operator_spec(operator, _outputs(operator, rng), rng.choice((5, 6, 7, 8)), **arguments)
    if operator not in DECLARED and rng.random() < 0.8:  # what an operation is not declared to give may be anything
        (function,) = spec.mlProgram.functions.values()
        for output in function.block_specializations[function.opset].operations[0].outputs:
            output.ClearField("type")
    return Mutation(spec, {name: _modest(array) for name, array in feeds.items()})


def _modest(array: Any) -> Any:
    """Return what is fed, without sizes so large that a prediction may well need gigabytes."""
    return array.clip(-_LARGEST_FED, _LARGEST_FED) if array.dtype in (np.int32, np.uint16, np.int16) else array


def _outputs(operator: str, rng: random.Random) -> list[Output]:
    count = COUNTS.get(operator, 1) if rng.random() < 0.9 else rng.randrange(4)
    if operator in DECLARED and rng.random() < 0.9:
        return [DECLARED[operator]] * count
    return [Output(rng.choice(_DTYPES), [None] * rng.randrange(5)) for _ in range(count)]


def _arguments(operator: str, rng: random.Random) -> dict[str, Any]:
    parameters = list(inspect.signature(LOWERINGS[operator].function).parameters.values())[1:]
    kinds = {parameter.name: _kind(parameter.annotation) for parameter in parameters}
    likely = Likely(_shape(rng), rng.choice(_DTYPES))
    if operator not in EXAMPLES or rng.random() < 0.2:
        needed = {p.name: 0.97 if p.default is p.empty else 0.5 for p in parameters}
        given = [name for name in kinds if rng.random() < needed[name]]
        return {name: _MAKERS[kinds[name]](name, likely, rng) for name in given}
    arguments = dict(rng.choice((EXAMPLES, OLDER_EXAMPLES)).get(operator, EXAMPLES[operator]))
    for _ in range(rng.choice((0, 1, 1, 1, 2, 3))):
        name = rng.choice(list(kinds))
        old = arguments.get(name)
        arguments[name] = _varied(old, rng) if old is not None and rng.random() < 0.7 else None
        if arguments[name] is None and rng.random() < 0.8:
            arguments[name] = _MAKERS[kinds[name]](name, likely, rng)
    return arguments


def _kind(annotation: Any) -> Any:
    """Return an annotation without None."""
    if get_origin(annotation) in (UnionType, Union):
        return next(part for part in get_args(annotation) if part is not NoneType)
    return annotation


def _shape(rng: random.Random) -> list[int]:
    """Return a shape; most sizes are the same, so that arguments often fit each other."""
    rank = rng.choice((0, 1, 1, 2, 2, 3, 3, 4, 4, 5))
    return [2 if rng.random() < 0.7 else rng.choice((0, 1, 1, 3, 4)) for _ in range(rank)]


def _tensor(shape: Sequence[int], dtype: Any, rng: random.Random) -> Any:
    """Return an array of numbers most of which are small."""
    is_float = np.dtype(dtype).kind == "f"
    extremes = FLOATS if is_float else _EXTREMES
    numbers = [rng.choice(extremes if rng.random() < 0.05 else SMALL) for _ in range(int(np.prod(shape)))]
    return _cast(np.array(numbers, np.float64 if is_float else np.int64).reshape(shape), dtype)


def _cast(array: Any, dtype: Any) -> Any:
    """Return an array as another type; numbers that it cannot hold become others."""
    with np.errstate(all="ignore"):
        return array.astype(dtype)


def _value(name: str, likely: Likely, rng: random.Random) -> Any:
    dims, dtype = likely if rng.random() < 0.8 else (_shape(rng), rng.choice(_DTYPES))
    if name in _INTEGERS and rng.random() < 0.8:
        dims, dtype = rng.choice(([len(likely.shape)], [len(likely.shape)], [], [1], dims)), np.int32
    array = _tensor(dims, dtype, rng)
    return Input(array) if rng.random() < 0.8 else array


def _values(_name: str, likely: Likely, rng: random.Random) -> Any:
    return [Input(_tensor(likely.shape, likely.dtype, rng)) for _ in range(rng.randrange(1, 4))]


def _array(_name: str, likely: Likely, rng: random.Random) -> Any:
    return _tensor(rng.choice(([], [2], [2, 2], likely.shape)), rng.choice((likely.dtype, *_DTYPES)), rng)


def _stored(_name: str, likely: Likely, rng: random.Random) -> Any:
    dims = rng.choice((likely.shape, [], [2], [2, 2]))
    if rng.random() < 0.3:
        return Typed(rng.randbytes(int(np.prod(dims))), rng.choice(_NARROW), dims)
    return _tensor(dims, rng.choice(_DTYPES), rng)


def _numbers(choices: Sequence[Any], dtype: Any) -> Maker:
    def make(_name: str, likely: Likely, rng: random.Random) -> Any:
        rank = len(likely.shape)
        count = rng.choice((rank, rank, 1, 2, 2, 4, 0))
        return np.array([rng.choice(choices) for _ in range(count)], dtype)

    return make


_sizes = _numbers(SMALL, np.int32)


def _integers(name: str, likely: Likely, rng: random.Random) -> Any:
    axes = range(len(likely.shape))
    if name != "axes" or rng.random() < 0.2:
        return _sizes(name, likely, rng)
    return np.array(rng.sample(axes, rng.randrange(len(axes) + 1)), np.int32)


def _integer(name: str, likely: Likely, rng: random.Random) -> Any:
    if name == "axis" and likely.shape and rng.random() < 0.8:
        return np.int32(rng.randrange(-len(likely.shape), len(likely.shape)))
    return np.int32(rng.choice(_EXTREMES if rng.random() < 0.15 else SMALL))


def _word(name: str, _likely: Likely, rng: random.Random) -> str:
    return rng.choice((*WORDS.get(name, ()), *WORDS.get(name, ()), "", "same", "é\n"))


_MAKERS: Mapping[object, Maker] = {
    Value: _value,
    Sequence[Value]: _values,
    Array: _array,
    Constant: _stored,
    Sequence[Constant]: _stored,
    int: _integer,
    float: lambda _name, _likely, rng: np.float32(rng.choice(FLOATS)),
    bool: lambda _name, _likely, rng: np.bool_(rng.random() < 0.5),
    str: _word,
    Ints: _integers,
    tuple[float, ...]: _numbers(FLOATS, np.float32),
    tuple[bool, ...]: _numbers((False, True), np.bool_),
    tuple[str, ...]: _word,
}


def _varied(old: Any, rng: random.Random) -> Any:
    """Return an argument that differs a little from one that is right; None for one that can only be another."""
    if isinstance(old, list):
        return [_varied(item, rng) if rng.random() < 0.5 else item for item in old]
    if isinstance(old, Input):
        return old._replace(array=_varied(old.array, rng))
    return None if isinstance(old, str | Typed) else rng.choice(_VARIATIONS)(np.array(old), rng)


def _other_numbers(array: Any, rng: random.Random) -> Any:
    return _tensor(array.shape, array.dtype, rng)


def _other_number(array: Any, rng: random.Random) -> Any:
    if array.size:
        array.flat[rng.randrange(array.size)] = _cast(np.int64(rng.choice((0, 1, -1, -5, 100, 70_000))), array.dtype)
    return array


def _other_size(array: Any, rng: random.Random) -> Any:
    dims = list(array.shape)
    if dims:
        dims[rng.randrange(len(dims))] = rng.choice((0, 1, 2, 3, 5))
    return np.resize(array, dims)


def _other_type(array: Any, rng: random.Random) -> Any:
    return _cast(array, rng.choice(_DTYPES))


_VARIATIONS = (_other_numbers, _other_number, _other_size, _other_type)


def _as_it_is(value: Any) -> Any:
    return value


def _opened(value: Any) -> Any:
    """Return an argument all sizes of which are open."""
    if isinstance(value, list):
        return [_opened(item) for item in value]
    return Input(value.array, [None] * np.ndim(value.array)) if isinstance(value, Input) else value


def _known(value: Any) -> Any:
    """Return an argument that is a constant."""
    return value.array if isinstance(value, Input) else value


GROUPS: Mapping[str, Group] = {"operators": Group(PER_OPERATOR * len(OPERATORS), random_operator)}
