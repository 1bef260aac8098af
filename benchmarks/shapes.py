"""Time models of several input sizes against models of one size, and print what was wanted beside what was measured.

Every model has a process of its own; they take turns, and a ratio is the median of the ratios of neighbouring turns.
With one thread the processor's own clock counts too: other programs disturb it less.

    python benchmarks/shapes.py [--rounds 15] [--threads 1] [--engines onnxruntime] [--networks resnet style]
"""

import argparse
import statistics
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Self

import numpy as np
from turns import Server

import windfall
from windfall.spec.proto import FeatureTypes_pb2, Model_pb2

HERE = Path(__file__).parent
EXAMPLE = HERE.parent / "examples" / "style_transfer"
SIZES = {
    "resnet": [(224, 224), (192, 256), (256, 192), (320, 240)],
    "style": [(256, 256), (320, 192), (192, 320), (192, 192)],
}
LEAST, MOST = 64, 2048
SMALL = "64x64", "96x64"
"""Sizes at which a prediction is so short that what changing between them costs would show."""
WARM = 10
"""Predictions before any counts: after eight at a size of a range it may get a program of its own."""


class Trunk:
    """The spec of ResNet-50 without its head, with random weights: 23.5 M of them (He et al., 2015)."""

    def __init__(self) -> None:
        self.spec = Model_pb2.Model(specificationVersion=1)
        self._random = np.random.default_rng(0)
        width, height = SIZES["resnet"][0]
        image = self.spec.description.input.add(name="image").type.imageType
        image.width, image.height, image.colorSpace = width, height, FeatureTypes_pb2.ImageFeatureType.RGB
        output = self.spec.description.output.add(name="features").type.multiArrayType
        output.dataType = FeatureTypes_pb2.ArrayFeatureType.FLOAT32
        blob = self._pool(self._relu(self._conv("image", 3, 64, 7, 2)))
        given = 64
        for wide, blocks, stride in ((64, 3, 1), (128, 4, 2), (256, 6, 2), (512, 3, 2)):
            for block in range(blocks):
                blob = self._bottleneck(blob, given, wide, 1 if block else stride)
                given = wide * 4
        self.spec.neuralNetwork.layers[-1].output[:] = ["features"]

    def _bottleneck(self, blob: str, given: int, wide: int, stride: int) -> str:
        inner = self._relu(self._conv(blob, given, wide, 1))
        inner = self._relu(self._conv(inner, wide, wide, 3, stride))
        inner = self._conv(inner, wide, wide * 4, 1)
        same = given == wide * 4 and stride == 1
        shortcut = blob if same else self._conv(blob, given, wide * 4, 1, stride)
        layer = self._layer(inner, shortcut)
        layer.add.SetInParent()
        return self._relu(str(layer.name))

    def _layer(self, *blobs: str) -> "Model_pb2.NeuralNetworkLayer":
        layers = self.spec.neuralNetwork.layers
        return layers.add(name=f"layer{len(layers)}", input=blobs, output=[f"layer{len(layers)}"])

    def _conv(self, blob: str, given: int, made: int, kernel: int, stride: int = 1) -> str:
        layer = self._layer(blob)
        layer.convolution.outputChannels, layer.convolution.kernelChannels = made, given
        layer.convolution.kernelSize[:], layer.convolution.stride[:] = (kernel, kernel), (stride, stride)
        layer.convolution.same.SetInParent()
        scale = (2 / (given * kernel * kernel)) ** 0.5
        weights = self._random.normal(0, scale, (made, given, kernel, kernel)).astype(np.float32)
        layer.convolution.weights.floatValue.extend(weights.ravel().tolist())
        return str(layer.name)

    def _relu(self, blob: str) -> str:
        layer = self._layer(blob)
        layer.activation.ReLU.SetInParent()
        return str(layer.name)

    def _pool(self, blob: str) -> str:
        layer = self._layer(blob)
        layer.pooling.kernelSize[:], layer.pooling.stride[:] = (3, 3), (2, 2)
        layer.pooling.same.SetInParent()
        return str(layer.name)


