"""The networks that are timed, with random weights, as Core ML and as ONNX files. Needs torch and coremltools."""

import importlib.util
import sys
from pathlib import Path

import numpy as np
import torch
from torch import nn

STYLE = Path(__file__).parent.parent / "examples" / "style_transfer" / "network.py"


class Bottleneck(nn.Module):
    """1x1, 3x3, 1x1 convolutions around a shortcut (He et al., 2015)."""

    def __init__(self, inputs: int, width: int, stride: int) -> None:
        super().__init__()
        self.convolutions = nn.Sequential(
            nn.Conv2d(inputs, width, 1, bias=False),
            nn.BatchNorm2d(width),
            nn.ReLU(),
            nn.Conv2d(width, width, 3, stride, 1, bias=False),
            nn.BatchNorm2d(width),
            nn.ReLU(),
            nn.Conv2d(width, width * 4, 1, bias=False),
            nn.BatchNorm2d(width * 4),
        )
        same = stride == 1 and inputs == width * 4
        self.shortcut = (
            nn.Identity()
            if same
            else nn.Sequential(nn.Conv2d(inputs, width * 4, 1, stride, bias=False), nn.BatchNorm2d(width * 4))
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.relu(self.convolutions(x) + self.shortcut(x))


def resnet50() -> nn.Module:
    """ResNet-50 with a softmax over 1,000 classes: 25.6 M weights."""
    layers: list[nn.Module] = [nn.Conv2d(3, 64, 7, 2, 3, bias=False), nn.BatchNorm2d(64), nn.ReLU()]
    layers.append(nn.MaxPool2d(3, 2, 1))
    inputs = 64
    for width, blocks, stride in ((64, 3, 1), (128, 4, 2), (256, 6, 2), (512, 3, 2)):
        for block in range(blocks):
            layers.append(Bottleneck(inputs, width, stride if block == 0 else 1))
            inputs = width * 4
    head = [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(inputs, 1000), nn.Softmax(1)]
    return nn.Sequential(*layers, *head)


class InvertedResidual(nn.Module):
    """A 1x1 convolution to more channels, a 3x3 one of each channel, a 1x1 one back (Sandler et al., 2018)."""

    def __init__(self, inputs: int, outputs: int, stride: int, expand: int) -> None:
        super().__init__()
        inner = inputs * expand
        self.same = stride == 1 and inputs == outputs
        self.convolutions = nn.Sequential(
            *(_conv(inputs, inner, 1) if expand > 1 else []),
            *_conv(inner, inner, 3, stride, groups=inner),
            nn.Conv2d(inner, outputs, 1, bias=False),
            nn.BatchNorm2d(outputs),
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y: torch.Tensor = self.convolutions(x)
        return x + y if self.same else y


def _conv(inputs: int, outputs: int, size: int, stride: int = 1, groups: int = 1) -> list[nn.Module]:
    convolution = nn.Conv2d(inputs, outputs, size, stride, size // 2, groups=groups, bias=False)
    return [convolution, nn.BatchNorm2d(outputs), nn.ReLU6()]


def mobilenet_v2() -> nn.Module:
    """MobileNetV2 with a softmax over 1,000 classes: 3.5 M weights."""
    layers, inputs = _conv(3, 32, 3, 2), 32
    for expand, outputs, blocks, stride in (
        (1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1),
    ):  # fmt: skip
        for block in range(blocks):
            layers.append(InvertedResidual(inputs, outputs, stride if block == 0 else 1, expand))
            inputs = outputs
    layers += _conv(inputs, 1280, 1)
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(1280, 1000), nn.Softmax(1))


def style_network() -> nn.Module:
    """The network of the style transfer example: 1.68 M weights."""
    spec = importlib.util.spec_from_file_location("style_network", STYLE)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["style_network"] = module
    spec.loader.exec_module(module)
    return module.StyleNetwork()  # type: ignore[no-any-return]  # loaded by path


NETWORKS = {"resnet50": (resnet50, 224), "mobilenet": (mobilenet_v2, 224), "style": (style_network, 256)}


def _vary_normalization(network: nn.Module) -> None:
    """Give batch normalization statistics of its own, as if it had been trained."""
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.normal_(0, 0.1)
            module.running_var.uniform_(0.5, 1.5)


def build(name: str, folder: Path) -> None:
    """Write NAME.onnx, torch's own export, and NAME.mlmodel, coremltools' conversion."""
    import coremltools as ct

    torch.manual_seed(0)
    make, size = NETWORKS[name]
    network = make().eval()
    _vary_normalization(network)
    example = torch.rand(1, 3, size, size)
    torch.onnx.export(network, (example,), folder / f"{name}.onnx", input_names=["image"], dynamo=False)
    traced = torch.jit.trace(network, example)
    inputs = [ct.TensorType(name="image", shape=example.shape, dtype=np.float32)]
    ct.convert(traced, convert_to="neuralnetwork", inputs=inputs).save(str(folder / f"{name}.mlmodel"))


if __name__ == "__main__":
    build(sys.argv[1], Path(sys.argv[2]))
