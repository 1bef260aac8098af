"""ML programs, damaged: the bytes and single fields of their messages."""

import random
import tempfile
from collections.abc import Callable, Mapping, Sequence
from functools import cache, partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from tests.mutations.harness import Group, Mutation
from tests.mutations.messages import messages, mutate_bytes, mutate_message
from tests.programs import Name, Output, add_input, add_operation, new_program, set_type, set_value
from tests.support import fill
from windfall.spec.blobfile import BlobWriter
from windfall.spec.package import write_package_files
from windfall.spec.proto import FeatureTypes_pb2, MIL_pb2

BYTES_PER_BASE, FIELDS_PER_BASE = 250, 500
MODEL = "Data/com.apple.CoreML/model.mlmodel"
WEIGHT_FILE = "weights/weight.bin"
FLOAT32 = FeatureTypes_pb2.ArrayFeatureType.FLOAT32
FLOAT16 = FeatureTypes_pb2.ArrayFeatureType.FLOAT16


class Base(NamedTuple):
    """A program before it is damaged.

    Attributes:
        spec: Its message.
        blobs: Its weight files.
        functions: What may be run of it.
    """

    spec: Any
    blobs: Mapping[str, bytes] = {}
    functions: Sequence[str] = ("",)


def _numbers(*shape: int) -> np.ndarray[Any, Any]:
    return np.linspace(-1, 1, int(np.prod(shape)), dtype=np.float32).reshape(shape)


def _floats(*dims: int | None) -> Output:
    return Output(np.float32, dims)


def _add_output(spec: Any, block: Any, name: str) -> None:
    block.outputs.append(name)
    spec.description.output.add(name=name).type.multiArrayType.dataType = FLOAT32


def classifier() -> Base:
    """A picture through convolution, pooling and a dense layer to labels."""
    spec, function, block = new_program()
    fill(spec.description.input.add(name="image"), {"type": {"imageType": {"width": 8, "height": 8, "colorSpace": 20}}})
    set_type(function.inputs.add(name="image").type, MIL_pb2.FLOAT32, (1, 3, 8, 8))
    add_operation(block, "const", {"w": _floats(4, 3, 3, 3)})
    set_value(block.operations[0].attributes["val"], _numbers(4, 3, 3, 3))
    add_operation(block, "mul", {"m": _floats(1, 3, 8, 8)}, x=Name("image"), y=np.float32(0.01))
    add_operation(block, "conv", {"c": _floats(1, 4, 8, 8)}, x=Name("m"), weight=Name("w"), bias=_numbers(4),
                  strides=[1, 1], pad_type="same", dilations=[1, 1], groups=1)  # fmt: skip
    add_operation(block, "relu", {"r": _floats(1, 4, 8, 8)}, x=Name("c"))
    add_operation(block, "max_pool", {"p": _floats(1, 4, 4, 4)}, x=Name("r"), kernel_sizes=[2, 2], strides=[2, 2],
                  pad_type="valid", ceil_mode=np.bool_(False))  # fmt: skip
    add_operation(block, "reshape", {"f": _floats(1, 64)}, x=Name("p"), shape=[1, -1])
    add_operation(block, "linear", {"d": _floats(1, 3)}, x=Name("f"), weight=_numbers(3, 64), bias=_numbers(3))
    add_operation(block, "softmax", {"s": _floats(1, 3)}, x=Name("d"), axis=-1)
    _classify(spec, block, "s", ["a", "b", "c"])
    return Base(spec)


def _classify(spec: Any, block: Any, probabilities: str, labels: Sequence[str]) -> None:
    classes = block.operations.add(type="const")
    value = classes.attributes["val"]
    for label in labels:
        set_value(value.immediateValue.list.values.add(), label)
    value.type.listType.length.constant.size = len(labels)
    set_type(value.type.listType.type, MIL_pb2.STRING, ())
    classes.outputs.add(name="classes").type.CopyFrom(value.type)
    operation = add_operation(block, "classify", {}, probabilities=Name(probabilities), classes=Name("classes"))
    set_type(operation.outputs.add(name="label").type, MIL_pb2.STRING, ())
    scores = operation.outputs.add(name="scores").type.dictionaryType
    set_type(scores.keyType, MIL_pb2.STRING, ())
    set_type(scores.valueType, MIL_pb2.FLOAT32, ())
    block.outputs.extend(["label", "scores"])
    spec.description.output.add(name="label").type.stringType.SetInParent()
    spec.description.output.add(name="scores").type.dictionaryType.stringKeyType.SetInParent()
    spec.description.predictedFeatureName, spec.description.predictedProbabilitiesName = "label", "scores"


