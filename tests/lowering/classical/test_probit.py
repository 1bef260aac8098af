from statistics import NormalDist

import numpy as np
import pytest

import windfall
from tests.classical import array, model_spec, optional, predict
from windfall.errors import EngineError, FormatError
from windfall.spec.proto import FeatureTypes_pb2

WEIGHTS = {(0, 0): (0.5, 4.0), (0, 3): (-0.25, 2.0), (1, 7): (1.5, 0.5), (2, 1): (-2.0, 8.0)}
BIAS = (0.125, 16.0)
OUTPUTS = ("p", "mean", "variance", "pessimistic", "sampled")
OPTIONS = ("optimism", "scale", "truncation")


def gaussian(moments):
    return {"mean": moments[0], "precision": moments[1]}


def spec_of(shape=(3,), weights=WEIGHTS, bias=BIAS, outputs=OUTPUTS, options=OPTIONS, count=3, **fields):
    features = [
        {"featureId": feature, "weights": [{"featureValue": value, "featureWeight": gaussian(moments)}]}
        for (feature, value), moments in weights.items()
    ]
    names = {
        "optimismInputFeatureName": "optimism",
        "samplingScaleInputFeatureName": "scale",
        "samplingTruncationInputFeatureName": "truncation",
    }
    given = {
        "numberOfFeatures": count,
        **({"bias": gaussian(bias)} if bias else {}),
        "features": features,
        "regressionInputFeatureName": "x",
        **{field: name for field, name in names.items() if name in options},
        "meanOutputFeatureName": "mean",
        "varianceOutputFeatureName": "variance",
        "pessimisticProbabilityOutputFeatureName": "pessimistic",
        "sampledProbabilityOutputFeatureName": "sampled",
        **fields,
    }
    inputs = {"x": array(*shape, dtype="INT32"), **{name: optional("double") for name in options}}
    return model_spec("bayesianProbitRegressor", inputs, dict.fromkeys(outputs, "double"), given, "p")


def posterior(pairs, weights=WEIGHTS, bias=BIAS):
    found = [bias, *(weights[pair] for pair in pairs if pair in weights)]
    return sum(mean for mean, _ in found), sum(1 / precision for _, precision in found)


@pytest.mark.parametrize("x", [[0, 7, 1], [3, 7, 0], [1, 1, 1], [-1, -2, 2**31 - 1]])
def test_as_the_formulas_have_it(x):
    mean, variance = posterior(list(enumerate(x)))
    got = predict(spec_of(), x=x, optimism=-1.5)
    assert got["mean"] == pytest.approx(mean, rel=1e-15)
    assert got["variance"] == pytest.approx(variance, rel=1e-15)
    assert got["p"] == pytest.approx(NormalDist().cdf(mean), rel=1e-14)
    assert got["pessimistic"] == pytest.approx(NormalDist().cdf(mean - 1.5 * variance**0.5), rel=1e-14)


def test_what_is_not_given():
    got = predict(spec_of(), x=[0, 7, 1])
    assert got["pessimistic"] == got["p"]
    assert got == {**predict(spec_of(options=()), x=[0, 7, 1]), "sampled": got["sampled"]}
    mean, variance = 0.125 - 2, 1 / 16 + 1 / 8
    got = predict(spec_of(options=()), x=[9, 9, 1])
    assert (got["mean"], got["variance"]) == (mean, variance)
    assert predict(spec_of(bias=None), x=[9, 9, 1])["mean"] == -2


def test_pairs_of_features_and_values():
    got = windfall.load(spec_of(shape=(2, 2))).predict_batch({"x": [[[2, 1], [0, 3]], [[1, 7], [1, 8]]]})
    for row, pairs in enumerate([[(2, 1), (0, 3)], [(1, 7), (1, 8)]]):
        mean, variance = posterior(pairs)
        assert got["mean"][row] == pytest.approx(mean)
        assert got["variance"][row] == pytest.approx(variance)


def test_samples_follow_the_distribution():
    rows = 20000
    x = np.tile(np.array([0, 7, 1], np.int32), (rows, 1))
    mean, variance = posterior(list(enumerate(x[0])))
    given = {"x": x, "scale": [0.5] * rows, "truncation": [np.inf] * rows}
    got = windfall.load(spec_of()).predict_batch(given)["sampled"]
    drawn = np.array([NormalDist(mean, variance**0.5 / 2).cdf(NormalDist().inv_cdf(p)) for p in got])
    # Kolmogorov and Smirnov: the largest difference from an even distribution
    assert np.abs(np.sort(drawn) - (np.arange(rows) + 0.5) / rows).max() < 1.95 / rows**0.5


