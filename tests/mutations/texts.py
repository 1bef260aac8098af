"""Compiled models, damaged: the lines, words and bytes of ``model.mil``, and the files that describe the program."""

import json
import random
import re
import struct
from collections.abc import Callable, Mapping
from functools import cache, partial
from pathlib import Path
from typing import Any

from tests.mutations.harness import Group, Mutation
from tests.mutations.messages import mutate_bytes
from tests.mutations.programs import BASES, Base, control, fresh
from windfall.spec.miltext import write_program

WORDS_PER_BASE, BYTES_PER_BASE, DESCRIPTIONS = 800, 300, 450
_WORD = re.compile(r'"(?:[^"\\]|\\.)*"|[\w.+-]+|\s+|.', re.DOTALL)
_WORDS = (
    "tensor", "list", "dict", "state", "tuple", "fp16", "fp32", "int32", "bool", "string", "uint4", "?", "[", "]", "(",
    ")", "{", "}", "<", ">", ",", ";", "=", "->", "func", "program", "const", "BLOBFILE", "path", "offset", "uint64",
    "0x1p+3", "-0x1.8p-1", "nan", "inf", "true", "*", "\\", '"', '"\\x"', "0", "-1", "1e999", "9" * 50, "9" * 5000, "é",
    "\0", "\n", "/*", "//", "[" * 300, "{" * 3000, "tensor<" * 1000, "ios99", "CoreML8",
)  # fmt: skip
_NUMBERS = ("0", "1", "-1", "3", "2147483648", "4294967296", "9" * 19, "9" * 30)
_LINES_CHANGED = 0.15

_X = {"name": "x", "type": "MultiArray", "dataType": "Float32", "shape": "[3]", "isOptional": "0"}
_N = {"name": "n", "type": "MultiArray", "dataType": "Int32", "shape": "[]", "isOptional": "0"}
_Y = {"name": "y", "type": "MultiArray", "dataType": "Float32", "shape": "[]"}
_STATE = {"name": "total", "type": "State", "dataType": "Float16", "shape": "[3]"}
_CONTROL = {"inputSchema": [_X, _N], "outputSchema": [_Y], "stateSchema": [_STATE], "specificationVersion": 9,
            "userDefinedMetadata": {"a": "b"}, "version": "1", "shortDescription": "", "author": ""}  # fmt: skip
_PICTURE = {"name": "image", "type": "Image", "width": "8", "height": "8", "colorspace": "RGB", "isOptional": "1"}
_FEATURES = (
    {**_X, "hasShapeFlexibility": "1", "shapeRange": "[[1, 3], [2, -1]]"},
    {**_X, "hasShapeFlexibility": "1", "enumeratedShapes": "[[3], [4]]"},
    _PICTURE,
    {**_PICTURE, "hasSizeFlexibility": "1", "sizeRange": "[[1, 8], [2, -1]]"},
    {**_PICTURE, "hasSizeFlexibility": "1", "enumeratedSizes": "[[8, 8], [16, 9]]"},
    {"name": "scores", "type": "Dictionary", "keyType": "String"},
    {"name": "words", "type": "Sequence", "valueType": "Int64", "sizeRange": "[1, 5]"},
    {"name": "word", "type": "String"},
)


def compiled(base: Base, text: bytes, folder: Path) -> Path:
    """Write a compiled model, in the form of Apple's compiler."""
    path = folder / "m.mlmodelc"
    path.mkdir()
    (path / "model.mil").write_bytes(text)
    (path / "coremldata.bin").write_bytes(_binary(base))
    for name, data in base.blobs.items():
        (path / name).parent.mkdir(exist_ok=True)
        (path / name).write_bytes(data)
    return path


def _binary(base: Base) -> bytes:
    description = base.spec.description.SerializeToString(deterministic=True)
    word = b"generic"
    model_type = base.spec.DESCRIPTOR.fields_by_name["mlProgram"].number
    head = struct.pack("<I24xQ", model_type, len(word)) + word + struct.pack("<I28x", base.spec.specificationVersion)
    return head + struct.pack("<Q", len(description)) + description + bytes(16)


@cache
def _text(make: Callable[[], Base]) -> str:
    return write_program(make().spec.mlProgram)


