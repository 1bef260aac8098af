"""Random tensors for property tests."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from hypothesis import settings
from hypothesis import strategies as st
from numpy.typing import NDArray

few = settings(deadline=None, max_examples=25)
"""For properties whose every example compiles a model."""

seeds = st.integers(0, 2**16)


def random(seed: int, dims: Sequence[int], low: float = -3, high: float = 3) -> NDArray[np.float32]:
    """Return float32 numbers, evenly distributed."""
    return np.random.default_rng(seed).uniform(low, high, dims).astype(np.float32)


@st.composite
def tensors(
    draw: Callable[[Any], Any],
    low: float = -3,
    high: float = 3,
    least_rank: int = 3,
    most_rank: int = 5,
) -> NDArray[np.float32]:
    """Return tensors of some ranks with 1 to 4 entries along each axis."""
    dims = draw(st.lists(st.integers(1, 4), min_size=least_rank, max_size=most_rank))
    return random(draw(seeds), dims, low, high)
