"""Pack small numbers without gaps, the way ``WeightParams.rawValue`` holds them."""

import numpy as np
from numpy.typing import NDArray


def pack(codes: NDArray[np.uint8], bits: int) -> bytes:
    r"""Return numbers of 1 to 8 bits without gaps, most significant bit first; ``spec.weights.unpack`` reads them.

    >>> pack(np.array([2, 1, 3, 0], np.uint8), bits=2)
    b'\x9c'
    """
    flat = codes.reshape(-1)
    if bits == 8:
        return flat.tobytes()
    if 8 % bits == 0:
        return _pack_evenly(flat, bits).tobytes()
    # Eight numbers fill as many bytes as each has bits. [groups, 8] -> [groups, bits]
    groups = np.zeros(-(-len(flat) // 8) * 8, np.uint8)
    groups[: len(flat)] = flat
    words = np.zeros(len(groups) // 8, np.uint64)
    for column in groups.reshape(-1, 8).T:
        words = (words << np.uint64(bits)) | column
    packed = words.astype(">u8").view(np.uint8).reshape(-1, 8)[:, 8 - bits :]
    return packed.tobytes()[: (len(flat) * bits + 7) // 8]


def _pack_evenly(flat: NDArray[np.uint8], bits: int) -> NDArray[np.uint8]:
    """Pack numbers of which whole ones fill a byte."""
    per_byte = 8 // bits
    groups = np.zeros(-(-len(flat) // per_byte) * per_byte, np.uint8)
    groups[: len(flat)] = flat
    packed = np.zeros(len(groups) // per_byte, np.uint8)
    for column in groups.reshape(-1, per_byte).T:
        packed = (packed << np.uint8(bits)) | column
    return packed
