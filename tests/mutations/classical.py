"""Classical models and pipelines, damaged: their bytes, fields and parameters; and values that do not fit them."""

import random
from collections.abc import Callable, Mapping
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

import windfall
from tests.classical import TYPES, array, image, optional
from tests.mutations.classical_bases import FAMILIES, Base
from tests.mutations.classical_pipelines import LINKED, PIPELINES, linked_member
from tests.mutations.classical_sizes import SIZES
from tests.mutations.classical_values import VALUES, use
from tests.mutations.harness import Group, Mutation
from tests.mutations.messages import fill_at_random, messages, mutate_bytes, mutate_message
from tests.support import fill
from windfall.features import arrays

FIELDS, BYTES, FILLED, VALUES_PER_FAMILY, PER_PIPELINE = 55, 20, 35, 90, 80
_LARGEST_VALUE, _MOST_AXES = 2**16, 32
_WORDS = (
    "x", "y", "a", "red", "label", "scores", "CoreML.Specification.Model", "linked.mlmodel", "x:keys", "y:scores",
    ":doubles",
    "x:", "x#2",
)  # fmt: skip
# A second of sound takes a while.
_FEW = {"sound": 4}
_KINDS: tuple[Any, ...] = (
    *TYPES.values(), array(3), array(2, 2), array(0), array(), array(3, dtype="INT32"), array(3, dtype="FLOAT16"),
    optional("double"), optional("int64"), optional("string"), optional((3,)), optional("string dictionary"),
    image(8, 8),
)  # fmt: skip
bases = cache(lambda family: FAMILIES[family]())
pipeline = cache(lambda make: make())


def fresh(base: Base) -> Any:
    """Return a copy of a base's message."""
    spec = type(base.spec)()
    spec.CopyFrom(base.spec)
    return spec


# Values for what a damaged description may ask for


def feeds_of(spec: Any, feeds: Mapping[str, Any]) -> dict[str, Any]:
    """Return a value for each input: the one that is given for its name, else one of its type."""
    return {
        feature.name: feeds[feature.name] if feature.name in feeds else _value(feature.type)
        for feature in spec.description.input
    }


def _value(type_: Any) -> Any:
    kind = type_.WhichOneof("Type")
    return _VALUES[kind](type_) if kind in _VALUES else 1.0


def _numbers(type_: Any) -> Any:
    shape = [size if 0 <= size <= _LARGEST_VALUE else 2 for size in arrays.default_shape(type_.multiArrayType)]
    fits = len(shape) <= _MOST_AXES and np.prod(shape, dtype=object) <= _LARGEST_VALUE
    return np.ones(shape if fits else 2)


def _picture(type_: Any) -> Any:
    return Image.new("RGB", (min(type_.imageType.width, 64), min(type_.imageType.height, 64)))


_VALUES: Mapping[str, Callable[[Any], Any]] = {
    "doubleType": lambda _: 0.5,
    "int64Type": lambda _: 1,
    "stringType": lambda _: "a",
    "imageType": _picture,
    "multiArrayType": _numbers,
    "dictionaryType": lambda t: {1: 1.0} if t.dictionaryType.WhichOneof("KeyType") == "int64KeyType" else {"a": 1.0},
    "sequenceType": lambda t: [1] if t.sequenceType.WhichOneof("Type") == "int64Type" else ["a"],
}


def _used(feeds: Mapping[str, Any], rng: random.Random, most: int = 300) -> Callable[[windfall.Model], object]:
    """Return what predicts once, or several rows at once: none, a few, so many that they are computed in streams."""
    rows = rng.choice((None, None, None, 0, 1, 3, most))
    if rows is None:
        return lambda model: model.predict(feeds)
    return lambda model: model.predict_batch([feeds] * rows)


# Single models


def damaged_fields(family: str, index: int, rng: random.Random, _folder: Path) -> Mutation:
    """Return a model with one to three fields at any depth changed."""
    base = bases(family)[index % len(bases(family))]
    spec = fresh(base)
    mutate_message(spec, rng, _WORDS)
    feeds = feeds_of(spec, base.feeds if rng.random() < 0.5 else {})
    return Mutation(spec, use=_used(feeds, rng, _FEW.get(family, 300)))


def damaged_bytes(family: str, index: int, rng: random.Random, folder: Path) -> Mutation:
    """Return a model of whose file some bytes are changed."""
    base = bases(family)[index % len(bases(family))]
    path = folder / "m.mlmodel"
    path.write_bytes(mutate_bytes(base.spec.SerializeToString(deterministic=True), rng))
    return Mutation(path, use=_used(base.feeds, rng, _FEW.get(family, 300)))


