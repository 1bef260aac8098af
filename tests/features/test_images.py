import io

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from PIL import Image
from tests.support import fill, layer_spec

import windfall
from windfall.errors import FeatureError, FormatError
from windfall.features.networks import NetworkBinder
from windfall.spec.modelfile import from_spec

PIXELS = st.integers(0, 255)


def image_model(space="RGB", size=(4, 3), out=None, rank4=False, preprocessing=(), **linear):
    """Return a model from a picture of (width, height) to an array, or to a picture of a colour space."""
    spec = layer_spec("activation", np.zeros(1), rank5=not rank4, linear={"alpha": 1, **linear})
    description = spec.description
    description.input[0].ClearField("type")
    fill(description.input[0].type, {"imageType": {"width": size[0], "height": size[1], "colorSpace": space}})
    spec.neuralNetwork.imageInputShapeMapping = int(rank4)
    for fields in preprocessing:
        fill(spec.neuralNetwork.preprocessing.add(), fields)
    if out:
        description.output[0].ClearField("type")
        fill(description.output[0].type, {"imageType": {"width": size[0], "height": size[1], "colorSpace": out}})
    return spec


def array_to_image(out, shape, alpha=1.0, beta=0.0):
    """Return a model from an array of an exact shape to a picture."""
    spec = layer_spec("activation", np.zeros(shape), linear={"alpha": alpha, "beta": beta})
    spec.description.output[0].ClearField("type")
    fill(spec.description.output[0].type, {"imageType": {"width": 1, "height": 1, "colorSpace": out}})
    return spec


def run(spec, value):
    return windfall.load(spec, threads=1).predict({"x0": value})["y0"]


def message(spec, value):
    with pytest.raises(FeatureError) as error:
        run(spec, value)
    return str(error.value)


def picture(mode="RGB", size=(4, 3), seed=0):
    channels = {"L": (), "RGB": (3,)}[mode]
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, (size[1], size[0], *channels), np.uint8))


def planes(image, order=(0, 1, 2)):
    """Return [C, H, W] of an RGB picture, in the model's order of channels."""
    return np.asarray(image).transpose(2, 0, 1)[list(order)].astype(np.float32)


@pytest.mark.parametrize("rank4", [False, True])
@pytest.mark.parametrize(("space", "order"), [("RGB", (0, 1, 2)), ("BGR", (2, 1, 0))])
def test_colours_come_in_the_order_of_the_model(space, order, rank4):
    image = picture()
    got = run(image_model(space, rank4=rank4), image)
    assert got.shape == ((1, 3, 3, 4) if rank4 else (3, 3, 4))
    np.testing.assert_array_equal(got.reshape(3, 3, 4), planes(image, order))


@pytest.mark.parametrize("rank4", [False, True])
def test_image_mappings_differ_in_the_rank_inside(rank4):
    spec = image_model(rank4=rank4)
    got = windfall.load(spec).predict({"x0": picture()}, outputs=["y0"])["y0"]
    inner = windfall.load(spec).compiled.graph.graph.outputs[0].shape
    assert list(inner) == ([1, 3, 3, 4] if rank4 else [1, 1, 3, 3, 4])
    assert got.size == 36


@pytest.mark.parametrize("rank4", [False, True])
def test_gray(rank4):
    image = picture("L")
    got = run(image_model("GRAYSCALE", rank4=rank4), image)
    np.testing.assert_array_equal(got.reshape(3, 4), np.asarray(image))


def test_gray_of_a_colour_picture_is_its_luminance():
    image = picture()
    red, green, blue = planes(image)
    expected = 0.299 * red + 0.587 * green + 0.114 * blue  # ITU-R 601, in Pillow's integers
    np.testing.assert_allclose(run(image_model("GRAYSCALE"), image)[0], expected, atol=1)


def test_float16_gray_is_neither_clipped_nor_rounded():
    values = np.array([[-1.5, 0.25, 255.5, 1000]], np.float32)
    spec = image_model("GRAYSCALE_FLOAT16", size=(4, 1))
    np.testing.assert_array_equal(run(spec, Image.fromarray(values))[0], values)
    back = run(image_model("GRAYSCALE_FLOAT16", size=(4, 1), out="GRAYSCALE_FLOAT16"), Image.fromarray(values))
    assert back.mode == "F"
    np.testing.assert_array_equal(np.asarray(back), values)


