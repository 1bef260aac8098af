"""The two terms of the training loss: the patches of the style, the structure of the scene.

Neither needs a pretrained network. README.md explains both.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F  # noqa: N812 (PyTorch's own name for it)
from torch import Tensor

PATCH = 9
BANKS, FILTERS, MIXED = 16, 48, 5
SAMPLES, QUANTILES = 16384, 2048
LUMINANCE = torch.tensor([0.299, 0.587, 0.114]).view(1, 3, 1, 1)


def random_waves(count: int, generator: torch.Generator) -> Tensor:
    """Draw plane waves of random direction, length and phase over a patch, [count, 1, PATCH, PATCH]."""
    angle, phase = 2 * torch.pi * torch.rand(2, count, 1, 1, 1, generator=generator)
    frequency = 0.4 * torch.rand(count, 1, 1, 1, generator=generator)
    offsets = (torch.arange(PATCH) - PATCH // 2).float()
    along = offsets * angle.cos() + offsets[:, None] * angle.sin()
    return torch.cos(2 * torch.pi * frequency * along + phase)


def random_filters(count: int, gabor: float, generator: torch.Generator) -> Tensor:
    """Draw random projections of colour patches, [count, 3, PATCH, PATCH].

    The share ``gabor`` are Gabor filters, each looking along one direction of colour; the others are white noise. All
    are seen through a Gaussian window of random width, so that some see a pixel, some an edge, some the whole patch.
    Sums of many random terms tend to the normal distribution whatever the picture, and then there is little to match;
    projections on Gabor filters do not.
    """
    filters = random_waves(count, generator) * torch.randn(count, 3, 1, 1, generator=generator)
    noise = torch.rand(count, generator=generator) >= gabor
    filters[noise] = torch.randn(filters[noise].shape, generator=generator)
    offsets = torch.arange(PATCH) - PATCH // 2
    squares = (offsets[:, None] ** 2 + offsets[None] ** 2).float()
    widths = 0.3 + 3.7 * torch.rand(count, 1, 1, 1, generator=generator) ** 1.5
    return filters * torch.exp(-squares / (2 * widths**2))


def sparse_mixing(generator: torch.Generator) -> Tensor:
    """Draw weights [FILTERS, FILTERS, 3, 3] that mix only MIXED random inputs into each output, for the same reason."""
    taps = torch.rand(FILTERS, FILTERS * 9, generator=generator).argsort(dim=1)[:, :MIXED]
    weights = torch.zeros(FILTERS, FILTERS * 9).scatter(1, taps, torch.randn(FILTERS, MIXED, generator=generator))
    return weights.view(FILTERS, FILTERS, 3, 3)


def spread_quantiles(ascending: Tensor, count: int) -> Tensor:
    """Pick ``count`` evenly spread columns from the sorted rows [filters, values]."""
    levels = (torch.arange(count) + 0.5) / count
    return ascending[:, (levels * ascending.shape[1]).long()]


def sample_quantiles(values: Tensor, generator: torch.Generator) -> Tensor:
    """Return QUANTILES ascending values per row of [filters, values], measured on SAMPLES random columns."""
    chosen = torch.randperm(values.shape[1], generator=generator)[:SAMPLES]
    return spread_quantiles(values[:, chosen].sort(dim=1).values, QUANTILES)


@dataclass(frozen=True)
class Bank:
    """Random projections of patches, and the sorted values that the patches of the style picture have on them.

    Half of the projections are linear. The others mix, over 3x3 neighbours, what the linear ones leave after a ReLU;
    they see what goes together, such as a colour and the outline around it.
    """

    filters: Tensor  # [FILTERS, 3, PATCH, PATCH], scaled so that every projection of the style has standard deviation 1
    thresholds: Tensor  # [FILTERS]
    mixing: Tensor  # [FILTERS, FILTERS, 3, 3], scaled likewise
    stride: int
    quantiles: tuple[Tensor, Tensor]  # each [FILTERS, QUANTILES], ascending

    @classmethod
    def measure(cls, style: Tensor, stride: int, gabor: float, generator: torch.Generator) -> "Bank":
        """Draw projections and apply them to all patches of the style picture [1, 3, H, W]."""
        filters = random_filters(FILTERS, gabor, generator)
        filters = filters / F.conv2d(style, filters, stride=stride).std(dim=(0, 2, 3)).view(-1, 1, 1, 1)
        means = F.conv2d(style, filters, stride=stride).mean(dim=(0, 2, 3))
        thresholds = means + 0.7 * torch.randn(FILTERS, generator=generator)
        mixing = sparse_mixing(generator)
        plain = cls(filters, thresholds, mixing, stride, (means, means))
        scale = plain.project(style)[1].std(dim=1).view(-1, 1, 1, 1)
        scaled = cls(filters, thresholds, mixing / scale, stride, plain.quantiles)
        linear, mixed = (sample_quantiles(values, generator) for values in scaled.project(style))
        return cls(filters, thresholds, mixing / scale, stride, (linear, mixed))

    def project(self, picture: Tensor) -> tuple[Tensor, Tensor]:
        """Return the linear and the mixed projections, both [FILTERS, patches]."""
        linear = F.conv2d(picture, self.filters, stride=self.stride)
        mixed = F.conv2d(F.relu(linear - self.thresholds.view(1, -1, 1, 1)), self.mixing)
        return linear[0].flatten(1), mixed[0].flatten(1)

    def distance(self, picture: Tensor) -> Tensor:
        """Return the sliced Wasserstein-1 distance between the patches of the picture [1, 3, H, W] and the style's."""
        top, left = torch.randint(self.stride, (2,)).tolist()
        total = picture.new_zeros(())
        for ours, theirs in zip(self.project(picture[:, :, top:, left:]), self.quantiles, strict=True):
            difference = ours.sort(dim=1).values - spread_quantiles(theirs, ours.shape[1])
            total = total + difference.abs().mean()
        return total / 2


