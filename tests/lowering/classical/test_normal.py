import math
from statistics import NormalDist

import numpy as np
import onnx_ir as ir
import pytest

from windfall.graph.builder import GraphBuilder, build_model
from windfall.lowering.chunks import within
from windfall.lowering.classical.normal import normal_cdf, normal_quantile
from windfall.runtime.engine import EngineOptions, engine_named
from windfall.runtime.serialize import serialize


def run(function, x):
    graph = GraphBuilder("g", ["x"])
    value = graph.input("x", ir.DataType.DOUBLE, ["n"])
    graph.graph.outputs.append(graph.rename(function(within(graph), value), "y"))
    program = engine_named("auto").compile(serialize(build_model(graph.graph)), EngineOptions())
    return program.run({"x": np.asarray(x, np.float64)})[0]


def test_the_distribution_function_to_the_last_digits():
    x = np.concatenate([np.linspace(-37, 37, 5001), np.linspace(-0.1, 0.1, 201), [-8.886, -8.885, -1e-300, 0]])
    expected = [math.erfc(-value / math.sqrt(2)) / 2 for value in x]
    # exp(-x^2 / 2) has an error of x^2 / 2 roundings
    np.testing.assert_allclose(run(normal_cdf, x), expected, rtol=3e-13)
    near = np.abs(x) < 5
    np.testing.assert_allclose(run(normal_cdf, x[near]), np.array(expected)[near], rtol=1e-14)


def test_the_ends_of_the_distribution_function():
    got = run(normal_cdf, [-np.inf, -1e300, 0, 1e300, np.inf, np.nan])
    np.testing.assert_array_equal(got, [0, 0, 0.5, 1, 1, np.nan])


def test_the_quantiles():
    p = np.concatenate([np.linspace(0.001, 0.999, 999), [2**-53, 1e-9, 0.02425, 0.97575, 1 - 2**-53]])
    expected = [NormalDist().inv_cdf(value) for value in p]
    np.testing.assert_allclose(run(normal_quantile, p), expected, rtol=2e-9, atol=2e-9)


@pytest.mark.parametrize("x", [[], [1.5]])
def test_any_number_of_values(x):
    assert run(normal_cdf, x).shape == (len(x),)
