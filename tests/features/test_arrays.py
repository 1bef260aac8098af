import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from tests.support import fill, layer_spec

import windfall
from windfall.errors import FeatureError, FormatError, UnsupportedError
from windfall.features import arrays
from windfall.features.networks import NetworkBinder
from windfall.spec.modelfile import from_spec
from windfall.spec.proto import FeatureTypes_pb2, Model_pb2

FLOATS = st.floats(-100, 100, width=32)


def identity(shape, rank5=False, out="FLOAT32", **array):
    """Return a model that gives its input, declared of a shape, unchanged."""
    spec = layer_spec("activation", np.zeros(shape), rank5=rank5, linear={"alpha": 1})
    fill(spec.description.input[0].type.multiArrayType, array)
    spec.description.output[0].type.multiArrayType.dataType = FeatureTypes_pb2.ArrayFeatureType.ArrayDataType.Value(out)
    return spec


def run(spec, value):
    return windfall.load(spec, threads=1).predict({"x0": value})["y0"]


def fed(spec, value):
    """Return the tensor that the graph would get."""
    return NetworkBinder(from_spec(spec)).feeds({"x0": value})["x0"]


def message(spec, value, kind=FeatureError):
    with pytest.raises(kind) as error:
        run(spec, value)
    return str(error.value)


@given(data=st.data(), shape=hnp.array_shapes(min_dims=1, max_dims=5, max_side=4))
@settings(deadline=None, max_examples=25)
def test_exact_mapping_keeps_the_shape(data, shape):
    x = data.draw(hnp.arrays(np.float32, shape, elements=FLOATS))
    got = run(identity(shape), x)
    assert got.dtype == np.float32
    np.testing.assert_array_equal(got, x)


@given(data=st.data(), chw=st.booleans(), lead=st.lists(st.integers(1, 3), max_size=2))
@settings(deadline=None, max_examples=25)
def test_rank5_mapping_takes_batch_and_sequence_in_front(data, chw, lead):
    dims = data.draw(st.tuples(*[st.integers(1, 4)] * (3 if chw else 1)))
    x = data.draw(hnp.arrays(np.float32, (*lead, *dims), elements=FLOATS))
    full = (1,) * (2 - len(lead)) + tuple(lead) + dims + (1,) * (3 - len(dims))
    spec = identity(dims, rank5=True)
    np.testing.assert_array_equal(fed(spec, x), x.reshape(full))
    got = run(spec, x)
    # Without a sequence and a batch the output is [C, H, W], else all of [Seq, Batch, C, H, W].
    assert got.shape == (full[2:] if full[:2] == (1, 1) else full)
    np.testing.assert_array_equal(got.reshape(full), x.reshape(full))


@pytest.mark.parametrize("shape", [(5, 1, 1), (2, 5, 1, 1), (3, 2, 5, 1, 1), (5,), (2, 5), (3, 2, 5)])
def test_rank5_mapping_takes_a_vector_with_its_height_and_width(shape):
    x = np.arange(np.prod(shape), dtype=np.float32).reshape(shape)
    lead = shape[: shape.index(5)]
    full = (1,) * (2 - len(lead)) + lead + (5, 1, 1)
    np.testing.assert_array_equal(fed(identity((5,), rank5=True), x), x.reshape(full))


@pytest.mark.parametrize("shape", [(), (4,), (5, 4), (1, 1, 1, 5), (6, 1, 1), (1, 1, 1, 5, 1, 1), (0,), (5, 0)])
def test_rank5_mapping_refuses_other_shapes_of_a_vector(shape):
    assert message(identity((5,), rank5=True), np.zeros(shape)) == (
        f"input 'x0' has shape {list(shape)}, must be [5], with Batch or Seq and Batch in front if wanted; reshape it"
    )