def filled(family: str, index: int, rng: random.Random, _folder: Path) -> Mutation:
    """Return a model with random parameters, and often with random inputs and outputs."""
    base = bases(family)[index % len(bases(family))]
    spec = fresh(base)
    params = getattr(spec, spec.WhichOneof("Type"))
    params.Clear()
    params.SetInParent()
    fill_at_random(params, rng)
    if rng.random() < 0.7:
        del spec.description.input[:]
        for number in range(rng.choice((1, 1, 2))):
            fill(spec.description.input.add(name=f"x{number}"), {"type": rng.choice(_KINDS)})
    if rng.random() < 0.5:
        del spec.description.output[:]
        for number in range(rng.choice((1, 1, 2))):
            fill(spec.description.output.add(name=f"y{number}"), {"type": rng.choice(_KINDS)})
        spec.description.predictedFeatureName, spec.description.predictedProbabilitiesName = "y0", "y1"
    return Mutation(spec, use=_used(feeds_of(spec, {}), rng, _FEW.get(family, 300)))


def damaged_model(family: str, index: int, rng: random.Random, folder: Path) -> Mutation:
    """Return a model that is damaged in one of all ways."""
    number = index % (FIELDS + BYTES + FILLED)
    way = damaged_fields if number < FIELDS else damaged_bytes if number < FIELDS + BYTES else filled
    return way(family, index, rng, folder)


def large(index: int, rng: random.Random, folder: Path) -> Mutation:
    """Return a model that asks for much, from a file."""
    spec = SIZES[index]()
    path = folder / "m.mlmodel"
    path.write_bytes(spec.SerializeToString())
    return Mutation(path, use=_used(feeds_of(spec, {}), rng, 3))


# Pipelines


def damaged_pipeline(make: Callable[[], Base], _index: int, rng: random.Random, folder: Path) -> Mutation:
    """Return a pipeline with some fields or bytes changed, of its members too; or a file that it links to."""
    base = pipeline(make)
    spec, options = fresh(base), _options(base.spec, rng, folder)
    feeds = feeds_of(spec, base.feeds)
    if rng.random() < 0.3:
        path = folder / "m.mlmodel"
        path.write_bytes(mutate_bytes(spec.SerializeToString(deterministic=True), rng))
        return Mutation(path, options=options, use=_used(feeds, rng))
    if rng.random() < 0.4:
        _damage_packed(spec, rng)
    else:
        mutate_message(spec, rng, _words(make))
    return Mutation(spec, options=options, use=_used(feeds_of(spec, base.feeds), rng))


@cache
def _words(make: Callable[[], Base]) -> list[str]:
    names = {getattr(message, "name", "") for message in messages(pipeline(make).spec)}
    return [*sorted(names - {""}), *_WORDS]


def _damage_packed(spec: Any, rng: random.Random) -> None:
    """Damage a member: the bytes of a packed one, the fields of another."""
    member = rng.choice([found for found in messages(spec) if found.DESCRIPTOR.name == "Model"])
    if member.WhichOneof("Type") == "serializedModel":
        member.serializedModel.model = mutate_bytes(member.serializedModel.model, rng)
    else:
        mutate_message(member, rng, _WORDS)


def _options(spec: Any, rng: random.Random, folder: Path) -> dict[str, Any]:
    """Return what stands outside of a model's file: a linked model, often damaged, and a function that may be odd."""
    kinds = {found.WhichOneof("Type") for found in messages(spec) if found.DESCRIPTOR.name == "Model"}
    options: dict[str, Any] = {}
    if "linkedModel" in kinds:
        data = linked_member().SerializeToString()
        (folder / LINKED).write_bytes(mutate_bytes(data, rng) if rng.random() < 0.4 else data)
        options["linked_models"] = folder
    if "visionFeaturePrint" in kinds:
        value = rng.choice(VALUES) if rng.random() < 0.4 else [0.5, 1.0, 2.0]
        options["feature_extractor"] = lambda _given: value
    return options


# Values


@cache
def loaded(family: str, index: int) -> windfall.Model:
    """Return a model that is not damaged."""
    return windfall.load(bases(family)[index].spec, threads=1)


def damaged_values(family: str, _index: int, rng: random.Random, _folder: Path) -> Mutation:
    """Return a model that is given values that do not fit."""
    index = rng.randrange(len(bases(family)))
    return Mutation(loaded(family, index), use=use(bases(family)[index].feeds, rng))


@cache
def loaded_pipeline(make: Callable[[], Base]) -> windfall.Model:
    """Return a pipeline that is not damaged."""
    return windfall.load(pipeline(make).spec, threads=1)


def damaged_pipeline_values(_index: int, rng: random.Random, _folder: Path) -> Mutation:
    """Return a pipeline that is given values that do not fit."""
    make = rng.choice(PIPELINES[:-2])  # those that have all that they need
    return Mutation(loaded_pipeline(make), use=use(pipeline(make).feeds, rng))


def _count(family: str) -> int:
    return 40 if family in _FEW else FIELDS + BYTES + FILLED


GROUPS: Mapping[str, Group] = {
    **{f"classical-{family}": Group(_count(family), partial(damaged_model, family)) for family in FAMILIES},
    **{f"pipeline-{make.__name__}": Group(PER_PIPELINE, partial(damaged_pipeline, make)) for make in PIPELINES},
    **{f"values-{family}": Group(VALUES_PER_FAMILY, partial(damaged_values, family)) for family in FAMILIES},
    "classical-sizes": Group(len(SIZES), large),
    "values-pipelines": Group(VALUES_PER_FAMILY, damaged_pipeline_values),
}
