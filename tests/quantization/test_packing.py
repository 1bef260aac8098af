import numpy as np
import pytest

from windfall.quantization.packing import pack
from windfall.spec.weights import unpack


@pytest.mark.parametrize("bits", range(1, 9))
def test_packing_is_the_reverse_of_unpacking_at_every_length(bits: int) -> None:
    rng = np.random.default_rng(bits)
    for count in range(70):
        codes = rng.integers(0, 2**bits, count).astype(np.uint8)
        packed = pack(codes, bits)
        assert len(packed) == (count * bits + 7) // 8
        np.testing.assert_array_equal(unpack(np.frombuffer(packed, np.uint8), bits, count), codes)


@pytest.mark.parametrize("bits", range(1, 9))
def test_packing_follows_the_bits_of_a_plain_reference(bits: int) -> None:
    codes = np.random.default_rng(0).integers(0, 2**bits, 1000).astype(np.uint8)
    text = "".join(f"{code:0{bits}b}" for code in codes)
    text += "0" * (-len(text) % 8)
    assert pack(codes, bits) == bytes(int(text[i : i + 8], 2) for i in range(0, len(text), 8))
