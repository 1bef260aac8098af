"""Measure what calibration does to the output error of quantized networks: a table of ratios, below 1 where it helps.

The error is the mean squared difference of the outputs from those of the model itself, on samples that calibration has
not seen. Networks: a convolutional and a fully connected one, trained here on scikit-learn's digits; the style transfer
networks of examples/style_transfer, calibrated with crops of scikit-learn's two photos and measured on the demo's.
Needs coremltools, scikit-learn and PyTorch.

    python benchmarks/calibration.py [--networks digits-conv digits-fc city] [--bits 4 3] [--modes kmeans linear]
"""

import argparse
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

import windfall

Samples = list[dict[str, Any]]
STYLES = Path(__file__).parents[1] / "examples" / "style_transfer"
CALIBRATION, HELD_OUT = 128, 400


def digits() -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Return scikit-learn's digits, pixels [N, 1, 8, 8] in 0 to 1 in a fixed random order, and their classes."""
    from sklearn.datasets import load_digits

    data = load_digits()
    order = np.random.default_rng(0).permutation(len(data.target))
    return (data.images[order, np.newaxis] / 16).astype(np.float32), data.target[order]


def trained(layers: list[Any], flat: bool) -> tuple[Any, NDArray[np.float32]]:
    """Train a PyTorch network on the digits that are not held out; returns it, and all digits."""
    import torch

    pixels, classes = digits()
    inputs = pixels.reshape(len(pixels), -1) if flat else pixels
    torch.manual_seed(0)
    network = torch.nn.Sequential(*[make() for make in layers])
    optimizer = torch.optim.Adam(network.parameters(), 2e-3, weight_decay=1e-4)
    x, y = torch.from_numpy(inputs[:-HELD_OUT]), torch.from_numpy(classes[:-HELD_OUT])
    for _ in range(12):
        for rows in torch.randperm(len(x)).split(64):
            optimizer.zero_grad()
            torch.nn.functional.cross_entropy(network(x[rows]), y[rows]).backward()
            optimizer.step()
    right = network(torch.from_numpy(inputs[-HELD_OUT:])).argmax(1).numpy() == classes[-HELD_OUT:]
    assert right.mean() > 0.95, right.mean()
    return network, inputs


def parameters(module: Any) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return the weights and the bias of a PyTorch module."""
    return module.weight.detach().numpy(), module.bias.detach().numpy()


def converted(network: Any, shape: tuple[int, ...]) -> windfall.Model:
    """Return a PyTorch network of convolutions, products and ReLU as a Core ML neural network."""
    import torch
    from coremltools.models import datatypes
    from coremltools.models.neural_network import NeuralNetworkBuilder

    builder = NeuralNetworkBuilder([("x", datatypes.Array(*shape))], [("y", datatypes.Array(10))])
    name = "x"
    modules = list(network)
    for index, module in enumerate(modules):
        output = "y" if index == len(modules) - 1 else f"v{index}"
        if isinstance(module, torch.nn.Conv2d):
            weights, bias = parameters(module)
            builder.add_convolution(
                output, module.in_channels, module.out_channels, 3, 3, module.stride[0], module.stride[1], "same", 1,
                weights.transpose(2, 3, 1, 0), bias, True, input_name=name, output_name=output,
            )  # fmt: skip
        elif isinstance(module, torch.nn.Linear):
            weights, bias = parameters(module)
            builder.add_inner_product(output, weights, bias, *reversed(weights.shape), True, name, output)
        elif isinstance(module, torch.nn.Flatten):
            builder.add_flatten(output, 0, name, output)
        else:
            builder.add_activation(output, "RELU", name, output)
        name = output
    return windfall.load(builder.spec)


def digits_network(kind: str) -> tuple[windfall.Model, Samples, Samples]:
    """Train a network; returns it with samples to calibrate with and held-out ones."""
    from torch import nn

    layers: dict[str, list[Callable[[], Any]]] = {
        "digits-conv": [
            lambda: nn.Conv2d(1, 32, 3, padding=1), nn.ReLU, lambda: nn.Conv2d(32, 64, 3, padding=1), nn.ReLU,
            lambda: nn.Conv2d(64, 64, 3, padding=1), nn.ReLU, nn.Flatten, lambda: nn.Linear(4096, 10),
        ],
        "digits-fc": [
            lambda: nn.Linear(64, 256), nn.ReLU, lambda: nn.Linear(256, 128), nn.ReLU, lambda: nn.Linear(128, 10),
        ],
    }  # fmt: skip
    network, inputs = trained(layers[kind], flat=kind == "digits-fc")
    samples = [{"x": x} for x in inputs]
    return converted(network, inputs.shape[1:]), samples[:CALIBRATION], samples[-HELD_OUT:]


def crops(picture: Image.Image, count: int, seed: int) -> Iterator[Image.Image]:
    """Yield random squares of a picture."""
    rng = np.random.default_rng(seed)
    for _ in range(count):
        side = int(rng.integers(min(picture.size) // 2, min(picture.size) + 1))
        left, top = (int(rng.integers(size - side + 1)) for size in picture.size)
        yield picture.resize((256, 256), box=(left, top, left + side, top + side))


def style_network(name: str) -> tuple[windfall.Model, Samples, Samples]:
    """Return a style transfer network with crops of photos, as for ``digits_network``."""
    from sklearn.datasets import load_sample_images

    photos = [Image.fromarray(pixels) for pixels in load_sample_images().images]
    given = [crop for index, photo in enumerate(photos) for crop in crops(photo, 2, index)]
    held_out = crops(Image.open(STYLES / "photo.jpg").convert("RGB"), 4, 2)
    model = windfall.load(STYLES / "models" / f"{name}.mlmodel")
    return model, [{"image": x} for x in given], [{"image": x} for x in held_out]


def outputs(model: windfall.Model, samples: Samples) -> NDArray[np.float64]:
    """Return the only output for all samples."""
    return np.stack([np.asarray(next(iter(model.predict(sample).values())), np.float64) for sample in samples])


def rows(name: str, bits: list[int], modes: list[str]) -> Iterator[str]:
    """Yield the rows of a network."""
    make = digits_network if name.startswith("digits") else style_network
    model, given, held_out = make(name)
    expected = outputs(model, held_out)

    def error(small: windfall.Model) -> float:
        return float(((outputs(small, held_out) - expected) ** 2).mean())

    for mode in modes:
        for number in bits:
            plain = error(windfall.quantize_weights(model, number, mode))
            start = time.perf_counter()
            small = windfall.quantize_weights(model, number, mode, calibration=given)
            seconds = time.perf_counter() - start
            ratio = error(small) / plain
            yield f"| {name} | {mode} | {number} | {plain:.4g} | {ratio * plain:.4g} | {ratio:.2f} | {seconds:.1f} s |"


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--networks", nargs="+", default=["digits-conv", "digits-fc", "city", "glass", "oils", "waves"])
    parser.add_argument("--bits", type=int, nargs="+", default=[4, 3])
    parser.add_argument("--modes", nargs="+", default=["kmeans", "linear"])
    options = parser.parse_args()
    print("| network | mode | bits | error, plain | calibrated | ratio | time |")
    print("|---|---|---|---|---|---|---|")
    for name in options.networks:
        for row in rows(name, options.bits, options.modes):
            print(row, flush=True)


if __name__ == "__main__":
    main()
