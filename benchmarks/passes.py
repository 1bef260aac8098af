"""Time what each pass gains: networks that it fires on, with it and without.

Both graphs are in one process and take turns. What counts is the processor time of one thread, so that a machine that
does something else too gives much the same figures. A ratio is the median of those of neighbouring rounds, above 1
where the pass makes the network faster; the last column is the largest difference of the results, relative to the
largest result.

    python benchmarks/passes.py [--rounds 7] [--engines onnxruntime openvino] [--networks style resnet50] [--models F]
"""

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

os.environ["WINDFALL_CACHE"] = "off"

import numpy as np
from latency import HERE
from numpy.typing import NDArray

import windfall
from windfall.passes import order

ALWAYS = {"RemoveUnusedNodes", "RemoveIdentities"}
"""The passes that clean up behind others, and are not timed."""
LEAST = 0.03
"""Seconds of processor time that one round of one graph takes at least."""
Results = dict[str, NDArray[Any]]
Predict = Callable[[], Results]


def keras_resnet() -> Any:
    """Return the first layers of ResNet-50 as Keras has them: padding is a layer."""
    from coremltools.models import datatypes
    from coremltools.models.neural_network import NeuralNetworkBuilder

    build = NeuralNetworkBuilder([("image", datatypes.Array(3, 224, 224))], [("y", datatypes.Array(64, 56, 56))])
    random = np.random.default_rng(0)

    def convolve(name: str, size: int, inputs: int, stride: int, before: str, after: str) -> None:
        weights = random.normal(size=(size, size, inputs, 64)).astype(np.float32) / size
        build.add_convolution(name, inputs, 64, size, size, stride, stride, "valid", 1, weights, None, False,
                              input_name=before, output_name=after)  # fmt: skip

    build.add_padding("pad1", 3, 3, 3, 3, 0, "image", "padded1")
    convolve("conv1", 7, 3, 2, "padded1", "conv1")
    build.add_activation("relu", "RELU", "conv1", "relu")
    build.add_padding("pad2", 1, 1, 1, 1, 0, "relu", "padded2")
    build.add_pooling("pool", 3, 3, 2, 2, "MAX", "VALID", "padded2", "pool")
    convolve("conv2", 1, 64, 1, "pool", "y")
    return build.spec


def transformer() -> Any:
    """Return two blocks of a transformer, 128 steps of 256 numbers, as coremltools converts them to a network."""
    return converted(blocks(), (1, 128, 256))


def hard_swish() -> Any:
    """Return the layers of MobileNetV3 that have most channels."""
    from torch import nn

    layers: list[nn.Module] = []
    for inputs, outputs in ((40, 240), (240, 80), (80, 200), (200, 80), (80, 480)):
        layers += [nn.Conv2d(inputs, outputs, 1), nn.Hardswish()]
    return converted(nn.Sequential(*layers), (1, 40, 28, 28))


