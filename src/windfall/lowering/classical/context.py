"""What a lowering sees of the classical model it lowers and of the graph it adds to."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx_ir as ir
from numpy.typing import ArrayLike, NDArray

from windfall.errors import LoweringError
from windfall.graph.builder import ML, GraphBuilder
from windfall.graph.shapes import string_tensor
from windfall.lowering.classical.forms import Column, Entries, Form, Forms, Items, Labels, Scores, Tensor
from windfall.lowering.classical.outputs import as_declared
from windfall.lowering.context import GraphContext, Value
from windfall.spec.rowforms import MANY
from windfall.text import one_line

__all__ = ["ModelContext", "Value"]


_NUMERIC = ("doubleType", "int64Type", "multiArrayType")


class ModelContext(GraphContext):
    """One model and the graph being built.

    Attributes:
        spec: The ``Model`` message.
        kind: The member of its oneof ``Type`` that is set.
        params: That member's message.
        description: The ``ModelDescription`` message.
        graph: The graph being built; ``op`` and its neighbours here are shortcuts to it.
        inputs: The model's inputs, in the order of the description.
        rows: int64 [1], how many rows there are.
    """

    def __init__(self, spec: Any, name: str, graph: GraphBuilder, inputs: Forms) -> None:
        self.spec = spec
        self.kind: str = spec.WhichOneof("Type")
        self.params = getattr(spec, self.kind)
        self.description = spec.description
        self.graph = graph
        self.inputs = inputs
        self._name = name

    # What goes in

    @property
    def rows(self) -> Value:
        """int64 [1], how many rows there are; 1 for a model without inputs."""
        for form in self.inputs.values():
            return self.sizes(_spine(form), 0, 1)
        return self.integers([1])

    @property
    def many(self) -> bool:
        """Whether there are so many rows that a graph for them pays; a graph for one row may be another."""
        dims = (dim for value in self.graph.graph.inputs for dim in value.shape or ())
        return any(not isinstance(dim, int) and dim.value == MANY for dim in dims)

    def input_name(self, *kinds: str) -> str:
        """Return the name of the model's only input.

        Args:
            kinds: The types that it may have, as members of the oneof ``Type`` of ``FeatureType``; any by default.

        Raises:
            LoweringError: There is not one input, or it is of another type.
        """
        names = list(self.inputs)
        if len(names) != 1:
            raise self.error("input", "must be one", value=names)
        self.input_type(names[0], *kinds)
        return names[0]

    def input_type(self, name: str, *kinds: str) -> str:
        """Return the type of an input, as a member of the oneof ``Type`` of ``FeatureType``.

        Raises:
            LoweringError: There is no such input, or it is of none of the types given.
        """
        found = next((feature for feature in self.description.input if feature.name == name), None)
        if found is None:
            raise self.error("input", f"must be one of {list(self.inputs)}", value=repr(name))
        kind = str(found.type.WhichOneof("Type"))
        if kinds and kind not in kinds:
            raise self.error("input", f"has the type {kind}, must have {' or '.join(kinds)}", value=repr(name))
        return kind

    def tensor(self, name: str) -> Value:
        """Return an input that is a number, a text, an array or a picture, as [rows, *dims] in its own type."""
        value = self.whole(self.inputs[name])
        if value is None:
            raise self.error("input", "must be a number, a text or an array", value=repr(name))
        return value

    def whole(self, form: Form) -> Value | None:
        """Return the one value that stands for a number, a text, an array or a picture; None for another form."""
        if isinstance(form, Column):
            return self.op("Gather", form.pack, self.integers(form.index), axis=1)
        return form.value if isinstance(form, Tensor) else None

    def numbers(self, name: str) -> Value:
        """Return an input of numbers as doubles [rows, *dims]; an integer that is missing becomes NaN."""
        value, given = self.tensor(name), self.given(name)
        kind = self.input_type(name)
        if kind not in _NUMERIC:
            raise self.error("input", f"has the type {kind}, must be a number or an array of numbers", value=repr(name))
        if value.dtype != ir.DataType.DOUBLE:
            value = self.op("Cast", value, to=ir.DataType.DOUBLE)
        return value if given is None else self.op("Where", given, value, self.doubles(np.nan))

    def given(self, name: str) -> Value | None:
        """Return whether each row has an input, bool [rows]; None if it always has."""
        return getattr(self.inputs[name], "given", None)

    def vector(self, name: str) -> Value:
        """Return a number or an array as doubles [rows, count]."""
        value = self.numbers(name)
        return value if self.rank(value) == 2 else self.reshape(value, self.sizes(value, 0, 1), self.count(value))

    def count(self, value: Value) -> int:
        """Return how many elements each row of a value has.

        Raises:
            LoweringError: It is known only at run time.
        """
        dims = self.shape(value)[1:]
        if None in dims:
            raise self.error("input", "must have an array of known size", value=list(dims))
        return math.prod(dim for dim in dims if dim is not None)

    def matrix(self) -> Value:
        """Return all inputs side by side as doubles [rows, count]: the columns that models refer to by number."""
        if not self.inputs:
            raise self.error("input", "there is none, must be at least one")
        parts = list(self._blocks())
        return parts[0] if len(parts) == 1 else self.op("Concat", *parts, axis=1)

    def _blocks(self) -> "list[Value]":
        """Return the inputs as matrices; columns that stand side by side in a pack stay together."""
        blocks: list[Value] = []
        names = list(self.inputs)
        while names:
            run = self._run(names)
            blocks.append(self._columns(run) if run else self.vector(names[0]))
            del names[: max(len(run), 1)]
        return blocks

    def _run(self, names: Sequence[str]) -> list[Column]:
        """Return the columns at the start of some inputs that follow each other in one pack and are never missing."""
        run: list[Column] = []
        for name in names:
            form = self.inputs[name]
            if not isinstance(form, Column) or form.given is not None:
                break
            if run and (form.pack is not run[0].pack or form.index != run[-1].index + 1):
                break
            run.append(form)
        return run

    def _columns(self, run: Sequence[Column]) -> Value:
        pack, start, end = run[0].pack, run[0].index, run[-1].index + 1
        if (start, end) != (0, self.shape(pack)[1]):
            pack = self.op("Slice", pack, self.integers([start]), self.integers([end]), self.integers([1]))
        return pack if pack.dtype == ir.DataType.DOUBLE else self.op("Cast", pack, to=ir.DataType.DOUBLE)

    def entries(self, name: str) -> Entries:
        """Return an input that is a dictionary."""
        form = self.inputs[name]
        if isinstance(form, Scores):
            return self.as_entries(form)
        if not isinstance(form, Entries):
            raise self.error("input", "must be a dictionary", value=repr(name))
        return form

    def items(self, name: str) -> Items:
        """Return an input that is a sequence."""
        form = self.inputs[name]
        if not isinstance(form, Items):
            raise self.error("input", "must be a sequence", value=repr(name))
        return form

    def as_entries(self, scores: Scores) -> Entries:
        """Return a dictionary of the same keys in each row as one that could have any."""
        rows, count = self.sizes(scores.values, 0, 1), len(scores.labels)
        dims = self.op("Concat", rows, self.integers([count]), axis=0)
        zero, one = self.integers(0), self.integers(1)
        numbers = self.op("Range", zero, self.op("Squeeze", rows, self.integers([0])), one)
        index = self.op("Expand", self.op("Unsqueeze", numbers, self.integers([1])), dims)
        keys = self.op("Expand", self.labels(scores.labels), dims)
        values = self.op("Cast", scores.values, to=ir.DataType.DOUBLE)
        counts = self.op("Expand", self.integers([count]), rows)
        index, keys, values = (self.reshape(value, -1) for value in (index, keys, values))
        return Entries(index, keys, values, counts)

    # Constants and lookups

    def doubles(self, array: ArrayLike, name: str = "const") -> Value:
        """Add numbers as float64, which classical models compute in."""
        return self.graph.constant(np.asarray(array, np.float64), name)

    def labels(self, labels: Labels | Sequence[str] | Sequence[int], name: str = "labels") -> Value:
        """Add texts or int64 numbers."""
        return self.graph.constant(key_array(labels), name)

    def lookup(self, keys: Value, known: Sequence[Any], found: ArrayLike, default: ArrayLike) -> Value:
        """Return what belongs to each key.

        Args:
            keys: string or int64, any shape.
            known: The keys that have something.
            found: What they have: texts, int64 numbers or doubles; one for each.
            default: What others have.
        """
        if not known:
            return self.op("Expand", self.graph.constant(key_array([default])), self.sizes(keys))
        return self.op(
            "LabelEncoder",
            keys,
            domain=ML,
            keys_tensor=_tensor(key_array(known)),
            values_tensor=_tensor(key_array(found)),
            default_tensor=_tensor(key_array([default])),
        )

    # What goes out

    def output(self, value: Value) -> Forms:
        """Return the model's only output, in the type that it is declared with.

        Args:
            value: [rows, *dims].

        Raises:
            LoweringError: The model has not one output, or it cannot be of that type.
        """
        outputs = list(self.description.output)
        if len(outputs) != 1:
            raise self.error("output", "must be one", value=[feature.name for feature in outputs])
        return {outputs[0].name: self.declared(outputs[0].name, value)}

    def declared(self, name: str, value: Value) -> Tensor:
        """Return a value as an output is declared: its type, and its shape where it has as many elements."""
        found = next((feature for feature in self.description.output if feature.name == name), None)
        if found is None:
            names = [feature.name for feature in self.description.output]
            raise self.error("output", f"must be one of {names}", value=repr(name))
        return Tensor(as_declared(self, value, found))

    def regression(self, value: Value) -> Forms:
        """Return the output of a regressor.

        Args:
            value: double [rows, count].
        """
        name = self.description.predictedFeatureName
        names = [feature.name for feature in self.description.output]
        if name not in names:
            if len(names) != 1:
                raise self.error("predictedFeatureName", f"must be one of the outputs {names}", value=repr(name))
            name = names[0]
        return {name: self.declared(name, value)}

    def classification(
        self, scores: Value, labels: Labels, chosen: Value | None = None, features: Sequence[Any] | None = None
    ) -> Forms:
        """Return the outputs of a classifier: the label of the highest score, and the scores by label.

        Args:
            scores: double [rows, labels].
            labels: The labels.
            chosen: int64 [rows], the number of the label; that of the highest score, the first of several, by default.
            features: The outputs that belong to the classification; all of the description's by default.

        Raises:
            LoweringError: There are no labels, or the outputs are not those of a classifier.
        """
        if not labels:
            raise self.error("ClassLabels", "there are none, must be at least one")
        found: dict[str, Form] = {}
        description = self.description
        for feature in description.output if features is None else features:
            if feature.name == description.predictedFeatureName:
                index = self.op("ArgMax", scores, axis=1, keepdims=0) if chosen is None else chosen
                label = self.op("Gather", self.labels(labels), index)
                found[feature.name] = Tensor(as_declared(self, label, feature))
            elif feature.name == description.predictedProbabilitiesName:
                found[feature.name] = Scores(labels, scores)
            else:
                raise self.error(
                    "output",
                    "is neither predictedFeatureName nor predictedProbabilitiesName, which a classifier gives",
                    value=repr(feature.name),
                )
        return found

    def error(self, field: str, rule: str, value: object = None) -> LoweringError:
        """Return the error for a field that breaks a rule.

        Args:
            field: Its name in the spec.
            rule: What is wrong, e.g. "must be at least 2".
            value: The value it has, None to say nothing of it.
        """
        shown = "" if value is None else f" is {one_line(value, 80)},"
        return LoweringError(f"cannot lower {self._name} ({self.kind}): {field}{shown} {rule}")


def key_array(keys: Any) -> NDArray[Any]:
    """Return keys as an array: texts as objects, other numbers as they are, Python integers as int64."""
    array = np.asarray(keys)
    if array.dtype.kind not in "UOST":
        return array.astype(np.int64) if array.dtype.kind in "iub" else array
    return np.array(keys, dtype=object)


def _tensor(array: NDArray[Any]) -> ir.TensorProtocol:
    return string_tensor(array) if array.dtype == object else ir.tensor(array)


def _spine(form: Form) -> Value:
    """Return the value of a form whose first axis is the rows."""
    if isinstance(form, Entries | Items):
        return form.counts
    if isinstance(form, Column):
        return form.pack
    return form.values if isinstance(form, Scores) else form.value
