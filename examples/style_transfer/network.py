"""The feed-forward style network of Johnson et al. (2016), with the instance normalization of Ulyanov et al. (2016)."""

from torch import Tensor, nn

RESIDUAL_BLOCKS = 5
WIDE = 128


class PaddedConv(nn.Sequential):
    """A convolution over a picture whose borders are padded by reflection, so that they show no dark frame.

    With ``kernel // 2`` pixels of padding: [1, sources, H, W] -> [1, targets, H / stride, W / stride].
    """

    def __init__(self, sources: int, targets: int, kernel: int, stride: int = 1) -> None:
        super().__init__(nn.ReflectionPad2d(kernel // 2), nn.Conv2d(sources, targets, kernel, stride))


class ConvBlock(nn.Sequential):
    """A padded convolution, instance normalization and ReLU."""

    def __init__(self, sources: int, targets: int, kernel: int, stride: int = 1) -> None:
        norm = nn.InstanceNorm2d(targets, affine=True)
        super().__init__(PaddedConv(sources, targets, kernel, stride), norm, nn.ReLU())


class UpsampleBlock(nn.Sequential):
    """Doubles the picture by repeating pixels, then a ConvBlock: no checkerboards, unlike a transposed convolution."""

    def __init__(self, sources: int, targets: int) -> None:
        super().__init__(nn.Upsample(scale_factor=2, mode="nearest"), ConvBlock(sources, targets, kernel=3))


class ResidualBlock(nn.Module):
    """Two 3x3 convolutions whose result is added to the input: [1, C, H, W] -> [1, C, H, W]."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.branch = nn.Sequential(
            ConvBlock(channels, channels, kernel=3),
            PaddedConv(channels, channels, kernel=3),
            nn.InstanceNorm2d(channels, affine=True),
        )

    def forward(self, x: Tensor) -> Tensor:
        """Return the input plus what the two convolutions add to it."""
        return x + self.branch(x)


class StyleNetwork(nn.Sequential):
    """Repaints a picture in one style; 1.68 million weights.

    Takes [1, 3, H, W] in -1 to 1 and returns [1, 3, H, W] of about -1 to 1, not clamped; H and W are multiples of 4.
    """

    def __init__(self) -> None:
        super().__init__(
            ConvBlock(3, 32, kernel=9),
            ConvBlock(32, 64, kernel=3, stride=2),
            ConvBlock(64, WIDE, kernel=3, stride=2),
            *(ResidualBlock(WIDE) for _ in range(RESIDUAL_BLOCKS)),
            UpsampleBlock(WIDE, 64),
            UpsampleBlock(64, 32),
            PaddedConv(32, 3, kernel=9),
        )


def count_weights(network: nn.Module) -> int:
    """Return the number of trained weights."""
    return sum(weight.numel() for weight in network.parameters())
