"""Lookup tables that are sought once: many candidates have the same layers in the same number of bits."""

from hashlib import blake2b

import numpy as np
from numpy.typing import NDArray

from windfall.quantization.codecs import encode_kmeans
from windfall.quantization.kmeans import nearest


class BestTables:
    """What mode ``kmeans`` does, as a function for mode ``custom_lut`` that remembers the tables."""

    def __init__(self) -> None:
        self._tables = dict[tuple[int, bytes], NDArray[np.float32]]()

    def __call__(self, bits: int, values: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.uint8]]:
        """Return the best table of 2**bits numbers for some values, and the indices in their shape."""
        flat = np.ascontiguousarray(values, np.float32).reshape(-1)
        key = bits, blake2b(flat.data).digest()
        if key not in self._tables:
            table = encode_kmeans(flat.reshape(1, -1), bits).table
            assert table is not None
            self._tables[key] = table
        table = self._tables[key]
        return table, nearest(flat, np.unique(table)).reshape(values.shape)
