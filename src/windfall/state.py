"""What a model keeps from one prediction to the next.

Source: ``StateFeatureType`` in FeatureTypes.proto.
"""

import threading
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from windfall.errors import FeatureError


class State:
    """The states of one sequence of predictions; made by ``Model.make_state``, with zeros in it.

    Each prediction that is given it reads the arrays and writes them anew. Predictions with the same state wait for
    each other; sequences that are to be independent have a state each.

    Attributes:
        dtypes: The declared type of each state, by its name.
    """

    def __init__(self, dims: Mapping[str, tuple[int, ...]], dtypes: Mapping[str, np.dtype[Any]]) -> None:
        self.dtypes = dict(dtypes)
        self.lock = threading.Lock()
        # What a graph cannot update in place it writes to the other buffer, and the two change places.
        self.buffers = {
            name: np.zeros(shape, _COMPUTED.get(dtypes[name], dtypes[name])) for name, shape in dims.items()
        }
        self.spare: dict[str, NDArray[Any]] = {}

    @property
    def names(self) -> list[str]:
        """The names of the states."""
        return list(self.buffers)

    def read(self, name: str) -> NDArray[Any]:
        """Return a copy of what a state holds, in its declared type.

        Raises:
            FeatureError: There is no such state.
        """
        with self.lock, np.errstate(over="ignore"):  # beyond float16 is infinite, as in Core ML
            return self._buffer(name).astype(self.dtypes[name])

    def write(self, name: str, value: Any) -> None:
        """Let a state hold an array of its shape.

        Raises:
            FeatureError: There is no such state, or the array is of another shape.
        """
        array = np.asarray(value)
        with self.lock:
            buffer = self._buffer(name)
            if array.shape != buffer.shape or array.dtype.kind not in "fiub":
                raise FeatureError(
                    f"state {name!r} is given {array.dtype} {list(array.shape)}, must be numbers of shape "
                    f"{list(buffer.shape)}"
                )
            buffer[...] = array

    def _buffer(self, name: str) -> NDArray[Any]:
        if name not in self.buffers:
            raise FeatureError(f"there is no state {name!r}; states are {', '.join(map(repr, self.buffers)) or 'none'}")
        return self.buffers[name]

    def __repr__(self) -> str:
        return f"<windfall.State {', '.join(f'{name} {list(b.shape)}' for name, b in self.buffers.items())}>"


_COMPUTED: Mapping[np.dtype[Any], np.dtype[Any]] = {np.dtype(np.float16): np.dtype(np.float32)}
