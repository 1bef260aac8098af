"""Which passes run, and what is told of them."""

import numpy as np
import pytest
from tests.passes.graphs import graph_of, normal, operators, run

from windfall.passes import FIRED, optimize, order


def decoder(g, x):
    """Upsampling, zeros around it, a convolution; one node twice."""
    large = g.op("Resize", x, None, g.constant(np.float32([1, 1, 2, 2])), mode="nearest",
                 coordinate_transformation_mode="asymmetric", nearest_mode="floor")  # fmt: skip
    padded = g.op("Pad", large, g.constant(np.array([0, 0, 1, 1, 0, 0, 1, 1])))
    y = g.op("Conv", padded, g.constant(normal(4, 3, 3, 3)))
    return g.op("Add", g.op("Exp", y), g.op("Exp", y))


def test_passes_open_the_way_for_each_other() -> None:
    model = graph_of(decoder, [1, 3, 4, 5])
    x = normal(1, 3, 4, 5, seed=1)
    expected = run(model, x)
    optimize(model)
    assert operators(model) == ["ConvTranspose", "Exp", "Add"]
    fired = model.meta[FIRED]
    assert list(fired) == ["MergeEqualNodes", "PadIntoWindow", "UpsampleInConvolution", "RemoveUnusedNodes"]
    assert {fired[name] for name in list(fired)[:3]} == {1}
    np.testing.assert_allclose(run(model, x), expected, rtol=1e-5, atol=1e-5)
    optimize(model)
    assert operators(model) == ["ConvTranspose", "Exp", "Add"]


def test_weights_that_are_to_stay_small_are_not_made_larger() -> None:
    model = graph_of(decoder, [1, 3, 4, 5])
    optimize(model, compressed=True)
    assert operators(model) == ["Resize", "Conv", "Exp", "Add"]


def test_a_pass_can_be_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(order, "_left_out", {"MergeEqualNodes"})
    model = graph_of(decoder, [1, 3, 4, 5])
    optimize(model)
    assert operators(model) == ["ConvTranspose", "Exp", "Exp", "Add"]


def test_two_passes_have_two_names() -> None:
    names = [order._name(rewrite) for rewrite in order.PASSES]
    assert len(set(names)) == len({type(rewrite) for rewrite in order.PASSES})
