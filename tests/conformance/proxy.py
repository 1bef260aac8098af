"""windfall in the place of Core ML, as users install it, and counted."""

from collections.abc import Mapping, Sequence
from typing import Any

from tests.conformance.calls import CALLS
from windfall.interop.coremltools import MLModelProxy


class CountingProxy(MLModelProxy):
    """One model, opened; counts what is asked of it.

    It runs on one thread: the tests run in several processes.
    """

    threads = 1

    def __init__(self, *args: Any) -> None:
        CALLS["models"] += 1
        super().__init__(*args)

    def predict(self, inputs: Mapping[str, Any], state: object = None) -> dict[str, Any]:
        CALLS["predictions"] += 1
        return super().predict(inputs, state)

    def batchPredict(self, inputs: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:  # noqa: N802  # their name
        CALLS["predictions"] += 1
        return super().batchPredict(inputs)
