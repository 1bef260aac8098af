import struct
import warnings
import zlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from windfall.description import ImageType, SizeRange
from windfall.errors import FeatureError
from windfall.features.fitting import FITS, fit, fit_photo, open_photo, target_size

SIZES = st.tuples(st.integers(24, 120), st.integers(24, 120))


def coordinates(width: int, height: int) -> Image.Image:
    """A picture whose red tells how far right a pixel is, 0 to 255 over the width, and whose green how far down."""
    x = (np.arange(width) + 0.5) / width * 255
    y = (np.arange(height) + 0.5) / height * 255
    red, green = np.meshgrid(x, y)
    return Image.fromarray(np.rint(np.stack([red, green, np.full_like(red, 128)], -1)).astype(np.uint8))


def seen(picture: Image.Image, size: tuple[int, int], scale: tuple[float, float]) -> np.ndarray:
    """The (red, green) that each pixel of a picture scaled about its centre must have, both ends open."""
    axes = []
    for length, source, factor in zip(size, picture.size, scale, strict=True):
        offset = (np.arange(length) + 0.5 - length / 2) / factor  # in pixels of the source, from its centre
        axes.append((offset / source + 0.5) * 255)
    red, green = np.meshgrid(*axes)
    return np.stack([red, green], -1)


@given(SIZES, SIZES)
@settings(deadline=None, max_examples=40)
def test_center_crop_fills_the_size_from_the_centre(source: tuple[int, int], size: tuple[int, int]) -> None:
    picture = coordinates(*source)
    fitted = fit(picture, size, "centerCrop")
    scale = max(size[0] / source[0], size[1] / source[1])
    expected = seen(picture, size, (scale, scale))[2:-2, 2:-2]
    assert fitted.size == size
    inner = np.asarray(fitted)[2:-2, 2:-2, :2]
    # Where a photo is much enlarged, the pixels at its own edges have no neighbours to be drawn from.
    away = (expected > 12) & (expected < 243)
    np.testing.assert_allclose(inner[away], expected[away], atol=4)


@given(SIZES, SIZES)
@settings(deadline=None, max_examples=40)
def test_scale_fill_stretches_the_whole_picture(source: tuple[int, int], size: tuple[int, int]) -> None:
    picture = coordinates(*source)
    expected = seen(picture, size, (size[0] / source[0], size[1] / source[1]))
    fitted = np.asarray(fit(picture, size, "scaleFill"))[..., :2]
    away = (expected > 12) & (expected < 243)
    np.testing.assert_allclose(fitted[away], expected[away], atol=4)


@given(SIZES, SIZES)
@settings(deadline=None, max_examples=40)
def test_scale_fit_shows_the_whole_picture_with_black_around_it(source: tuple[int, int], size: tuple[int, int]) -> None:
    fitted = np.asarray(fit(coordinates(*source), size, "scaleFit"))
    scale = min(size[0] / source[0], size[1] / source[1])
    inside = fitted[..., 2] > 0  # blue is 128 in the picture and 0 around it
    rows, columns = inside.any(1).nonzero()[0], inside.any(0).nonzero()[0]
    width, height = round(source[0] * scale), round(source[1] * scale)
    assert (len(columns), len(rows)) == (width, height)
    assert columns[0] == (size[0] - width) // 2
    assert rows[0] == (size[1] - height) // 2
    assert inside[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1].all()
    assert not fitted[~inside].any()


@pytest.mark.parametrize("how", FITS)
def test_a_picture_of_the_right_size_stays_as_it_is(how: str) -> None:
    picture = coordinates(40, 30)
    np.testing.assert_array_equal(fit(picture, (40, 30), how), picture)


def test_center_crop_of_a_wide_picture_keeps_its_middle_square() -> None:
    pixels = np.zeros((10, 30, 3), np.uint8)
    pixels[:, 10:20] = 255
    assert np.asarray(fit(Image.fromarray(pixels), (10, 10))).min() == 255


def test_scaling_down_averages() -> None:
    stripes = np.tile(np.array([0, 255], np.uint8), (64, 32))
    small = np.asarray(fit(Image.fromarray(stripes), (8, 8)))
    assert small.min() >= 126
    assert small.max() <= 129


def test_alpha_is_blended_onto_black() -> None:
    pixels = np.full((8, 8, 4), 200, np.uint8)
    pixels[..., 3] = np.repeat([0, 255], 4)
    fitted = np.asarray(fit(Image.fromarray(pixels), (8, 8)))
    assert fitted[:, :4].max() == 0
    assert fitted[:, 4:].min() == 200


def test_sixteen_bits_of_gray_are_scaled() -> None:
    picture = Image.fromarray(np.full((4, 4), 257 * 77, np.uint16))
    assert np.asarray(fit(picture, (4, 4))).tolist() == [[77] * 4] * 4


@pytest.mark.parametrize(
    ("mode", "fitted"), [("1", "L"), ("P", "RGB"), ("CMYK", "RGB"), ("LA", "RGB"), ("F", "F"), ("YCbCr", "RGB")]
)
def test_every_mode_becomes_one_that_scales(mode: str, fitted: str) -> None:
    assert fit(Image.new(mode, (20, 10)), (5, 5)).mode == fitted


def test_a_mode_of_unknown_range_is_refused() -> None:
    with pytest.raises(
        FeatureError, match=r"^the picture has mode I, whose range is not known; convert it to L, F or RGB first$"
    ):
        fit(Image.new("I", (4, 4)), (2, 2))