@pytest.mark.parametrize("shape", [(2, 3), (4, 3, 2), (1, 1, 1, 2, 3, 4), (2, 3, 4, 1)])
def test_rank5_mapping_refuses_other_shapes_of_planes(shape):
    assert message(identity((2, 3, 4), rank5=True), np.zeros(shape)) == (
        f"input 'x0' has shape {list(shape)}, must be [2, 3, 4], with Batch or Seq and Batch in front if wanted; "
        "reshape it"
    )


def test_rank5_mapping_refuses_a_declared_shape_of_two_sizes():
    spec = identity((2, 3))
    spec.neuralNetwork.arrayInputShapeMapping = 0
    with pytest.raises(UnsupportedError) as error:
        windfall.load(spec).compiled  # noqa: B018  # a property that compiles
    assert str(error.value) == (
        "an array input has the declared shape [2, 3], must be [C] or [C, H, W] in a network with RANK5_ARRAY_MAPPING"
    )


@pytest.mark.parametrize("shape", [(), (3,), (2, 3, 1), (3, 2), (1, 2, 3)])
def test_exact_mapping_refuses_other_shapes(shape):
    assert message(identity((2, 3)), np.zeros(shape)) == (
        f"input 'x0' has shape {list(shape)}, must be [2, 3]; reshape it"
    )


@pytest.mark.parametrize(
    "value",
    [
        [[1, 0, 1], [0, 1, 1]],
        ((1.0, 0.0, 1.0), (0.0, 1.0, 1.0)),
        np.array([[1, 0, 1], [0, 1, 1]], bool),
        np.array([[1, 0, 1], [0, 1, 1]], np.int64),
        np.array([[1, 0, 1], [0, 1, 1]], np.uint8),
        np.array([[1, 0, 1], [0, 1, 1]], np.float16),
        np.array([[1, 0, 1], [0, 1, 1]], np.float64),
        np.array([[1, 0, 1], [0, 1, 1]], ">f4"),
        np.array([[1, 0], [0, 1], [1, 1]], np.float32).T,
        np.array([[1, 9, 0, 9, 1], [0, 9, 1, 9, 1]], np.float32)[:, ::2],
        np.asfortranarray(np.array([[1, 0, 1], [0, 1, 1]], np.float64)),
        [np.array([1, 0, 1]), np.array([0, 1, 1])],
    ],
)
def test_numbers_in_any_form(value):
    got = fed(identity((2, 3)), value)
    assert got.dtype == np.float32
    assert got.flags.c_contiguous
    np.testing.assert_array_equal(got, [[1, 0, 1], [0, 1, 1]])
    np.testing.assert_array_equal(run(identity((2, 3)), value), [[1, 0, 1], [0, 1, 1]])


@pytest.mark.parametrize("value", [1, 1.0, True, np.float64(1), np.int8(1), np.array(1.0), [1]])
@pytest.mark.parametrize("rank5", [False, True])
def test_a_number_stands_for_an_array_of_one(value, rank5):
    np.testing.assert_array_equal(run(identity((1,), rank5=rank5), value).ravel(), [1])


def test_torch_tensors():
    torch = pytest.importorskip("torch")
    x = torch.arange(6.0).reshape(2, 3)
    expected = np.arange(6, dtype=np.float32).reshape(2, 3)
    for tensor in (
        x, x.double(), x.half(), x.bfloat16(), x.long(), x.clone().requires_grad_(), torch.nn.Parameter(x),
        x.T.contiguous().T,
    ):  # fmt: skip
        np.testing.assert_array_equal(run(identity((2, 3)), tensor), expected)
    np.testing.assert_array_equal(run(identity((2, 3)), x > 2), expected > 2)


def test_a_complex_torch_tensor_is_refused():
    torch = pytest.importorskip("torch")
    assert message(identity((2,)), torch.zeros(2, dtype=torch.complex64)) == (
        "input 'x0' is Tensor of complex64, must be an array of numbers; convert it first"
    )