def test_modes_are_converted():
    rgb = picture()
    red, green, blue = rgb.split()
    rgba = Image.merge("RGBA", (red, green, blue, picture("L", seed=1)))
    spec = image_model()
    for image in (rgba, np.asarray(rgba), np.asarray(rgb)):
        np.testing.assert_array_equal(run(spec, image), planes(rgb))
    palette = rgb.quantize(4)
    np.testing.assert_array_equal(run(spec, palette), planes(palette.convert("RGB")))
    gray = picture("L")
    la = Image.merge("LA", (gray, picture("L", seed=1)))
    for image in (gray, la, np.asarray(gray), np.asarray(gray)[:, :, None]):
        np.testing.assert_array_equal(run(spec, image), np.broadcast_to(np.asarray(gray), (3, 3, 4)))
        np.testing.assert_array_equal(run(image_model("GRAYSCALE"), image)[0], np.asarray(gray))
    bits = gray.point(lambda v: 255 * (v > 100), mode="1")
    np.testing.assert_array_equal(run(spec, bits)[0], 255 * (np.asarray(gray) > 100))


@pytest.mark.parametrize("space", ["GRAYSCALE", "RGB", "GRAYSCALE_FLOAT16"])
def test_pictures_of_16_bits_are_scaled(space):
    values = np.array([[0, 257, 128 * 257, 65535]], np.uint16)
    image = Image.fromarray(values)
    assert image.mode == "I;16"
    np.testing.assert_array_equal(run(image_model(space, size=(4, 1)), image)[0], [[0, 1, 128, 255]])


def test_a_picture_of_unknown_range_is_refused():
    image = Image.fromarray(np.zeros((3, 4), np.int32))
    assert message(image_model(), image) == (
        "image 'x0' has mode I, whose range is not known; convert it to L, F or RGB first"
    )


def test_arrays_need_not_be_contiguous():
    array = np.random.default_rng(0).integers(0, 256, (6, 8, 3), np.uint8)
    np.testing.assert_array_equal(run(image_model(), array[::2, ::-2]), array[::2, ::-2].transpose(2, 0, 1))


SCALER = {"channelScale": 0.5, "redBias": 1.0, "greenBias": 2.0, "blueBias": 3.0, "grayBias": 4.0}


@pytest.mark.parametrize("name", ["", "x0"])
@pytest.mark.parametrize(("space", "order", "biases"), [("RGB", (0, 1, 2), (1, 2, 3)), ("BGR", (2, 1, 0), (3, 2, 1))])
def test_scaler(space, order, biases, name):
    image = picture()
    got = run(image_model(space, preprocessing=[{"featureName": name, "scaler": SCALER}]), image)
    np.testing.assert_array_equal(got, planes(image, order) * 0.5 + np.reshape(biases, (3, 1, 1)))


@pytest.mark.parametrize("space", ["GRAYSCALE", "GRAYSCALE_FLOAT16"])
def test_scaler_of_gray(space):
    image = picture("L")
    got = run(image_model(space, preprocessing=[{"scaler": SCALER}]), image)
    np.testing.assert_array_equal(got[0], np.asarray(image) * 0.5 + 4)


def test_mean_image():
    image = picture()
    mean = np.random.default_rng(2).uniform(0, 255, (3, 3, 4)).astype(np.float32)
    got = run(image_model(preprocessing=[{"meanImage": {"meanImage": mean}}]), image)
    np.testing.assert_array_equal(got, planes(image) - mean)


def test_preprocessing_of_another_input_is_not_for_this_one():
    image = picture()
    got = run(image_model(preprocessing=[{"featureName": "other", "scaler": SCALER}]), image)
    np.testing.assert_array_equal(got, planes(image))


def test_preprocessing_without_a_name_is_for_the_first_image():
    spec = image_model(preprocessing=[{"scaler": {"channelScale": 2}}])
    spec.description.input.add().CopyFrom(spec.description.input[0])
    spec.description.input[1].name = "x1"
    layer = spec.neuralNetwork.layers.add(name="second", input=["x1"], output=["y1"])
    layer.activation.linear.alpha = 1
    spec.description.output.add().CopyFrom(spec.description.output[0])
    spec.description.output[1].name = "y1"
    image = picture()
    got = windfall.load(spec).predict({"x0": image, "x1": image})
    np.testing.assert_array_equal(got["y0"], planes(image) * 2)
    np.testing.assert_array_equal(got["y1"], planes(image))


