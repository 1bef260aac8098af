"""Describe a model.

Source: ``Model``, ``ModelDescription``, ``Metadata`` in Model.proto.
"""

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

from windfall.description.compression import Compression, describe_compressions
from windfall.description.parts import (
    LayerDescription,
    MemberDescription,
    contents,
    describe_layers,
    describe_members,
)
from windfall.description.programs import FunctionDescription, describe_functions
from windfall.description.support import Dependency, needs_and_gaps
from windfall.description.weights import WeightPrecision, stored_weights, summarize
from windfall.features.described import FeatureDescription, describe_feature
from windfall.lowering.gaps import Provided, nothing_provided
from windfall.spec.modelfile import ModelFile
from windfall.spec.pipelines import pipeline_members

if TYPE_CHECKING:
    from rich.console import RenderableType

_OS_VERSIONS = {
    1: ("11", "10.13", "11", "4"),
    2: ("11.2", "10.13.2", "11.2", "4.2"),
    3: ("12", "10.14", "12", "5"),
    4: ("13", "10.15", "13", "6"),
    5: ("14", "11", "14", "7"),
    6: ("15", "12", "15", "8"),
    7: ("16", "13", "16", "9"),
    8: ("17", "14", "17", "10"),
    9: ("18", "15", "18", "11"),
    10: ("26", "26", "26", "26"),
}
"""The first iOS, macOS, tvOS and watchOS for each specification version; source: the comment on ``Model``."""

_FIRST_LABELS = 5


@dataclass(frozen=True)
class Metadata:
    """What its maker says about a model."""

    author: str = ""
    license: str = ""
    description: str = ""
    version: str = ""
    user_defined: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class ClassLabels:
    """The labels of a classifier.

    Attributes:
        count: How many there are.
        first: The first few.
    """

    count: int
    first: tuple[str | int, ...]


@dataclass(frozen=True)
class ModelDescription:
    """What a model takes and gives, who made it, what it weighs; prints as a table.

    Attributes:
        name: The file's name.
        type: A member of the specification's ``oneof Type``, e.g. ``neuralNetworkClassifier``.
        specification_version: The version of the format that it asks for.
        runs_on: The first version of each of Apple's systems that takes it, e.g. ``{"iOS": "12", ...}``.
        size: The model's size on disk in bytes.
        metadata: Author, licence and so on.
        inputs: What it takes.
        outputs: What it gives.
        states: What it keeps from one prediction to the next.
        functions: An ML program's functions; inputs, outputs and states above are the default one's.
        predicted_feature: The output that holds a classifier's label or a regressor's value.
        predicted_probabilities: The output that holds a classifier's probabilities by label.
        class_labels: A classifier's labels.
        updatable: Whether it can be trained further on a device.
        parameters: How many weights it has.
        weights: How the weights are stored.
        compressions: How those of an ML program are compressed, by the operators that they belong to.
        layer_counts: How many layers of each type there are, the most frequent first.
        layers: The layers, or an ML program's operations.
        contents: What a model without layers holds, e.g. ``{"trees": 100, "nodes": 1900}``.
        members: The models in a pipeline.
        dependencies: What it needs that is not in the file.
        unsupported: The parts that windfall cannot run, with the reason; empty where it can run the model.
    """

    name: str
    type: str
    specification_version: int
    runs_on: Mapping[str, str]
    size: int
    metadata: Metadata
    inputs: tuple[FeatureDescription, ...]
    outputs: tuple[FeatureDescription, ...]
    states: tuple[FeatureDescription, ...]
    functions: tuple[FunctionDescription, ...]
    predicted_feature: str
    predicted_probabilities: str
    class_labels: ClassLabels | None
    updatable: bool
    parameters: int
    weights: tuple[WeightPrecision, ...]
    compressions: tuple[Compression, ...]
    layer_counts: Mapping[str, int]
    layers: tuple[LayerDescription, ...]
    contents: Mapping[str, int]
    members: tuple[MemberDescription, ...]
    dependencies: tuple[Dependency, ...]
    unsupported: tuple[str, ...]

    @property
    def runnable(self) -> bool:
        """Whether windfall can run the model, as far as can be told without compiling it."""
        return not self.unsupported

    def to_dict(self, *, layers: bool = False) -> dict[str, Any]:
        """Return the description as dictionaries, lists, strings and numbers, as JSON has them.

        Args:
            layers: Whether every layer is in it, not only their counts.
        """
        result = asdict(self) | {"runnable": self.runnable}
        if not layers:
            del result["layers"]
        plain = _plain(result)
        assert isinstance(plain, dict)
        return plain

    def __rich__(self) -> "RenderableType":
        from windfall.description.report import report

        return report(self)

    def __str__(self) -> str:
        from windfall.description.report import as_text, report

        return as_text(report(self))


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return value