@pytest.mark.parametrize("truncation", [0, 0.5, 2])
def test_samples_are_cut_off(truncation):
    rows = 5000
    x = np.tile(np.array([0, 7, 1], np.int32), (rows, 1))
    mean, variance = posterior(list(enumerate(x[0])))
    given = {"x": x, "scale": [3.0] * rows, "truncation": [float(truncation)] * rows}
    got = windfall.load(spec_of()).predict_batch(given)["sampled"]
    ends = [NormalDist().cdf(mean + sign * truncation * 3 * variance**0.5) for sign in (-1, 1)]
    assert got.min() >= ends[0] - 1e-12
    assert got.max() <= ends[1] + 1e-12
    if truncation:
        np.testing.assert_allclose([got.min(), got.max()], ends, atol=0.01)


def test_samples_are_drawn_anew_and_repeat_where_the_model_is_loaded_anew():
    model, again = windfall.load(spec_of()), windfall.load(spec_of())
    first = [model.predict({"x": [0, 7, 1]})["sampled"] for _ in range(5)]
    assert len(set(first)) == 5
    assert first == [again.predict({"x": [0, 7, 1]})["sampled"] for _ in range(5)]


def test_a_prediction_without_a_name_and_arrays():
    spec = spec_of(outputs=("p",), options=())
    spec.description.predictedFeatureName = ""
    spec.bayesianProbitRegressor.regressionInputFeatureName = ""
    spec.description.output[0].type.multiArrayType.dataType = FeatureTypes_pb2.ArrayFeatureType.DOUBLE
    assert predict(spec, x=[9, 9, 9])["p"].tolist() == [pytest.approx(NormalDist().cdf(0.125))]


def test_no_rows():
    got = windfall.load(spec_of()).predict_batch({"x": np.zeros((0, 3), np.int32)})
    assert {name: len(values) for name, values in got.items()} == dict.fromkeys(OUTPUTS, 0)


@pytest.mark.parametrize("option", [{"scale": -1.0}, {"truncation": -0.5}])
def test_options_below_0(option):
    with pytest.raises(EngineError) as error:
        predict(spec_of(), x=[0, 7, 1], **option)
    assert str(error.value) == (
        "'bayesianProbitRegressor' has a samplingScale or a samplingTruncation below 0, must be at least 0"
    )


@pytest.mark.parametrize(
    ("fields", "text"),
    [
        ({"count": 0}, "numberOfFeatures is 0, must be 1 to 16,777,216"),
        ({"count": 2}, ("input is 'x' of shape [3], must have the shape [2], a value for each of numberOfFeatures, or "
                       "[pairs, 2]")),
        ({"weights": {(3, 1): (0, 1)}}, "featureId is 3, must be below numberOfFeatures, 3"),
        ({"weights": {(2, 1): (0, 0)}}, "the weight of value 1 of feature 2 has a precision of 0, must be above 0"),
        ({"bias": (0, -1)}, "bias has a precision of -1, must be above 0"),
        ({"regressionInputFeatureName": "z"}, "input is 'z', must be one of ['x', 'optimism', 'scale', 'truncation']"),
        ({"optimismInputFeatureName": "z"}, "input is 'z', must be one of ['x', 'optimism', 'scale', 'truncation']"),
        ({"optimismInputFeatureName": "x"}, "optimismInputFeatureName is 'x', must name an input of one number"),
        ({"outputs": ("p", "q")}, ("output is 'q', is none of those that the model gives: ['mean', 'variance', "
                                  "'pessimistic', ...")),
    ],
)  # fmt: skip
def test_damaged_models(fields, text):
    with pytest.raises(FormatError) as error:
        predict(spec_of(**fields), x=[1, 2, 3])
    shown = str(error.value)
    assert shown.startswith(f"cannot lower the model (bayesianProbitRegressor): {text.removesuffix('...')}")
    assert text.endswith("...") or shown.endswith(text)


def test_a_weight_that_is_there_twice():
    spec = spec_of()
    spec.bayesianProbitRegressor.features.append(spec.bayesianProbitRegressor.features[0])
    with pytest.raises(FormatError, match=r"the weight of value 0 of feature 0 is there twice, must be there once$"):
        predict(spec, x=[1, 2, 3])