@pytest.mark.parametrize(
    ("value", "what"),
    [
        ("abc", "str of <U3"),
        (["a", "b"], "list of <U1"),
        (object(), "object"),
        ({1: 2}, "dict"),
        (np.array([None, 1]), "ndarray"),
        (np.zeros(2, complex), "ndarray of complex128"),
        (np.zeros(2, "M8[s]"), "ndarray of datetime64[s]"),
        (b"ab", "bytes of |S2"),
    ],
)
@pytest.mark.parametrize("rank5", [False, True])
def test_what_is_no_number_is_refused(value, what, rank5):
    assert message(identity((2,), rank5=rank5), value) == (
        f"input 'x0' is {what}, must be an array of numbers; convert it first"
    )


def test_lists_of_different_lengths_are_refused():
    text = message(identity((2, 2)), [[1, 2], [3]])
    assert text.startswith("input 'x0' is list, must be an array of numbers: setting an array element with a sequence")
    assert text.endswith("; convert it first")
    assert "\n" not in text


def test_numbers_beyond_float32_become_infinite():
    np.testing.assert_array_equal(run(identity((3,)), [1e300, -1e300, float("nan")]), [np.inf, -np.inf, np.nan])


def optional(**array):
    spec = identity((3,), **array)
    spec.description.input[0].type.isOptional = True
    return spec


@pytest.mark.parametrize(
    ("array", "expected"),
    [
        ({}, 0),
        ({"floatDefaultValue": 1.5}, 1.5),
        ({"doubleDefaultValue": -2.5}, -2.5),
        ({"intDefaultValue": 7}, 7),
        ({"doubleDefaultValue": 1e300}, np.inf),
    ],
)
def test_an_optional_input_has_its_default_value(array, expected):
    model = windfall.load(optional(**array))
    for inputs in ({}, {"x0": None}):
        np.testing.assert_array_equal(model.predict(inputs)["y0"], np.full(3, expected, np.float32))
    np.testing.assert_array_equal(model.predict({"x0": [1, 2, 3]})["y0"], [1, 2, 3])


@pytest.mark.parametrize("inputs", [{}, {"x0": None}])
def test_an_input_that_is_not_optional_must_be_there(inputs):
    with pytest.raises(FeatureError) as error:
        windfall.load(identity((3,))).predict(inputs)
    assert str(error.value) == "input 'x0' is missing; give a value for each of ['x0']"


@pytest.mark.parametrize(
    ("out", "dtype"),
    [("FLOAT32", np.float32), ("DOUBLE", np.float64), ("INT32", np.int32), ("FLOAT16", np.float16)],
)
def test_an_output_has_its_declared_type(out, dtype):
    got = run(identity((4,), out=out), [-2.7, -0.5, 0.0, 300.9])
    assert got.dtype == dtype
    np.testing.assert_array_equal(got, np.array([-2.7, -0.5, 0.0, 300.9], np.float32).astype(dtype))


@pytest.mark.parametrize("out", ["INT32", "FLOAT16", "INT8"])
def test_numbers_that_the_declared_type_cannot_hold_are_no_warning(out):
    assert run(identity((3,), out=out), [np.nan, 1e30, np.inf]).shape == (3,)


def test_a_rank5_output_takes_its_declared_shape():
    spec = identity((2, 3, 4), rank5=True)
    x = np.arange(24, dtype=np.float32).reshape(2, 3, 4)
    for declared in ([24], [6, 4], [1, 2, 12]):
        del spec.description.output[0].type.multiArrayType.shape[:]
        spec.description.output[0].type.multiArrayType.shape.extend(declared)
        np.testing.assert_array_equal(run(spec, x), x.reshape(declared))


@pytest.mark.parametrize("declared", [[-2, -12], [0], [5], [2**62, 2**62], [-24]])
def test_a_declared_shape_that_does_not_fit_the_output_is_not_used(declared):
    spec = identity((2, 3, 4), rank5=True)
    spec.description.output[0].type.multiArrayType.shape.extend(declared)
    assert run(spec, np.zeros((2, 3, 4))).shape == (2, 3, 4)


