"""The forms in which a graph holds the values of classical models and pipelines; all of them hold many rows at once.

See ``spec/rowforms.py`` for the graph inputs that they are made of.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import onnx_ir as ir

Labels = list[str] | list[int]


@dataclass(frozen=True)
class Tensor:
    """A number or a text, an array or a picture for each row.

    Attributes:
        value: [rows, *dims].
        given: bool [rows], false where an optional value is missing; None if it cannot be.
    """

    value: ir.Value
    given: ir.Value | None = None


@dataclass(frozen=True)
class Column:
    """A number for each row, as a column of the numbers that the model takes.

    Attributes:
        pack: [rows, columns].
        index: The column.
        given: As for ``Tensor``; a double that is missing is NaN instead.
    """

    pack: ir.Value
    index: int
    given: ir.Value | None = None


@dataclass(frozen=True)
class Entries:
    """A dictionary for each row, from texts or integers to doubles.

    Attributes:
        index: int64 [entries], the row of each entry; rows stand in order.
        keys: string or int64 [entries].
        values: double [entries].
        counts: int64 [rows], how many entries each row has; -1 where an optional dictionary is missing.
        columns: Keys are known to be 0 or more and below it; None if that is not known.
    """

    index: ir.Value
    keys: ir.Value
    values: ir.Value
    counts: ir.Value
    columns: int | None = None


@dataclass(frozen=True)
class Items:
    """A sequence of texts or integers for each row; as ``Entries``, without values."""

    index: ir.Value
    items: ir.Value
    counts: ir.Value


@dataclass(frozen=True)
class Scores:
    """A dictionary for each row that has the same keys in all of them: a classifier's labels.

    Attributes:
        labels: The keys.
        values: double or float32 [rows, labels].
    """

    labels: Labels
    values: ir.Value


Form = Tensor | Column | Entries | Items | Scores
Forms = Mapping[str, Form]
"""The values of features, by their names."""
