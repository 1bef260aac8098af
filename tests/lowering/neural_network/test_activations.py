"""Activations against NumPy."""

import numpy as np
import pytest
from tests.support import run_layer


def test_prelu_has_one_slope_for_each_channel() -> None:
    x = np.array([-1, 2, -3, 4], np.float32).reshape(2, 2, 1)
    y = run_layer("activation", x, PReLU={"alpha": np.array([0.5, 0.1])})
    np.testing.assert_allclose(y, np.array([-0.5, 2, -0.3, 4], np.float32).reshape(2, 2, 1))


def test_an_activation_without_a_function_is_refused() -> None:
    with pytest.raises(Exception, match="NonlinearityType is not set, must be set"):
        run_layer("activation", np.ones((1, 1, 1)))