def damaged_words(make: Callable[[], Base], _index: int, rng: random.Random, folder: Path) -> Mutation:
    """Return a compiled model of whose text some words or lines are others, or in other places."""
    base = fresh(make)
    text = _with_other_words(_text(make), rng)
    return Mutation(compiled(base, text, folder), function=rng.choice(base.functions))


def _with_other_words(text: str, rng: random.Random) -> bytes:
    lines = text.splitlines(keepends=True)
    for _ in range(rng.choice((1, 1, 2, 3))):
        if not lines or rng.random() < _LINES_CHANGED:
            _change(lines, rng)
        else:  # in a line, so that those with many numbers are not changed more often than others
            at = rng.randrange(len(lines))
            words = _WORD.findall(lines[at])
            _change(words, rng)
            lines[at] = "".join(words)
    return "".join(lines).encode("utf-8", "surrogatepass")


def _change(words: list[str], rng: random.Random) -> None:
    """Take some words away, repeat them, or put others in their place."""
    if not words:
        return
    at = rng.randrange(len(words))
    end = at + rng.choice((1, 1, 2, 5, 20))
    kind = rng.randrange(7)
    if kind == 0:
        del words[at:end]
    elif kind == 1:
        words[at:at] = words[at:end] * rng.choice((1, 1, 2, 50))
    elif kind == 2:
        words[at] = rng.choice(_WORDS)
    elif kind == 3:
        words[at:at] = [rng.choice(_WORDS)]
    elif kind == 4:
        numbers = [index for index, word in enumerate(words) if word.lstrip("-").isdigit()]
        words[rng.choice(numbers or [at])] = rng.choice(_NUMBERS)
    else:  # another word, of the same kind where there is one
        alike = [word for word in words if _kind(word) == _kind(words[at]) and word != words[at]]
        words[at] = rng.choice(alike or words)


def _kind(word: str) -> str:
    """Return what a word looks like: a name, a number, or what it starts with."""
    first = word.lstrip("-")[:1]
    return "name" if first.isalpha() else "number" if first.isdigit() else first


def damaged_bytes(make: Callable[[], Base], _index: int, rng: random.Random, folder: Path) -> Mutation:
    """Return a compiled model of whose text some bytes are changed."""
    return Mutation(compiled(fresh(make), mutate_bytes(_text(make).encode(), rng), folder))


def damaged_description(_index: int, rng: random.Random, folder: Path) -> Mutation:
    """Return a compiled model whose description is damaged, in either of its forms, or missing."""
    make = rng.choice(BASES)
    path = compiled(fresh(make), _text(make).encode(), folder)
    binary = path / "coremldata.bin"
    kind = rng.randrange(4)
    if kind == 0:
        binary.write_bytes(mutate_bytes(binary.read_bytes(), rng))
        return Mutation(path)
    binary.unlink()
    if kind == 1:
        (path / "model.mil").write_bytes(_with_other_words(_text(make), rng))
        return Mutation(path)
    (path / "model.mil").write_text(_text(control))
    text = json.dumps([_metadata(rng)], indent=1)
    damaged = _with_other_words(text, rng) if kind == 2 else mutate_bytes(text.encode(), rng)
    (path / "metadata.json").write_bytes(damaged)
    return Mutation(path)


def _metadata(rng: random.Random) -> Mapping[str, Any]:
    """Return the description of ``control``, often with a feature more that its program does not have."""
    feature = rng.choice(_FEATURES)
    side = rng.choice(("inputSchema", "outputSchema"))
    described = _CONTROL if rng.random() < 0.4 else {**_CONTROL, side: [*_CONTROL[side], feature]}
    return described if rng.random() < 0.7 else {"functions": [{"name": "main", **described}], **described}


GROUPS: Mapping[str, Group] = {
    **{f"text-{base.__name__}-words": Group(WORDS_PER_BASE, partial(damaged_words, base)) for base in BASES},
    **{f"text-{base.__name__}-bytes": Group(BYTES_PER_BASE, partial(damaged_bytes, base)) for base in BASES},
    "text-descriptions": Group(DESCRIPTIONS, damaged_description),
}
