"""The grain of the canvas: a fixed random pattern that is added to every photo.

A convolutional network sees no difference between two places in a clear sky, so there it can paint nothing or a
regular pattern, but not single brush strokes. The grain tells the places apart, like the noise that Ulyanov et al.
(2016) feed to their texture networks.
"""

import numpy as np
import torch
from scipy.ndimage import gaussian_filter
from torch import Tensor

STRENGTH = 0.1  # standard deviation, where photos go from -1 to 1
BLURS = (0.7, 2.5, 6.0)  # the sizes of its features in pixels


def canvas_grain(size: int) -> Tensor:
    """Return the pattern, [1, 1, size, size]; it can be laid side by side without a seam."""
    rng = np.random.default_rng(0)
    layers = [gaussian_filter(rng.standard_normal((size, size)), blur, mode="wrap") for blur in BLURS]
    pattern = np.sum([layer / layer.std() for layer in layers], axis=0)
    return torch.from_numpy(STRENGTH * pattern / pattern.std()).float()[None, None]


def add_grain(photo: Tensor, grain: Tensor) -> Tensor:
    """Add a random part of the grain to a photo [1, 3, H, W] that is not larger."""
    top, left = torch.randint(grain.shape[-1], (2,)).tolist()
    height, width = photo.shape[2:]
    return photo + grain.roll((top, left), dims=(2, 3))[:, :, :height, :width]