class StyleLoss:
    """The sliced Wasserstein distance between patches (GPDM, 2022) at several scales, each half of the one before."""

    def __init__(self, style: Tensor, scale_weights: tuple[float, ...], gabor: float, seed: int = 0) -> None:
        generator = torch.Generator().manual_seed(seed)
        self.scale_weights = scale_weights
        self.scales: list[list[Bank]] = []
        for level in range(len(scale_weights)):
            stride = max(3 - level, 1)  # every third patch is enough at full size; where to start is drawn at random
            self.scales.append([Bank.measure(style, stride, gabor, generator) for _ in range(BANKS)])
            style = F.avg_pool2d(style, 2)

    def __call__(self, picture: Tensor) -> Tensor:
        """Return the distance of the picture [1, 3, H, W] from the style, on one random bank per scale."""
        total = picture.new_zeros(())
        for weight, banks in zip(self.scale_weights, self.scales, strict=True):
            bank = banks[int(torch.randint(len(banks), ()))]
            total = total + weight * bank.distance(picture)
            picture = F.avg_pool2d(picture, 2)
        return total / sum(self.scale_weights)


def box_blur(x: Tensor, radius: int) -> Tensor:
    """Average over squares of 2 * radius + 1 pixels, leaving out what lies beyond the border."""
    return F.avg_pool2d(x, 2 * radius + 1, stride=1, padding=radius, count_include_pad=False)


def normalized_luminance(luminance: Tensor, radius: int, floor: float) -> tuple[Tensor, Tensor]:
    """Return the luminance with local mean 0 and local deviation about 1, and the local deviation itself."""
    centred = luminance - box_blur(luminance, radius)
    deviation = (box_blur(centred**2, radius) + 1e-6).sqrt()
    return centred / (deviation + floor), deviation


@dataclass(frozen=True)
class StructureLoss:
    """How far the light and dark shapes of the picture are from those of the photo.

    Compared on luminance reduced by ``pool``, so that finer texture is free, and normalized within ``radius``, so that
    colour and contrast are. Where the photo is flat there is no structure to keep, and the weight fades to ``base``.
    """

    pool: int
    radius: int
    base: float = 0.15
    floor: float = 0.06

    def __call__(self, picture: Tensor, photo: Tensor) -> Tensor:
        """Compare the picture with the photo, both [1, 3, H, W] in -1 to 1."""
        ours, _ = normalized_luminance(self.luminance(picture), self.radius, self.floor)
        theirs, deviation = normalized_luminance(self.luminance(photo), self.radius, self.floor)
        weight = self.base + (1 - self.base) * deviation / (deviation + 2 * self.floor)
        return (weight * (ours - theirs).abs()).mean()

    def luminance(self, picture: Tensor) -> Tensor:
        """Return the luminance [1, 1, H / pool, W / pool]."""
        return F.avg_pool2d((picture * LUMINANCE).sum(dim=1, keepdim=True), self.pool)
