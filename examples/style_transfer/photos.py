"""Training photos that scikit-image and scikit-learn carry inside their packages, cropped and recoloured at random.

A dozen photos are few, so every crop has its own scale, mirroring and colours, and some are "dead leaves" instead:
random discs that hide each other, a classic stand-in for the edges and shades of natural scenes.
"""

from dataclasses import dataclass
from importlib.resources import as_file, files

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageDraw
from torch import Tensor

DEAD_LEAVES_SHARE = 0.15
SMALLEST_CROP, LARGEST_CROP = 110, 420
LUMINANCE = np.array([0.299, 0.587, 0.114], dtype=np.float32)


@dataclass(frozen=True)
class Photo:
    """A photo inside an installed package. README.md lists the licences."""

    package: str
    path: str
    share: float = 1.0  # how often it is drawn, relative to the others


PHOTOS = (
    Photo("sklearn", "datasets/images/china.jpg", 2.0),
    Photo("sklearn", "datasets/images/flower.jpg", 2.0),
    Photo("skimage", "data/astronaut.png", 2.5),
    Photo("skimage", "data/coffee.png", 2.0),
    Photo("skimage", "data/rocket.jpg", 1.5),
    Photo("skimage", "data/camera.png", 2.0),
    Photo("skimage", "data/coins.png"),
    Photo("skimage", "data/hubble_deep_field.jpg", 0.5),
    Photo("skimage", "data/retina.jpg", 0.5),
    Photo("skimage", "data/ihc.png", 0.5),
    Photo("skimage", "data/grass.png", 0.4),
    Photo("skimage", "data/gravel.png", 0.4),
    Photo("skimage", "data/brick.png", 0.4),
)


def open_photo(photo: Photo) -> Image.Image:
    """Read a photo as RGB."""
    with as_file(files(photo.package) / photo.path) as path:
        return Image.open(path).convert("RGB")


def random_crop(rng: np.random.Generator, picture: Image.Image, size: int) -> Image.Image:
    """Cut a random square out of the picture, scale it to ``size`` and mirror it half of the time."""
    largest = min(LARGEST_CROP, *picture.size)
    side = np.exp(rng.uniform(np.log(min(SMALLEST_CROP, largest)), np.log(largest)))
    left, top = rng.uniform(0, picture.width - side), rng.uniform(0, picture.height - side)
    crop = picture.resize((size, size), Image.Resampling.BICUBIC, box=(left, top, left + side, top + side))
    return crop.transpose(Image.Transpose.FLIP_LEFT_RIGHT) if rng.random() < 0.5 else crop


def dead_leaves(rng: np.random.Generator, size: int) -> Image.Image:
    """Draw discs of all sizes and shades, each hiding what lies below it."""
    picture = Image.new("RGB", (2 * size, 2 * size))
    draw = ImageDraw.Draw(picture)
    for _ in range(int(rng.integers(40, 400))):
        x, y = rng.uniform(0, 2 * size, 2)
        radius = 2 * size * 0.03 / rng.uniform(0.06, 1.0)  # a power law: many small discs, few large ones
        shade = int(rng.integers(256))
        fill = tuple(int(value) for value in np.clip(rng.normal(shade, 40, 3), 0, 255))
        draw.ellipse((x - radius, y - radius, x + radius, y + radius), fill=fill)
    return picture.resize((size, size), Image.Resampling.BOX)


def jitter_colours(rng: np.random.Generator, pixels: NDArray[np.float32]) -> NDArray[np.float32]:
    """Change the brightness, contrast, saturation and white balance of pixels [H, W, 3] in 0 to 1."""
    gray = (pixels @ LUMINANCE)[..., None]
    pixels = gray + (pixels - gray) * rng.uniform(0.0, 1.8)
    if rng.random() < 0.3:
        pixels = pixels[..., rng.permutation(3)]
    pixels = np.clip(pixels * rng.uniform(0.85, 1.15, 3), 0, 1) ** rng.uniform(0.6, 1.6)
    middle = pixels.mean()
    return np.clip(middle + (pixels - middle) * rng.uniform(0.7, 1.4), 0, 1).astype(np.float32)


class PhotoStream:
    """An endless supply of training pictures."""

    def __init__(self, size: int, seed: int = 0) -> None:
        self.size = size
        self.rng = np.random.default_rng(seed)
        self.pictures = [open_photo(photo) for photo in PHOTOS]
        shares = np.array([photo.share for photo in PHOTOS])
        self.shares = shares / shares.sum()

    def draw(self) -> Tensor:
        """Return the next picture, [1, 3, size, size] in -1 to 1."""
        if self.rng.random() < DEAD_LEAVES_SHARE:
            picture = dead_leaves(self.rng, self.size)
        else:
            choice = self.rng.choice(len(self.pictures), p=self.shares)
            picture = random_crop(self.rng, self.pictures[choice], self.size)
        pixels = jitter_colours(self.rng, np.asarray(picture, dtype=np.float32) / 255)
        return to_tensor(pixels)


def to_tensor(pixels: NDArray[np.float32]) -> Tensor:
    """Turn pixels [H, W, 3] in 0 to 1 into a tensor [1, 3, H, W] in -1 to 1."""
    return torch.from_numpy(np.ascontiguousarray(pixels.transpose(2, 0, 1)))[None] * 2 - 1


def to_picture(tensor: Tensor) -> Image.Image:
    """Turn a tensor [1, 3, H, W] in -1 to 1 into a picture."""
    pixels = (tensor[0].clamp(-1, 1) * 127.5 + 128).byte()
    return Image.fromarray(pixels.permute(1, 2, 0).numpy())