def control() -> Base:
    """A loop that appends to a list and writes a state, and a branch."""
    spec, function, block = new_program()
    add_input(spec, function, "x", _numbers(3), (3,))
    add_input(spec, function, "n", np.int32(2), ())
    set_type(function.inputs.add(name="total").type.stateType.wrappedType, MIL_pb2.FLOAT16, (3,))
    array = spec.description.state.add(name="total").type.stateType.arrayType
    array.shape.append(3)
    array.dataType = FLOAT16
    made = add_operation(block, "make_list", {"empty": _floats()}, elem_shape=np.int32(3), init_length=1, dtype="fp32")
    _set_list(made.outputs[0].type)
    add_operation(block, "add", {"left": Output(np.int32, ())}, x=Name("n"), y=2)
    _loop(block)
    add_operation(block, "list_gather", {"rows": _floats(2, 3)}, ls=Name("filled"), indices=[0, 1])
    add_operation(block, "read_state", {"kept": Output(np.float16, (3,))}, input_=Name("total"))
    _branch(block)
    add_operation(block, "concat", {"y": _floats(3, 3)}, values=[Name("rows"), Name("last")], axis=0)
    _add_output(spec, block, "y")
    return Base(spec)


def _set_list(value_type: Any) -> None:
    set_type(value_type.listType.type, MIL_pb2.FLOAT32, (3,))
    value_type.listType.length.constant.size = 1


def _loop(block: Any) -> None:
    """Append x to the list as often as n and 2 say, and add it to the state."""
    loop = add_operation(block, "while_loop", {"end": Output(np.int32, ())}, loop_vars=[Name("left"), Name("empty")])
    _set_list(loop.outputs.add(name="filled").type)
    condition, body = loop.blocks.add(), loop.blocks.add()
    for inner, names in ((condition, ("i", "a")), (body, ("j", "b"))):
        set_type(inner.inputs.add(name=names[0]).type, MIL_pb2.INT32, ())
        _set_list(inner.inputs.add(name=names[1]).type)
    add_operation(condition, "cast", {"more": Output(np.bool_, ())}, x=Name("i"), dtype="bool")
    condition.outputs.append("more")
    add_operation(body, "list_length", {"length": Output(np.int32, ())}, ls=Name("b"))
    written = add_operation(body, "list_write", {}, ls=Name("b"), index=Name("length"), value=Name("x"))
    _set_list(written.outputs.add(name="longer").type)
    add_operation(body, "read_state", {"old": Output(np.float16, (3,))}, input_=Name("total"))
    add_operation(body, "add", {"new": Output(np.float16, (3,))}, x=Name("old"), y=Name("x"))
    add_operation(body, "write_state", {}, input_=Name("total"), data=Name("new"))
    add_operation(body, "sub", {"less": Output(np.int32, ())}, x=Name("j"), y=1)
    body.outputs.extend(["less", "longer"])


def _branch(block: Any) -> None:
    add_operation(block, "cast", {"some": Output(np.bool_, ())}, x=Name("n"), dtype="bool")
    branch = add_operation(block, "cond", {"last": _floats(1, 3)}, pred=Name("some"))
    then, other = branch.blocks.add(), branch.blocks.add()
    add_operation(then, "expand_dims", {"t": _floats(1, 3)}, x=Name("x"), axes=[0])
    then.outputs.append("t")
    add_operation(other, "cast", {"k": _floats(3)}, x=Name("kept"), dtype="fp32")
    add_operation(other, "reshape", {"o": _floats(1, 3)}, x=Name("k"), shape=[1, 3])
    other.outputs.append("o")


def _stored(block: Any, name: str, offset: int, data_type: int, dims: Sequence[int]) -> Name:
    """Add a constant that lies in the weight file."""
    operation = block.operations.add(type="const")
    value = operation.attributes["val"]
    set_type(value.type, data_type, dims)
    value.blobFileValue.fileName = f"@model_path/{WEIGHT_FILE}"
    value.blobFileValue.offset = offset
    operation.outputs.add(name=name).type.CopyFrom(value.type)
    return Name(name)


def _weight_file() -> tuple[bytes, list[int]]:
    """Return a weight file and where its blobs start."""
    blobs = ((np.arange(16, dtype=np.int8), MIL_pb2.INT8, 16), (bytes(range(8)), MIL_pb2.UINT4, 16),
             (_numbers(16), MIL_pb2.FLOAT32, 16), (np.float16([0, 1, 2, 3]), MIL_pb2.FLOAT16, 4))  # fmt: skip
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "weight.bin"
        with BlobWriter(path) as writer:
            offsets = [writer.append(values, data_type, count) for values, data_type, count in blobs]
        return path.read_bytes(), offsets