def test_a_mean_image_of_another_size_is_refused():
    spec = image_model(preprocessing=[{"meanImage": {"meanImage": [1.0] * 5}}])
    with pytest.raises(FormatError) as error:
        run(spec, picture())
    assert str(error.value) == "the model: meanImage has 5 values, must have one for each of [3, 3, 4]"


@given(data=st.data(), space=st.sampled_from(["RGB", "BGR", "GRAYSCALE"]), rank4=st.booleans())
@settings(deadline=None, max_examples=25)
def test_a_picture_survives_the_round_trip(data, space, rank4):
    width, height = data.draw(st.tuples(st.integers(1, 6), st.integers(1, 6)))
    shape = (height, width) if space == "GRAYSCALE" else (height, width, 3)
    pixels = data.draw(hnp.arrays(np.uint8, shape, elements=PIXELS))
    got = run(image_model(space, (width, height), out=space, rank4=rank4), Image.fromarray(pixels))
    assert got.mode == ("L" if space == "GRAYSCALE" else "RGB")
    assert got.size == (width, height)
    np.testing.assert_array_equal(np.asarray(got), pixels)


def test_a_bgr_model_that_gives_rgb_swaps():
    image = picture()
    np.testing.assert_array_equal(np.asarray(run(image_model("BGR", out="RGB"), image)), np.asarray(image)[:, :, ::-1])


@given(hnp.arrays(np.float32, (3, 2, 2), elements=st.floats(-300, 600, width=32)))
@settings(deadline=None, max_examples=25)
def test_picture_outputs_are_clipped_and_rounded(x):
    expected = np.rint(np.clip(x, 0, 255)).astype(np.uint8)
    got = np.asarray(run(array_to_image("RGB", (3, 2, 2)), x))
    np.testing.assert_array_equal(got, expected.transpose(1, 2, 0))
    got = np.asarray(run(array_to_image("BGR", (3, 2, 2)), x))
    np.testing.assert_array_equal(got, expected[::-1].transpose(1, 2, 0))
    got = np.asarray(run(array_to_image("GRAYSCALE", (1, 2, 2)), x[:1]))
    np.testing.assert_array_equal(got, expected[0])


@pytest.mark.parametrize("shape", [(2, 2), (1, 2, 2), (1, 1, 2, 2), (1, 1, 1, 2, 2)])
def test_gray_outputs_of_any_rank(shape):
    x = np.array([[0, 10], [20, 255]], np.float32)
    np.testing.assert_array_equal(np.asarray(run(array_to_image("GRAYSCALE", shape), x.reshape(shape))), x)


@pytest.mark.parametrize(
    ("out", "shape", "text"),
    [
        ("RGB", (4, 2, 2), "output image 'y0' gets a tensor of shape [4, 2, 2], must be [3, H, W]"),
        ("GRAYSCALE", (3, 2, 2), "output image 'y0' gets a tensor of shape [3, 2, 2], must be [1, H, W]"),
        ("GRAYSCALE", (5,), "output image 'y0' gets a tensor of shape [5], must be [1, H, W]"),
        ("RGB", (2, 2), "output image 'y0' gets a tensor of shape [2, 2], must be [3, H, W]"),
    ],
)
def test_a_tensor_that_is_no_picture_is_refused(out, shape, text):
    with pytest.raises(FormatError) as error:
        run(array_to_image(out, shape), np.zeros(shape))
    assert str(error.value) == text


def test_an_output_of_several_pictures_is_refused():
    assert message(array_to_image("RGB", (2, 3, 4, 4)), np.zeros((2, 3, 4, 4))) == (
        "image output 'y0' has the shape [2, 4, 4, 3], must be one picture [1, H, W, channels]; "
        "give inputs without a batch"
    )


@pytest.mark.parametrize("space", ["RGB", "GRAYSCALE", "GRAYSCALE_FLOAT16"])
def test_an_optional_picture_that_is_left_out_is_black(space):
    spec = image_model(space, beta=2)
    spec.description.input[0].type.isOptional = True
    got = windfall.load(spec).predict({})["y0"]
    np.testing.assert_array_equal(got, np.full_like(got, 2))


