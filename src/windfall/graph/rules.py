"""What running graphs check, in words; apart from ``checks.py``, as a start from the cache does without onnx."""

from collections.abc import Mapping

MARK = "check_"
"""In the name of the node that fails, before the check's code."""

CHECKS: Mapping[str, str] = {
    "category": "has an input that is none of its categories, must be one of them, as handleUnknown is ErrorOnUnknown",
    "mapping": "has an input that its map does not contain; give one that it has, or set a value for unknown inputs",
    "integer": "gives a number that int64 cannot hold without loss; round the input, or declare the output as Double",
    "index": "has a dictionary with an index that is below 0 or beyond its inputDimensions, must be 0 to the last",
    "missing": "has an input that is missing and that has no value in its place; give the input",
    "overlap": "has an IoU threshold that is not 0 to 1; give one from 0 to 1",
    "confidence": "has a confidence threshold that is below 0 or no number; give one of at least 0",
    "recommendations": "has a number of recommendations below 0, must be at least 0",
    "sampling": "has a samplingScale or a samplingTruncation below 0, must be at least 0",
}
"""What is wrong, by the check's code; it follows the name of the model or layer."""