def flexible_model(network: str) -> windfall.Model:
    """Return the model with a range."""
    if network == "resnet":
        return windfall.shapes.set_range(
            windfall.load(Trunk().spec), "image", width=(LEAST, MOST), height=(LEAST, MOST)
        )
    sys.path.insert(0, str(EXAMPLE))
    from flexible import flexible

    return flexible(windfall.load(EXAMPLE / "models" / "city.mlmodel"))


def text(size: tuple[int, int]) -> str:
    return f"{size[0]}x{size[1]}"


def write_models(network: str, folder: Path) -> dict[str, Path]:
    """Write the model with a range, with a list, and for each size alone."""
    ranged, sizes = flexible_model(network), SIZES[network]
    models = {"range": ranged, "list": windfall.shapes.enumerate(ranged, "image", sizes)}
    for size in sizes:
        models[text(size)] = windfall.shapes.clear(
            windfall.shapes.enumerate(ranged, "image", [size], default=size), "image"
        )
    return {name: model.save(folder / f"{network}-{name}.mlmodel") for name, model in models.items()}


class Contestant(Server):
    """A model in a process of its own."""

    def __init__(self, path: Path, engine: str, threads: int) -> None:
        super().__init__([sys.executable, str(HERE / "shape_contestant.py"), str(path), engine, str(threads)])

    def numbers(self, command: str) -> list[float]:
        return [float(number) for number in self.ask(command).split()]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def ratios(one: Contestant, other: Contestant, size: str, rounds: int) -> list[float]:
    """Return how many times as fast the second is, by both clocks."""
    for contestant in (one, other):
        contestant.ask(f"time {size} {WARM}")
    found = []
    for turn in range(rounds):
        pair = {id(each): each.numbers(f"time {size} 1") for each in ((one, other) if turn % 2 else (other, one))}
        found.append([a / b for a, b in zip(pair[id(one)], pair[id(other)], strict=True)])
    return [statistics.median(column) for column in zip(*found, strict=True)]


def rows(network: str, models: dict[str, Path], engine: str, options: argparse.Namespace) -> Iterator[Sequence[str]]:
    """Yield what was measured, the target, and the figures."""
    sizes = list(map(text, SIZES[network]))

    def contestant(name: str) -> Contestant:
        return Contestant(models[name], engine, options.threads)

    with contestant("list") as listed, contestant("range") as ranged:
        for size in sizes[: options.sizes]:
            with contestant(size) as fixed:
                for what, flexible, target in (("list", listed, "0.97 to 1.03"), ("range", ranged, "at least 0.9")):
                    wall, cpu = ratios(fixed, flexible, size, options.rounds)
                    yield (
                        f"{what} at {size}, times as fast as a model of that size",
                        target,
                        f"{wall:.2f}",
                        f"{cpu:.2f}",
                    )
        for size in SMALL:
            ranged.ask(f"time {size} {WARM}")
        extra = ranged.numbers(f"switch {' '.join(SMALL)} {10 * options.rounds}")
        yield f"range at {SMALL[0]}: more ms after {SMALL[1]}", "below 0.2", *(f"{ms:.2f}" for ms in extra)
    largest = max(sizes, key=lambda size: int(np.prod([int(side) for side in size.split("x")])))
    with contestant("list") as one, contestant("list") as four:
        for size in (largest, *sizes, largest):
            four.ask(f"time {size} 2")
            one.ask(f"time {largest} 2")
        used = one.numbers("memory")[0], four.numbers("memory")[0]
        figures = f"{used[1] / used[0]:.2f}", f"{used[0]:.0f} and {used[1]:.0f} MB"
        yield f"memory after four sizes, times that after {largest} alone", "at most 1.3", *figures


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--sizes", type=int, default=4, help="how many of the sizes are timed")
    parser.add_argument("--engines", nargs="+", default=["onnxruntime"])
    parser.add_argument("--networks", nargs="+", default=list(SIZES), choices=list(SIZES))
    options = parser.parse_args()
    print("| | target | by the clock | by the processor's |\n|---|---|---|---|")
    with tempfile.TemporaryDirectory() as folder:
        for network in options.networks:
            models = write_models(network, Path(folder))
            for engine in options.engines:
                for what, *cells in rows(network, models, engine, options):
                    print(f"| {network}, {engine}: {what} | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
