import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import windfall
from tests.classical import predict
from tests.lowering.classical.svm_support import KERNELS, dense, regressor, sparse
from windfall.errors import LoweringError

KINDS = {
    "linear": {"linearKernel": {}},
    "rbf": {"rbfKernel": {"gamma": 0.3}},
    "polynomial": {"polyKernel": {"gamma": 0.5, "c": -1.5, "degree": 3}},
    "constant": {"polyKernel": {"gamma": 0.5, "c": 2.0, "degree": 0}},
    "sigmoid": {"sigmoidKernel": {"gamma": 0.2, "c": -0.4}},
}
VECTORS = np.array([[1.0, 0.0, -2.0, 0.0], [0.0, 0.0, 0.5, 0.0], [3.0, 0.0, 0.0, 0.0]])
ALPHA = [0.5, -1.25, 2.0]


def expected(kernel, vectors, alpha, rho, rows):
    ((name, params),) = kernel.items()
    return [sum(a * KERNELS[name](x, s, params) for a, s in zip(alpha, vectors, strict=True)) - rho for x in rows]


def machine(kernel, vectors=VECTORS, alpha=ALPHA, rho=0.75, store=dense):
    fields = {"kernel": kernel, "coefficients": {"alpha": list(alpha)}, "rho": rho, **store(vectors)}
    return regressor(fields, np.shape(vectors)[1])


def values_of(spec, rows):
    return windfall.load(spec).predict_batch({"x": np.asarray(rows, np.float64)})["y"]


@pytest.mark.parametrize("store", [dense, sparse])
@pytest.mark.parametrize("kernel", KINDS.values(), ids=KINDS)
def test_each_kernel_with_dense_and_sparse_vectors(kernel, store):
    rows = np.random.default_rng(0).normal(size=(7, 4)) * 2
    wanted = expected(kernel, VECTORS, ALPHA, 0.75, rows)
    spec = machine(kernel, store=store)
    np.testing.assert_allclose(values_of(spec, rows), wanted, rtol=1e-12, atol=1e-14)
    assert predict(spec, x=rows[0])["y"] == pytest.approx(wanted[0], rel=1e-12)
    assert values_of(spec, np.empty((0, 4))).shape == (0,)


@pytest.mark.parametrize("kernel", KINDS.values(), ids=KINDS)
@pytest.mark.parametrize("vectors", [np.empty((0, 2)), np.zeros((2, 2))])
def test_no_vectors_and_vectors_without_numbers(kernel, vectors):
    rows = np.array([[1.0, 2.0], [0.0, -1.0]])
    wanted = expected(kernel, vectors, [3.0, 4.0][: len(vectors)], 0.75, rows)
    for store in (dense, sparse):
        spec = machine(kernel, vectors, [3.0, 4.0][: len(vectors)], store=store)
        np.testing.assert_allclose(values_of(spec, rows), wanted, rtol=1e-14)


@pytest.mark.parametrize("gamma", [0.0, 1e-3, 1.0, 1e3, 1e6, 1e9])
@pytest.mark.parametrize("store", [dense, sparse])
def test_rbf_of_rows_that_lie_near_a_vector_and_far_from_zero(gamma, store):
    generator = np.random.default_rng(1)
    vectors = 1e4 + generator.normal(size=(5, 3)) * [1.0, 30.0, 0.01]
    near = vectors + generator.normal(size=(5, 3)) / math.sqrt(gamma + 1e-3)
    rows = np.concatenate([vectors, near])
    kernel = {"rbfKernel": {"gamma": gamma}}
    alpha = [1.0, -2.0, 3.0, -4.0, 5.0]
    got = values_of(machine(kernel, vectors, alpha, store=store), rows)
    np.testing.assert_allclose(got, expected(kernel, vectors, alpha, 0.75, rows), rtol=1e-9, atol=1e-11)


@settings(max_examples=25, deadline=None)
@given(
    st.lists(st.lists(st.sampled_from([0.0, 0.0, 1.0, -2.5]), min_size=3, max_size=3), min_size=1, max_size=5),
    st.sampled_from([{"rbfKernel": {"gamma": 0.7}}, {"rbfKernel": {"gamma": 1e5}}, {"linearKernel": {}}]),
    st.randoms(use_true_random=False),
)
def test_sparse_vectors_are_dense_ones_without_their_zeros(vectors, kernel, random):
    fields = sparse(vectors)
    for vector in fields["sparseSupportVectors"]["vectors"]:
        random.shuffle(vector["nodes"])
    rows = [[1.0, -2.5, 0.5], [0.0, 0.25, 1.0]]
    alpha = [1.0 + i for i in range(len(vectors))]
    got = values_of(machine(kernel, vectors, alpha, store=lambda _: fields), rows)
    wanted = expected(kernel, np.array(vectors), alpha, 0.75, np.array(rows))
    np.testing.assert_allclose(got, wanted, rtol=1e-13, atol=1e-14)