RANGES = {"shapeRange": {"sizeRanges": [{"lowerBound": 1, "upperBound": 3}, {"lowerBound": 2, "upperBound": -1}]}}
ENUMERATED = {"enumeratedShapes": {"shapes": [{"shape": [2, 3]}, {"shape": [4, 5]}]}}


@given(shape=hnp.array_shapes(min_dims=1, max_dims=3, max_side=6))
@settings(deadline=None, max_examples=40)
def test_a_flexible_shape_is_checked(shape):
    for flexibility, allowed, words in (
        (RANGES, len(shape) == 2 and shape[0] <= 3 and shape[1] >= 2, "[1..3, 2..]"),
        (ENUMERATED, shape in [(2, 3), (4, 5)], "one of [2, 3], [4, 5]"),
    ):
        spec = identity((2, 3), **flexibility)
        if allowed:
            assert fed(spec, np.zeros(shape)).shape == shape
        else:
            with pytest.raises(FeatureError) as error:
                fed(spec, np.zeros(shape))
            assert str(error.value) == f"input 'x0' has shape {list(shape)}, must be {words}; reshape it"


def test_a_flexible_shape_computes_at_each_size():
    model = windfall.load(identity((2, 3), **RANGES))
    for shape in ((2, 3), (1, 2), (3, 9), (2, 3)):
        x = np.random.default_rng(0).standard_normal(shape).astype(np.float32)
        np.testing.assert_array_equal(model.predict({"x0": x})["y0"], x)


def test_without_a_declared_shape_the_first_allowed_one_is_the_default():
    for flexibility, expected in ((RANGES, (1, 2)), (ENUMERATED, (2, 3))):
        spec = identity((2, 3), **flexibility)
        del spec.description.input[0].type.multiArrayType.shape[:]
        assert arrays.default_shape(spec.description.input[0].type.multiArrayType) == expected


@given(st.lists(st.integers(-(2**63), 2**63 - 1), min_size=1, max_size=4))
@settings(deadline=None, max_examples=40)
def test_sizes_that_cannot_be_are_refused_before_anything_is_made(sizes):
    assume(min(sizes) < 1 or np.prod(np.array(sizes, object)) > 2**32)
    spec = identity((1,))
    del spec.description.input[0].type.multiArrayType.shape[:]
    spec.description.input[0].type.multiArrayType.shape.extend(sizes)
    spec.description.input[0].type.isOptional = True
    with pytest.raises(FormatError) as error:
        windfall.load(spec).predict({})
    assert str(error.value).startswith(f"input 'x0' declares the sizes {sizes}, ")


@pytest.mark.parametrize(
    ("declared", "dims", "shape"),
    [
        ((3, 1, 1), (1, 3, 1, 1), (3, 1, 1)),
        ((1, 1, 3), (1, 3, 1, 1), (1, 1, 3)),
        ((3, 4), (1, 3, 4), (3, 4)),
        # As many elements, but in other places: the declared shape is a default that does not hold for this call.
        ((4, 3), (1, 3, 4), (1, 3, 4)),
        ((), (1, 3), (1, 3)),
    ],
)
def test_axes_of_size_1_follow_the_declared_shape(declared, dims, shape):
    feature = Model_pb2.FeatureDescription()
    feature.type.multiArrayType.shape.extend(declared)
    assert arrays.from_tensor(np.zeros(dims, np.float32), feature, rank5=False).shape == shape


def test_an_array_that_memory_cannot_hold():
    view = np.broadcast_to(np.float64(1), (2**50,))
    with pytest.raises(FeatureError, match=r"^input 'x' has shape \[1125899906842624\], which memory cannot hold$"):
        arrays.to_numbers(view, "x", np.dtype(np.float32))
