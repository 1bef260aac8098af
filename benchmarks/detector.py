"""A detector of the YOLO kind with random weights: a backbone of CSP blocks, a pyramid, three heads."""

import torch
from torch import Tensor, nn

CLASSES = 80
WIDTHS = (32, 64, 128, 256, 512)
DEPTHS = (1, 2, 2, 1)


class Conv(nn.Sequential):
    """A convolution, batch normalization and SiLU."""

    def __init__(self, inputs: int, outputs: int, size: int = 1, stride: int = 1) -> None:
        convolution = nn.Conv2d(inputs, outputs, size, stride, size // 2, bias=False)
        super().__init__(convolution, nn.BatchNorm2d(outputs), nn.SiLU())


class Residual(nn.Module):
    """Two 3x3 convolutions around a shortcut."""

    def __init__(self, width: int, shortcut: bool) -> None:
        super().__init__()
        self.shortcut = shortcut
        self.convolutions = nn.Sequential(Conv(width, width, 3), Conv(width, width, 3))

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.convolutions(x)
        return x + y if self.shortcut else y


class CrossStage(nn.Module):
    """Half the channels go through residual blocks, and every step of them is kept (CSP, Wang et al., 2019)."""

    def __init__(self, inputs: int, outputs: int, depth: int, shortcut: bool = True) -> None:
        super().__init__()
        half = outputs // 2
        self.enter = Conv(inputs, outputs)
        self.blocks = nn.ModuleList(Residual(half, shortcut) for _ in range(depth))
        self.leave = Conv(half * (2 + depth), outputs)

    def forward(self, x: Tensor) -> Tensor:
        parts = list(self.enter(x).chunk(2, 1))
        for block in self.blocks:
            parts.append(block(parts[-1]))
        kept: Tensor = self.leave(torch.cat(parts, 1))
        return kept


class PyramidPool(nn.Module):
    """The largest values of windows of 5, 9 and 13, beside the values themselves."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.enter = Conv(width, width // 2)
        self.pool = nn.MaxPool2d(5, 1, 2)
        self.leave = Conv(width * 2, width)

    def forward(self, x: Tensor) -> Tensor:
        parts = [self.enter(x)]
        for _ in range(3):
            parts.append(self.pool(parts[-1]))
        pooled: Tensor = self.leave(torch.cat(parts, 1))
        return pooled


class Head(nn.Module):
    """The boxes and the classes of each cell of one grid: [1, C, H, W] -> [1, 4 + classes, H * W]."""

    def __init__(self, inputs: int, size: int, stride: int) -> None:
        super().__init__()
        self.boxes = nn.Sequential(Conv(inputs, 64, 3), Conv(64, 64, 3), nn.Conv2d(64, 4, 1))
        self.classes = nn.Sequential(Conv(inputs, 128, 3), Conv(128, 128, 3), nn.Conv2d(128, CLASSES, 1))
        self.stride = stride
        cells = torch.arange(size // stride) + 0.5
        grid = torch.stack(torch.meshgrid(cells, cells, indexing="xy")).reshape(1, 2, -1)
        self.register_buffer("grid", grid)

    def forward(self, x: Tensor) -> Tensor:
        """Boxes are given as centre, width and height in pixels, classes as probabilities."""
        sides = nn.functional.softplus(self.boxes(x).flatten(2))
        before, behind = self.grid - sides[:, :2], self.grid + sides[:, 2:]
        boxes = torch.cat([(before + behind) * 0.5, behind - before], 1) * self.stride
        return torch.cat([boxes, self.classes(x).flatten(2).sigmoid()], 1)


class Detector(nn.Module):
    """[1, 3, S, S] -> [1, 4 + classes, cells of all three grids]; S is a multiple of 32."""

    def __init__(self, size: int) -> None:
        super().__init__()
        stages: list[nn.Module] = [Conv(3, WIDTHS[0], 3, 2)]
        for before, width, depth in zip(WIDTHS, WIDTHS[1:], DEPTHS, strict=False):
            stages.append(nn.Sequential(Conv(before, width, 3, 2), CrossStage(width, width, depth)))
        stages.append(PyramidPool(WIDTHS[-1]))
        self.stages = nn.ModuleList(stages)
        fine, middle, coarse = WIDTHS[2:]
        self.up = nn.Upsample(scale_factor=2, mode="nearest")
        self.down_middle = CrossStage(coarse + middle, middle, 1, shortcut=False)
        self.down_fine = CrossStage(middle + fine, fine, 1, shortcut=False)
        self.shrink_fine, self.shrink_middle = Conv(fine, fine, 3, 2), Conv(middle, middle, 3, 2)
        self.up_middle = CrossStage(fine + middle, middle, 1, shortcut=False)
        self.up_coarse = CrossStage(middle + coarse, coarse, 1, shortcut=False)
        self.heads = nn.ModuleList(Head(*each) for each in ((fine, size, 8), (middle, size, 16), (coarse, size, 32)))

    def forward(self, x: Tensor) -> Tensor:
        levels = []
        for stage in self.stages:
            x = stage(x)
            levels.append(x)
        fine, middle, coarse = levels[2], levels[3], levels[5]
        middle = self.down_middle(torch.cat([self.up(coarse), middle], 1))
        fine = self.down_fine(torch.cat([self.up(middle), fine], 1))
        middle = self.up_middle(torch.cat([self.shrink_fine(fine), middle], 1))
        coarse = self.up_coarse(torch.cat([self.shrink_middle(middle), coarse], 1))
        return torch.cat([head(x) for head, x in zip(self.heads, (fine, middle, coarse), strict=True)], 2)