def compressed() -> Base:
    """Compressed weights in a weight file, any number of rows, two functions."""
    spec, function, block = new_program()
    data, (ints, nibbles, table, bias) = _weight_file()
    add_input(spec, function, "x", _numbers(2, 4), (None, 4))
    scale = np.full((4, 1), 0.5, np.float32)
    add_operation(block, "constexpr_blockwise_shift_scale", {"w0": _floats(4, 4)},
                  data=_stored(block, "ints", ints, MIL_pb2.INT8, (4, 4)), scale=scale)  # fmt: skip
    add_operation(block, "constexpr_lut_to_dense", {"w1": _floats(4, 4)}, lut=_numbers(1, 1, 16, 1),
                  indices=_stored(block, "nibbles", nibbles, MIL_pb2.UINT4, (4, 4)))  # fmt: skip
    _stored(block, "w2", table, MIL_pb2.FLOAT32, (4, 4))
    halves = _stored(block, "halves", bias, MIL_pb2.FLOAT16, (4,))
    add_operation(block, "cast", {"b": _floats(4)}, x=halves, dtype="fp32")
    add_operation(block, "linear", {"h0": _floats(None, 4)}, x=Name("x"), weight=Name("w0"), bias=Name("b"))
    add_operation(block, "linear", {"h1": _floats(None, 4)}, x=Name("h0"), weight=Name("w1"))
    add_operation(block, "matmul", {"y": _floats(None, 4)}, x=Name("h1"), y=Name("w2"))
    _add_output(spec, block, "y")
    spec.mlProgram.functions["other"].CopyFrom(function)
    other = spec.mlProgram.functions["other"].block_specializations["CoreML8"]
    other.operations[-1].inputs["y"].arguments[0].name = "w0"
    for name in ("main", "other"):
        described = spec.description.functions.add(name=name)
        described.input.extend(spec.description.input)
        described.output.extend(spec.description.output)
    spec.description.defaultFunctionName = "main"
    del spec.description.input[:], spec.description.output[:]
    return Base(spec, {WEIGHT_FILE: data}, ("", "other"))


BASES: tuple[Callable[[], Base], ...] = (classifier, control, compressed)
_WORDS = (
    "same", "valid", "custom", "fp16", "int32", "bool", "add", "const", "val", "CoreML5", "CoreML8", "main",
    "@model_path/",
)  # fmt: skip
_once = cache(lambda make: make())


def fresh(make: Callable[[], Base]) -> Base:
    """Return a copy of a base, which is made only once."""
    base = _once(make)
    spec = type(base.spec)()
    spec.CopyFrom(base.spec)
    return base._replace(spec=spec)


def write_package(base: Base, rng: random.Random, folder: Path) -> Mutation:
    """Write a program as a package."""
    package = write_package_files(folder / "m.mlpackage", base.spec, base.blobs)
    return Mutation(package, function=rng.choice(base.functions))


def damaged_fields(make: Callable[[], Base], _index: int, rng: random.Random, folder: Path) -> Mutation:
    """Return a program with one to three fields at any depth changed; a package where it has weight files."""
    base = fresh(make)
    mutate_message(base.spec, rng, _names_in(make))
    return write_package(base, rng, folder) if base.blobs else Mutation(base.spec)


@cache
def _names_in(make: Callable[[], Base]) -> Sequence[str]:
    """Return the names in a base, and some words that have a meaning in programs."""
    found = list(messages(_once(make).spec.mlProgram))
    names = {getattr(message, field, "") for message in found for field in ("name", "fileName")}
    return [*sorted(names - {""}), *_WORDS]


def damaged_bytes(make: Callable[[], Base], _index: int, rng: random.Random, folder: Path) -> Mutation:
    """Return a program, as a package where it has weight files, with some bytes of its message changed."""
    base = fresh(make)
    data = mutate_bytes(base.spec.SerializeToString(deterministic=True), rng)
    if base.blobs:
        mutation = write_package(base, rng, folder)
        (mutation.model / MODEL).write_bytes(data)
        return mutation
    path = folder / "m.mlmodel"
    path.write_bytes(data)
    return Mutation(path)


GROUPS: Mapping[str, Group] = {
    **{f"program-{base.__name__}-bytes": Group(BYTES_PER_BASE, partial(damaged_bytes, base)) for base in BASES},
    **{f"program-{base.__name__}-fields": Group(FIELDS_PER_BASE, partial(damaged_fields, base)) for base in BASES},
}