def gru() -> Any:
    """Return two GRU layers, 256 wide, over 100 steps of 128 numbers."""
    from torch import Tensor, nn

    class States(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.gru = nn.GRU(128, 256, num_layers=2, batch_first=True)

        def forward(self, x: Tensor) -> Tensor:
            y: Tensor = self.gru(x)[0]
            return y

    return converted(States(), (1, 100, 128))


def converted(network: Any, shape: tuple[int, ...]) -> Any:
    """Convert a torch module to a neural network."""
    import coremltools as ct
    import torch

    torch.manual_seed(0)
    traced = torch.jit.trace(network.eval(), torch.rand(shape))
    inputs = [ct.TensorType(name="x", shape=shape, dtype=np.float32)]
    return ct.convert(traced, convert_to="neuralnetwork", inputs=inputs).get_spec()


def blocks() -> Any:
    """Return a module of two transformer blocks."""
    from torch import Tensor, nn

    steps, width, heads = 128, 256, 4

    class Block(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.norms = nn.ModuleList(nn.LayerNorm(width) for _ in range(2))
            self.projections = nn.ModuleList(nn.Linear(width, width) for _ in range(4))
            self.mlp = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width))

        def forward(self, x: Tensor) -> Tensor:
            y = self.norms[0](x)
            split = [layer(y).reshape(1, steps, heads, -1).transpose(1, 2) for layer in self.projections[:3]]
            scores = (split[0] @ split[1].transpose(2, 3) * (width // heads) ** -0.5).softmax(-1)
            x = x + self.projections[3]((scores @ split[2]).transpose(1, 2).reshape(1, steps, width))
            added: Tensor = x + self.mlp(self.norms[1](x))
            return added

    return nn.Sequential(Block(), Block())


def quantized() -> Any:
    """Return six residual blocks of ResNet-50, quantized as coremltools does it: activations and weights of int8."""
    import coremltools as ct
    from coremltools.converters.mil import Builder as mb  # noqa: N813  # as its documentation calls it

    random = np.random.default_rng(0)

    def rounded(x: Any) -> Any:
        steps = {"scale": np.float32(0.03), "zero_point": np.int8(0)}
        return mb.dequantize(input=mb.quantize(input=x, output_dtype="int8", **steps), **steps)

    def convolve(x: Any, inputs: int, outputs: int, size: int) -> Any:
        codes = np.clip(random.normal(size=(outputs, inputs, size, size)) * 30, -127, 127).astype(np.int8)
        scale = np.full(outputs, 1 / 30 / np.sqrt(inputs * size * size), np.float32)
        weight = mb.constexpr_affine_dequantize(quantized_data=codes, zero_point=np.int8(0), scale=scale, axis=0)
        bias = random.normal(size=outputs).astype(np.float32)
        return mb.conv(x=x, weight=weight, bias=bias, pad_type="same")

    @mb.program(input_specs=[mb.TensorSpec(shape=(1, 256, 28, 28))], opset_version=ct.target.iOS17)
    def program(x: Any) -> Any:
        x = rounded(x)
        for _ in range(6):
            y = rounded(mb.relu(x=convolve(x, 256, 64, 1)))
            y = rounded(mb.relu(x=convolve(y, 64, 64, 3)))
            x = rounded(mb.relu(x=mb.add(x=rounded(convolve(y, 64, 256, 1)), y=x)))
        return x

    precision = {"compute_precision": ct.precision.FLOAT32, "pass_pipeline": ct.PassPipeline.EMPTY}
    return ct.convert(program, minimum_deployment_target=ct.target.iOS17, skip_model_load=True, **precision)


MADE: Mapping[str, Callable[[], Any]] = {
    "keras resnet": keras_resnet,
    "transformer": transformer,
    "hard swish": hard_swish,
    "gru": gru,
}
"""Networks that are made here; the others are those of ``networks.py``."""
NETWORKS = ("style", "resnet50", "mobilenet", "quantized", *MADE)


def model_file(name: str, folder: Path) -> Path:
    """Return the file of a network, made if it is not there."""
    if name == "quantized":
        package = folder / "quantized.mlpackage"
        if not package.exists():
            quantized().save(str(package))
        return package
    path = folder / f"{name.replace(' ', '_')}.mlmodel"
    if not path.exists() and name in MADE:
        windfall.load(MADE[name]()).save(path)
    elif not path.exists():
        subprocess.run([sys.executable, str(HERE / "networks.py"), name, str(folder)], check=True,
                       stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)  # fmt: skip
    return path


def predictor(path: Path, engine: str, without: Sequence[str]) -> tuple[Predict, set[str]]:
    """Return what predicts with a model compiled without some passes, and the passes that have fired."""
    order._left_out.update(without)
    try:
        model = windfall.load(path, threads=1, engine=engine)
        ((name, shape),) = model._binder.default_shapes().items()
        x = np.random.default_rng(0).random(shape, np.float32)
        model.predict({name: x})
        return lambda: model.predict({name: x}), set(model.compiled.graph.meta[order.FIRED])
    finally:
        order._left_out.clear()


def milliseconds(predict: Predict) -> float:
    """Return the processor time of one prediction."""
    start, runs = time.process_time(), 0
    while runs < 2 or time.process_time() - start < LEAST:
        predict()
        runs += 1
    return (time.process_time() - start) / runs * 1000


def row(path: Path, engine: str, passes: Sequence[str], rounds: int) -> str:
    """Time a network with all passes and without some."""
    contestants = (predictor(path, engine, passes)[0], predictor(path, engine, ())[0])
    results = [contestant() for contestant in contestants]
    difference = max(
        float(np.max(np.abs(old - results[1][name])) / np.max(np.abs(old))) for name, old in results[0].items()
    )
    times: list[list[float]] = [[], []]
    for turn in range(rounds + 1):
        for index in (0, 1) if turn % 2 else (1, 0):
            spent = milliseconds(contestants[index])
            if turn:
                times[index].append(spent)
    ratio = statistics.median(without / with_ for without, with_ in zip(*times, strict=True))
    cells = (f"{statistics.median(found):.2f} ms" for found in times)
    return f"| {', '.join(passes)} | {path.stem} | {engine} | {' | '.join(cells)} | {ratio:.2f} | {difference:.0e} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--engines", nargs="+", default=["onnxruntime", "openvino"])
    parser.add_argument("--networks", nargs="+", default=NETWORKS, choices=NETWORKS)
    parser.add_argument("--models", type=Path, help="a folder that keeps the models for the next time")
    options = parser.parse_args()
    print("| pass | network | engine | without | with | ratio | difference |\n|---|---|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as temporary:
        for network in options.networks:
            path = model_file(network, options.models or Path(temporary))
            fired = sorted(predictor(path, "onnxruntime", ())[1] - ALWAYS)
            for engine in options.engines:
                for passes in [*([name] for name in fired), *([fired] if len(fired) > 1 else [])]:
                    print(row(path, engine, passes, options.rounds), flush=True)


if __name__ == "__main__":
    main()