def test_an_unknown_way_to_fit_is_refused() -> None:
    with pytest.raises(FeatureError, match=r"^fit is 'crop', must be one of: centerCrop, scaleFit, scaleFill$"):
        fit(coordinates(4, 4), (2, 2), "crop")


@pytest.mark.parametrize("size", [(0, 5), (2**20, 2**20)])
def test_a_size_that_no_picture_has_is_refused(size: tuple[int, int]) -> None:
    message = f"^a picture cannot be fitted to {size[0]}x{size[1]}, must be at least 1x1 and have at most 268,435,456 "
    with pytest.raises(FeatureError, match=message):
        fit(coordinates(4, 4), size)


ANY = SizeRange(1, None)


@pytest.mark.parametrize(
    ("size", "image", "expected"),
    [
        ((400, 300), ImageType(224, 224, "RGB"), (224, 224)),
        ((400, 300), ImageType(224, 224, "RGB", sizes=((224, 224), (320, 240), (240, 320))), (320, 240)),
        ((400, 300), ImageType(64, 64, "RGB", sizes=((64, 64), (512, 512), (256, 256))), (256, 256)),
        ((400, 300), ImageType(64, 64, "RGB", sizes=((64, 64), (400, 300))), (400, 300)),
        ((400, 300), ImageType(64, 64, "RGB", width_range=ANY, height_range=ANY), (400, 300)),
        ((400, 300), ImageType(64, 64, "RGB", width_range=SizeRange(1, 200), height_range=ANY), (200, 150)),
        ((40, 30), ImageType(64, 64, "RGB", width_range=ANY, height_range=SizeRange(60, None)), (80, 60)),
        ((40, 30), ImageType(64, 64, "RGB", width_range=SizeRange(64, 64), height_range=SizeRange(64, 64)), (64, 64)),
        ((9000, 30), ImageType(9, 9, "RGB", width_range=SizeRange(9, 90), height_range=SizeRange(9, 90)), (90, 9)),
    ],
)
def test_the_size_allowed_that_suits_a_photo_best(size, image, expected) -> None:
    assert target_size(size, image) == expected


@given(SIZES, st.tuples(SIZES, SIZES))
@settings(deadline=None, max_examples=60)
def test_a_photo_always_gets_a_size_within_the_ranges(size, ends) -> None:
    ranges = [SizeRange(*sorted(pair)) for pair in zip(*ends, strict=True)]
    image = ImageType(0, 0, "RGB", width_range=ranges[0], height_range=ranges[1])
    assert image.allows(fit_photo(coordinates(*size), image).size)


@pytest.mark.parametrize(
    ("orientation", "corner"), [(1, "top left"), (3, "bottom right"), (6, "top right"), (8, "bottom left")]
)
def test_the_exif_orientation_is_honoured(tmp_path: Path, orientation: int, corner: str) -> None:
    picture = Image.new("RGB", (60, 40))
    picture.paste((255, 255, 255), (0, 0, 20, 20))
    exif = Image.Exif()
    exif[0x0112] = orientation
    picture.save(tmp_path / "photo.png", exif=exif)
    upright = np.asarray(open_photo(tmp_path / "photo.png"))
    corners = {
        "top left": upright[0, 0],
        "top right": upright[0, -1],
        "bottom left": upright[-1, 0],
        "bottom right": upright[-1, -1],
    }
    assert upright.shape[:2] == ((40, 60) if orientation in (1, 3) else (60, 40))
    assert [name for name, pixel in corners.items() if pixel[0] == 255] == [corner]


def test_a_photo_whose_metadata_is_damaged_is_read_without_a_warning(tmp_path: Path) -> None:
    picture = Image.new("RGB", (6, 4))
    picture.save(tmp_path / "photo.jpg", exif=b"Exif\0\0II*\0\x08\0\0\0\x05\0\x12\x01")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert open_photo(tmp_path / "photo.jpg").size == (6, 4)


def png_of(width: int, height: int) -> bytes:
    """The head of a PNG file that claims a size."""
    header = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    chunks = [header, b"IDAT" + zlib.compress(b"")]
    framed = [struct.pack(">I", len(c) - 4) + c + struct.pack(">I", zlib.crc32(c)) for c in chunks]
    return b"\x89PNG\r\n\x1a\n" + b"".join(framed)


@pytest.mark.parametrize("side", [10_000, 100_000])
def test_a_decompression_bomb_is_refused(tmp_path: Path, side: int) -> None:
    (tmp_path / "bomb.png").write_bytes(png_of(side, side))
    with pytest.raises(FeatureError, match=r"bomb\.png has too many pixels, must have at most 89,478,485; scale it"):
        open_photo(tmp_path / "bomb.png")


def test_files_that_are_no_pictures_are_refused(tmp_path: Path) -> None:
    (tmp_path / "text.jpg").write_text("no picture")
    coordinates(64, 64).save(tmp_path / "whole.png")
    (tmp_path / "cut.png").write_bytes((tmp_path / "whole.png").read_bytes()[:120])
    for name, message in {
        "text.jpg": r"text\.jpg is not a picture that can be read; convert it to PNG or JPEG$",
        "cut.png": r"cut\.png cannot be decoded: .*; it may be damaged$",
        "none.png": r"cannot open .*none\.png: No such file or directory; check the path$",
        "": r"is a directory, must be a picture; name the files in it$",
    }.items():
        with pytest.raises(FeatureError, match=message):
            open_photo(tmp_path / name)
