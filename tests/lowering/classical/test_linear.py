import math

import numpy as np
import pytest

import windfall
from windfall.errors import FeatureError, FormatError, UnsupportedError
from windfall.spec.proto import FeatureTypes_pb2, Model_pb2

DOUBLE = FeatureTypes_pb2.ArrayFeatureType.DOUBLE


def regressor(weights=((2.0, -1.0),), offset=(0.1,), transform=0, kinds=("doubleType", "int64Type")):
    spec = Model_pb2.Model(specificationVersion=1)
    for index, kind in enumerate(kinds):
        getattr(spec.description.input.add(name=f"x{index}").type, kind).SetInParent()
    output = spec.description.output.add(name="y").type
    if len(weights) == 1:
        output.doubleType.SetInParent()
    else:
        output.multiArrayType.dataType = DOUBLE
    spec.description.predictedFeatureName = "y"
    for row in weights:
        spec.glmRegressor.weights.add(value=row)
    spec.glmRegressor.offset.extend(offset)
    spec.glmRegressor.postEvaluationTransform = transform
    return spec


def predict(x, **fields):
    return windfall.load(regressor(**fields)).predict({f"x{i}": value for i, value in enumerate(x)})["y"]


def test_the_numbers_are_doubles():
    got = predict([2, 0])
    assert isinstance(got, float)
    assert got == 2 * 2 + 0.1
    assert predict([1 / 3, 2]) == 2 * (1 / 3) - 2 + 0.1


def test_transforms_against_their_formulas():
    total = 2 * 0.7 - 1 + 0.1
    assert predict([0.7, 1], transform=1) == pytest.approx(1 / (1 + math.exp(-total)), rel=1e-12)
    assert predict([0.7, 1], transform=2) == pytest.approx((1 + math.erf(total / math.sqrt(2))) / 2, rel=1e-14)


@pytest.mark.parametrize("x", [-700.0, -40.0, -8.0, -1e-9, 0.0, 3.0, 40.0, 1e4, -1e4, math.inf, -math.inf])
def test_transforms_keep_their_digits_far_from_zero(x):
    fields = {"weights": ((1.0,),), "offset": (0.0,), "kinds": ("doubleType",)}
    logistic = 1 / (1 + math.exp(-x)) if x > -710 else 0.0
    assert predict([x], transform=1, **fields) == pytest.approx(logistic, rel=1e-14)
    normal = math.erfc(-x / math.sqrt(2)) / 2
    assert predict([x], transform=2, **fields) == pytest.approx(normal, rel=1e-12, abs=1e-300)


def test_an_array_as_input_and_as_output():
    spec = regressor(weights=((1, 2, 3), (4, 5, 6)), offset=(10, 20), kinds=("multiArrayType",))
    spec.description.input[0].type.multiArrayType.shape.append(3)
    spec.description.input[0].type.multiArrayType.dataType = DOUBLE
    x = np.array([1, 0.1, 0.01])
    got = windfall.load(spec).predict({"x0": x})["y"]
    assert got.dtype == np.float64
    np.testing.assert_allclose(got, np.array([[1, 2, 3], [4, 5, 6]]) @ x + [10, 20], rtol=1e-15)


@pytest.mark.parametrize(
    ("fields", "text"),
    [
        ({"weights": ((1.0,),)}, "weights is of length 1, must be 2, as the inputs have that many values"),
        ({"weights": ()}, "weights is of length 0, must be 2, as the inputs have that many values"),
        ({"offset": ()}, "offset is of length 0, must be 1, one for each row of weights"),
        ({"transform": 3}, "postEvaluationTransform is 3, must be 0, 1 or 2"),
    ],
)
def test_damaged_models(fields, text):
    with pytest.raises(FormatError) as error:
        predict([1, 2], **fields)
    assert str(error.value) == f"cannot lower the model (glmRegressor): {text}"


def test_inputs_that_do_not_fit():
    with pytest.raises(FeatureError, match=r"^input 'x0' has shape \[2\], must be one number$"):
        predict([[1, 2], 1])
    with pytest.raises(
        FeatureError, match=r"^input 'x1' has numbers that int64 cannot hold; round or clip them first$"
    ):
        predict([1, 0.5])
    with pytest.raises(FeatureError, match=r"^input 'x0' is missing; give a value for each of \['x0', 'x1'\]$"):
        windfall.load(regressor()).predict({})
    with pytest.raises(
        FormatError, match=r"input is 'x0', has the type stringType, must be a number or an array of numbers$"
    ):
        windfall.load(regressor(kinds=("stringType",))).compiled  # noqa: B018
    with pytest.raises(UnsupportedError, match=r"^the model has no function 'f', only ML programs have any; load it"):
        windfall.load(regressor(), function="f").predict({})
