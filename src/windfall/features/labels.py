"""A classifier's labels: from a tensor of probabilities to the label and the dictionary of all.

Source: ``NeuralNetworkClassifier`` in NeuralNetwork.proto, ``ModelDescription`` in Model.proto.
"""

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
    """

    labels: list[str] | list[int]
    source: str

    @classmethod
    def of(cls, classifier: Any, source: str, file_name: str) -> "ClassLabels":
        """Read the labels of a classifier's message."""
        kind = classifier.WhichOneof("ClassLabels")
        vector = list(getattr(classifier, kind).vector) if kind else []
        if not vector:
            raise FormatError(
                f"the classifier {file_name} has no class labels, must have stringClassLabels or int64ClassLabels"
            )
        return cls(vector, source)

    def results(self, probabilities: NDArray[Any], description: Any) -> dict[str, Any]:
        """Return the label of the highest probability and the dictionary of all, under their declared names."""
        flat = probabilities.reshape(-1)
        if flat.size != len(self.labels):
            raise FormatError(
                f"the classifier gives {flat.size} probabilities ({self.source!r}), must give one for each of its "
                f"{len(self.labels)} labels"
            )
        results: dict[str, Any] = {}
        if description.predictedFeatureName:
            results[description.predictedFeatureName] = self.labels[int(np.argmax(flat))]
        if description.predictedProbabilitiesName:
            results[description.predictedProbabilitiesName] = dict(zip(self.labels, flat.tolist(), strict=True))
        return results
