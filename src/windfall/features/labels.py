"""A classifier's labels: from a tensor of probabilities to the label and the dictionary of all.

Source: ``NeuralNetworkClassifier`` in NeuralNetwork.proto, ``ModelDescription`` in Model.proto.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from windfall.errors import FormatError


@dataclass(frozen=True)
class ClassLabels:
    """The labels of a classifier, in the order of its probabilities.

    Attributes:
        labels: Strings, or integers.
        source: The value that holds the probabilities.
        label_name: The output that is the label of the highest probability; empty if there is none.
        probabilities_name: The output that is the dictionary of all probabilities; empty if there is none.
    """

    labels: list[str] | list[int]
    source: str
    label_name: str
    probabilities_name: str

    @classmethod
    def of(cls, labels: list[str] | list[int], source: str, description: Any, file_name: str) -> "ClassLabels":
        """Gather what belongs to a classifier's labels.

        Args:
            labels: The labels, in the order of the probabilities.
            source: The value that holds the probabilities.
            description: The message that names the outputs: a ``ModelDescription`` or a ``FunctionDescription``.
            file_name: The model's name, for messages.

        Raises:
            FormatError: There are none.
        """
        if not labels:
            raise FormatError(
                f"the classifier {file_name} has no class labels, must have stringClassLabels or int64ClassLabels"
            )
        return cls(labels, source, description.predictedFeatureName, description.predictedProbabilitiesName)

    def sources(self, names: Sequence[str]) -> list[str]:
        """Return the values to compute for some outputs: the probabilities for the label and the dictionary."""
        ours = (self.label_name, self.probabilities_name)
        return list(dict.fromkeys(self.source if name in ours else name for name in names))

    def results(self, values: Mapping[str, NDArray[Any]], wanted: Collection[str]) -> dict[str, Any]:
        """Return the label of the highest probability and the dictionary of all, as far as they are wanted.

        Raises:
            FormatError: There is not one probability for each label.
        """
        results: dict[str, Any] = {}
        if self.label_name not in wanted and self.probabilities_name not in wanted:
            return results
        flat = values[self.source].reshape(-1)
        if flat.size != len(self.labels):
            raise FormatError(
                f"the classifier gives {flat.size} probabilities ({self.source!r}), must give one for each of its "
                f"{len(self.labels)} labels"
            )
        if self.label_name in wanted:
            results[self.label_name] = self.labels[int(np.argmax(flat))]
        if self.probabilities_name in wanted:
            results[self.probabilities_name] = dict(zip(self.labels, flat.tolist(), strict=True))
        return results