def test_a_missing_number_is_no_kernel_of_one():
    for kernel in (*KINDS.values(), {"rbfKernel": {"gamma": 1e9}}):
        if "polyKernel" not in kernel or kernel["polyKernel"]["degree"]:
            assert math.isnan(predict(machine(kernel), x=np.array([0.0, math.nan, 0.0, 0.0]))["y"])


def test_more_features_than_any_vector_uses():
    spec = regressor(
        {
            "kernel": {"rbfKernel": {"gamma": 0.5}},
            "coefficients": {"alpha": [1.0]},
            "sparseSupportVectors": {"vectors": [{"nodes": [{"index": 70_000, "value": 2.0}]}]},
        },
        100_000,
    )
    x = np.zeros(100_000)
    x[[5, 69_999]] = 1.0, 2.5
    assert predict(spec, x=x)["y"] == pytest.approx(math.exp(-0.5 * (1 + 0.25)), rel=1e-14)


def nodes(*pairs):
    return {"sparseSupportVectors": {"vectors": [{"nodes": [{"index": i, "value": 1.0} for i in pairs]}]}}


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"kernel": {}}, "kernel is not set, must be one of linearKernel, rbfKernel, polyKernel, sigmoidKernel"),
        ({"kernel": {"rbfKernel": {"gamma": -0.5}}}, "gamma is -0.5, must be at least 0"),
        ({"kernel": {"rbfKernel": {"gamma": math.nan}}}, "gamma is nan, must be at least 0"),
        ({"kernel": {"sigmoidKernel": {"gamma": -1.0}}}, "gamma is -1.0, must be at least 0"),
        ({"kernel": {"polyKernel": {"gamma": -2.0}}}, "gamma is -2.0, must be at least 0"),
        ({"kernel": {"polyKernel": {"degree": -1}}}, "degree is -1, must be at least 0"),
        (
            {"vectors": {}},
            "supportVectors is not set, must be sparseSupportVectors or denseSupportVectors",
        ),
        (
            {"vectors": {"denseSupportVectors": {"vectors": [{"values": [1.0]}]}}},
            "denseSupportVectors is of length 1, must be 2, as the inputs have that many values",
        ),
        (
            {"vectors": {"denseSupportVectors": {"vectors": [{"values": [1.0, 2.0]}, {"values": [1.0] * 3}]}}},
            "denseSupportVectors is of length 3, must be 2, as the inputs have that many values",
        ),
        ({"vectors": nodes(0)}, "index is 0, must be 1 to 2, the number of features"),
        ({"vectors": nodes(1, 3)}, "index is 3, must be 1 to 2, the number of features"),
        ({"vectors": nodes(-(2**31))}, "index is -2147483648, must be 1 to 2, the number of features"),
        ({"vectors": nodes(2**31 - 1)}, "index is 2147483647, must be 1 to 2, the number of features"),
        ({"vectors": nodes(2, 1, 2)}, "index is 2, stands twice in vector 0"),
        ({"coefficients": {"alpha": []}}, "coefficients is 0 numbers, must be 1, one for each support vector"),
        ({"coefficients": {"alpha": [1.0, 2.0]}}, "coefficients is 2 numbers, must be 1, one for each support vector"),
    ],
)
def test_damaged_machines(changes, text):
    fields = {"kernel": {"rbfKernel": {"gamma": 1.0}}, "coefficients": {"alpha": [1.0]}, "vectors": nodes(1), **changes}
    vectors = fields.pop("vectors")
    with pytest.raises(LoweringError) as error:
        predict(regressor({**fields, **vectors}, 2), x=np.zeros(2))
    assert str(error.value) == f"cannot lower the model (supportVectorRegressor): {text}"


def test_small_files_that_would_need_much_memory():
    many = {"vectors": [{"nodes": [{"index": 1 + i, "value": 1.0}]} for i in range(9000)]}
    fields = {"kernel": {"linearKernel": {}}, "sparseSupportVectors": many}
    with pytest.raises(LoweringError) as error:
        windfall.load(regressor(fields, 10_000)).compiled  # noqa: B018  # compiles the model
    assert str(error.value) == (
        "cannot lower the model (supportVectorRegressor): sparseSupportVectors is 9,000 vectors of 9,000 features, "
        "must have at most 67,108,864 numbers as a matrix"
    )
    with pytest.raises(LoweringError) as error:
        windfall.load(regressor(fields, 2**29)).compiled  # noqa: B018
    assert str(error.value) == (
        "cannot lower the model (supportVectorRegressor): input is 536,870,912 values, "
        "must have at most 16,777,216 values"
    )
