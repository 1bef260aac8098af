"""Make one model of the calls between two functions of the user's, so that they become one graph.

The model is a pipeline of the members as they are. A member whose names stand for other values there lies in a
pipeline of its own, between members that give its inputs and outputs other names:

    values -> identity -> :0, :1, ... -> identity -> inputs -> member -> outputs -> identity -> values

Source: ``Pipeline``, ``Identity``.
"""

from collections.abc import Mapping, Sequence
from itertools import starmap
from typing import Any

from windfall.custom.flow import Call
from windfall.spec.modelfile import ModelFile
from windfall.spec.proto import Model_pb2

Features = Mapping[str, Any]


def segment(
    file: ModelFile, calls: Sequence[Call], inputs: Sequence[str], outputs: Sequence[str], features: Features
) -> ModelFile:
    """Return the model of some calls.

    Args:
        file: The model that they are of.
        calls: What it computes.
        inputs: The values that it takes.
        outputs: The values that it gives.
        features: The ``FeatureDescription`` message of each value.
    """
    spec = _pipeline(file.spec.specificationVersion, inputs, outputs, features)
    members: dict[int, ModelFile] = {}
    for index, call in enumerate(calls):
        member = call.file if _keeps_names(call) else _renamed(file, call, features)
        spec.pipeline.names.append(call.path)
        spec.pipeline.models.add().CopyFrom(member.spec)
        members[index] = member
    return file.with_spec(spec, members)


def _pipeline(version: int, inputs: Sequence[str], outputs: Sequence[str], features: Features) -> Any:
    spec = Model_pb2.Model(specificationVersion=version)
    spec.pipeline.SetInParent()
    _describe(spec, {name: features[name] for name in inputs}, {name: features[name] for name in outputs})
    return spec


def _describe(spec: Any, inputs: Features, outputs: Features) -> None:
    for features, target in ((inputs, spec.description.input), (outputs, spec.description.output)):
        for name, feature in features.items():
            added = target.add()
            added.CopyFrom(feature)
            added.name = name


def _keeps_names(call: Call) -> bool:
    return all(name == value for names in (call.inputs, call.outputs) for name, value in names.items())


def _renamed(file: ModelFile, call: Call, features: Features) -> ModelFile:
    """Return a member between identities."""
    values = list(dict.fromkeys(call.inputs.values()))
    spec = _pipeline(file.spec.specificationVersion, values, list(call.outputs.values()), features)
    between = {name: f":{number}" for number, name in enumerate(call.inputs)}
    before = [(value, between[name], features[value]) for name, value in call.inputs.items()]
    before += [(between[name], name, features[value]) for name, value in call.inputs.items()]
    after = [(name, value, features[value]) for name, value in call.outputs.items() if name != value]
    members = [*starmap(_identity, before), call.file.spec, *starmap(_identity, after)]
    for member in members:
        spec.pipeline.models.add().CopyFrom(member)
    return file.with_spec(spec, {len(before): call.file})


def _identity(name: str, new_name: str, feature: Any) -> Any:
    spec = Model_pb2.Model(specificationVersion=1)
    spec.identity.SetInParent()
    _describe(spec, {name: feature}, {new_name: feature})
    return spec