def describe(
    file: ModelFile, opened: Callable[[], ModelFile] | None = None, provided: Provided = nothing_provided
) -> ModelDescription:
    """Describe a model of any type, whether or not it can be run.

    Args:
        file: The model.
        opened: Returns it with the models that it links to, and that are packed into it, in their places; the model
            itself by default.
        provided: Tells which members functions of the user's stand for.
    """
    spec = file.spec
    needs, gaps = needs_and_gaps(spec, opened or (lambda: file), provided)
    interface = _interface(spec)
    layers = tuple(describe_layers(file, spec))
    weights = summarize(stored_weights(file, spec))
    counts = Counter(layer.type for layer in layers if layer.type != "const")
    return ModelDescription(
        name=file.name,
        type=spec.WhichOneof("Type"),
        specification_version=spec.specificationVersion,
        runs_on=_runs_on(spec.specificationVersion),
        size=file.size,
        metadata=_metadata(spec.description.metadata),
        inputs=tuple(map(describe_feature, interface.input)),
        outputs=tuple(map(describe_feature, interface.output)),
        states=tuple(map(describe_feature, interface.state)),
        functions=describe_functions(spec),
        predicted_feature=interface.predictedFeatureName,
        predicted_probabilities=interface.predictedProbabilitiesName,
        class_labels=_class_labels(spec),
        updatable=spec.isUpdatable,
        parameters=sum(weight.values for weight in weights),
        weights=weights,
        compressions=describe_compressions(spec),
        layer_counts=dict(counts.most_common()),
        layers=layers,
        contents=contents(spec),
        members=describe_members(spec),
        dependencies=needs,
        unsupported=gaps,
    )


def _interface(spec: Any) -> Any:
    """Return what has the inputs and outputs: the description, or that of the default function."""
    functions = list(spec.description.functions)
    default = spec.description.defaultFunctionName
    return next((f for f in functions if f.name == default), functions[0] if functions else spec.description)


def _runs_on(version: int) -> dict[str, str]:
    return dict(zip(("iOS", "macOS", "tvOS", "watchOS"), _OS_VERSIONS.get(version, ()), strict=False))


def _metadata(metadata: Any) -> Metadata:
    return Metadata(
        author=metadata.author,
        license=metadata.license,
        description=metadata.shortDescription,
        version=metadata.versionString,
        user_defined=dict(sorted(metadata.userDefined.items())),
    )


def _class_labels(spec: Any) -> ClassLabels | None:
    """Return a classifier's labels; a pipeline's are those of its last member that has some."""
    kind = spec.WhichOneof("Type")
    message = getattr(spec, kind) if kind else spec
    if "ClassLabels" in message.DESCRIPTOR.oneofs_by_name:
        labels = message.WhichOneof("ClassLabels")
        vector = getattr(message, labels).vector if labels else ()
        return ClassLabels(len(vector), tuple(vector[:_FIRST_LABELS])) if vector else None
    found = (_class_labels(model) for _, model in reversed(pipeline_members(spec)))
    return next((labels for labels in found if labels is not None), None)