def test_flexible_sizes():
    spec = image_model()
    image = spec.description.input[0].type.imageType
    fill(image, {"imageSizeRange": {"widthRange": {"lowerBound": 2, "upperBound": 5}, "heightRange": {
        "lowerBound": 3, "upperBound": -1}}})  # fmt: skip
    model = windfall.load(spec)
    for size in ((4, 3), (2, 9), (5, 3)):
        sized = picture(size=size)
        np.testing.assert_array_equal(model.predict({"x0": sized})["y0"], planes(sized))
    assert message(spec, picture(size=(6, 3))) == (
        "image 'x0' is 6x3, must be 2..5 x 3..; resize it first, or use the command line, which does"
    )
    fill(image, {"enumeratedSizes": {"sizes": [{"width": 7, "height": 2}, {"width": 4, "height": 3}]}})
    np.testing.assert_array_equal(run(spec, picture(size=(7, 2))), planes(picture(size=(7, 2))))
    assert message(spec, picture(size=(6, 3))) == (
        "image 'x0' is 6x3, must be one of 7x2, 4x3; resize it first, or use the command line, which does"
    )


def test_a_declared_size_of_a_flexible_picture_of_no_size_is_the_first_allowed():
    spec = image_model(size=(0, 0))
    fill(spec.description.input[0].type.imageType, {"enumeratedSizes": {"sizes": [{"width": 7, "height": 2}]}})
    assert NetworkBinder(from_spec(spec)).default_shapes() == {"x0": (1, 2, 7, 3)}


@pytest.mark.parametrize(
    ("value", "what"),
    [
        ("photo.jpg", "str"),
        (b"\xff\xd8", "bytes"),
        (7, "int"),
        (object(), "object"),
        ([[1, 2], [3, 4]], "list"),
        (np.full((3, 4, 3), np.nan), "an array of float64, shape [3, 4, 3]"),
        (np.zeros((3, 4, 2), np.uint8), "an array of uint8, shape [3, 4, 2]"),
        (np.zeros((1, 3, 4, 3), np.uint8), "an array of uint8, shape [1, 3, 4, 3]"),
        (np.zeros(5, np.uint8), "an array of uint8, shape [5]"),
        (np.zeros((3, 4), np.int64), "an array of int64, shape [3, 4]"),
    ],
)
def test_what_is_no_picture_is_refused(value, what):
    assert message(image_model(), value) == (
        f"image 'x0' is {what}, must be a Pillow image or a uint8 array [H, W, 3]; try PIL.Image.open(path)"
    )


def test_a_picture_of_another_size_is_refused():
    assert message(image_model(), np.zeros((3, 3, 4), np.uint8)) == (
        "image 'x0' is 3x3, must be 4x3; resize it first, or use the command line, which does"
    )


def test_a_photo_that_is_cut_off_is_refused():
    file = io.BytesIO()
    picture(size=(64, 64)).save(file, "JPEG")
    cut = Image.open(io.BytesIO(file.getvalue()[:-200]))
    text = message(image_model(size=(64, 64)), cut)
    assert text.startswith("image 'x0' cannot be decoded: image file is truncated")
    assert text.endswith("; check the file")


@pytest.mark.filterwarnings("ignore")  # Pillow warns of what it finds in a damaged file
@given(at=st.integers(40, 900), value=st.integers(0, 255), kind=st.sampled_from(["PNG", "GIF", "BMP", "TIFF", "WEBP"]))
@settings(deadline=None, max_examples=60)
def test_a_damaged_photo_is_decoded_or_refused(at, value, kind):
    file = io.BytesIO()
    picture(size=(16, 16)).save(file, kind)
    data = bytearray(file.getvalue())
    data[at % len(data)] = value
    try:
        opened = Image.open(io.BytesIO(bytes(data)))
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):
        return
    if opened.size != (16, 16):
        return
    try:
        assert run(image_model(size=(16, 16)), opened).shape == (3, 16, 16)
    except FeatureError as error:
        assert str(error).startswith("image 'x0'")  # noqa: PT017  # either way is right
