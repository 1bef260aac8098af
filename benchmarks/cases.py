"""The networks of ``performance.py`` and their files: ``cases.py KIND NETWORK FOLDER`` writes one.

KIND is ``sample`` (inputs, and what torch makes of them), ``neuralnetwork`` or ``mlprogram`` (coremltools' conversion),
or a peer: ``onnxruntime`` and ``exported`` (torch's own export to ONNX by tracing, and the one by torch.export),
``openvino`` (its own conversion), ``ncnn`` (by pnnx), ``litert`` (by litert-torch). All have the same weights.
"""

import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from detector import Detector
from networks import _vary_normalization, mobilenet_v2, resnet50, style_network
from sequences import Bert, Gpt2, Recurrent
from torch import Tensor, nn

Tensors = dict[str, Tensor]


@dataclass(frozen=True)
class Case:
    """A network, and how inputs for it are made."""

    make: Callable[[], nn.Module]
    inputs: Callable[[], Tensors]


def picture(size: int) -> Callable[[], Tensors]:
    return lambda: {"image": torch.rand(1, 3, size, size)}


def sentence() -> Tensors:
    mask = torch.ones(1, 128, dtype=torch.int32)
    mask[:, 100:] = 0
    return {"tokens": torch.randint(0, 30_522, (1, 128), dtype=torch.int32), "mask": mask}


def token() -> Tensors:
    past = [f"{what}{layer}" for layer in range(12) for what in ("keys", "values")]
    caches = {name: torch.randn(1, 12, Gpt2.PAST, 64) for name in past}
    return {"token": torch.randint(0, 50_257, (1, 1), dtype=torch.int32), **caches}


CASES: Mapping[str, Case] = {
    "resnet50": Case(resnet50, picture(224)),
    "mobilenet": Case(mobilenet_v2, picture(224)),
    "style256": Case(style_network, picture(256)),
    "style512": Case(style_network, picture(512)),
    "detector": Case(lambda: Detector(416), picture(416)),
    "bert": Case(Bert, sentence),
    "gpt2": Case(Gpt2, token),
    "lstm": Case(Recurrent, lambda: {"x": torch.randn(1, 100, 128)}),
}


def network(name: str) -> tuple[nn.Module, Tensors]:
    """The network of a case and inputs for it, the same ones in every process."""
    torch.manual_seed(0)
    case = CASES[name]
    made = case.make().eval().requires_grad_(False)
    _vary_normalization(made)
    return made, case.inputs()


def results(name: str) -> list[np.ndarray[Any, Any]]:
    """What torch computes."""
    made, inputs = network(name)
    with torch.inference_mode():
        found = made(*inputs.values())
    return [each.numpy() for each in (found if isinstance(found, tuple) else (found,))]


def sample(name: str, path: Path) -> None:
    _, inputs = network(name)
    named = {f"in:{key}": value.numpy() for key, value in inputs.items()}
    np.savez(path, **named, **{f"out:{index}": value for index, value in enumerate(results(name))})


def neuralnetwork(name: str, path: Path) -> None:
    convert(name, path, convert_to="neuralnetwork")


def mlprogram(name: str, path: Path) -> None:
    import coremltools as ct

    convert(name, path, convert_to="mlprogram", compute_precision=ct.precision.FLOAT32)


def convert(name: str, path: Path, **options: Any) -> None:
    import coremltools as ct

    made, inputs = network(name)
    traced = torch.jit.trace(made, tuple(inputs.values()))
    described = [
        ct.TensorType(name=key, shape=value.shape, dtype=value.numpy().dtype.type) for key, value in inputs.items()
    ]
    outputs = [ct.TensorType(name=f"result{index}") for index in range(len(results(name)))]
    ct.convert(traced, inputs=described, outputs=outputs, **options).save(str(path))


def onnxruntime(name: str, path: Path) -> None:
    made, inputs = network(name)
    torch.onnx.export(made, tuple(inputs.values()), path, input_names=list(inputs), dynamo=False)


def exported(name: str, path: Path) -> None:
    made, inputs = network(name)
    torch.onnx.export(made, tuple(inputs.values()), path, input_names=list(inputs), dynamo=True, verbose=False)


def openvino(name: str, path: Path) -> None:
    import openvino as ov

    made, inputs = network(name)
    shapes = [tuple(value.shape) for value in inputs.values()]
    converted = ov.convert_model(made, example_input=tuple(inputs.values()), input=shapes)
    ov.save_model(converted, path, compress_to_fp16=False)


class Named(nn.Module):
    """A network as a member with a name: pnnx writes Python code, in which members of a Sequential would be numbers."""

    def __init__(self, made: nn.Module) -> None:
        super().__init__()
        self.network = made

    def forward(self, *inputs: Tensor) -> Any:
        return self.network(*inputs)


def ncnn(name: str, path: Path) -> None:
    import pnnx

    made, inputs = network(name)
    stem = path.with_name(name)
    files = {
        f"{kind}{part}": str(stem.with_suffix(f".{kind}.{suffix}"))
        for kind in ("pnnx", "ncnn")
        for part, suffix in (("param", "param"), ("bin", "bin"), ("py", "py"))
    }
    files["ncnnpy"] = str(stem.with_name(f"{name}_ncnn.py"))
    files["pnnxonnx"] = str(stem.with_suffix(".pnnx.onnx"))
    pnnx.export(Named(made).eval(), str(stem.with_suffix(".pt")), tuple(inputs.values()), fp16=False, **files)
    if not path.exists():
        raise SystemExit("pnnx wrote nothing")


def litert(name: str, path: Path) -> None:
    import litert_torch

    made, inputs = network(name)
    litert_torch.convert(made, tuple(inputs.values())).export(str(path))


WRITERS: Mapping[str, tuple[str, Callable[[str, Path], None]]] = {
    "sample": (".npz", sample),
    "neuralnetwork": (".mlmodel", neuralnetwork),
    "mlprogram": (".mlpackage", mlprogram),
    "onnxruntime": (".onnx", onnxruntime),
    "exported": (".exported.onnx", exported),
    "openvino": (".xml", openvino),
    "ncnn": (".ncnn.param", ncnn),
    "litert": (".tflite", litert),
}

if __name__ == "__main__":
    kind, name, folder = sys.argv[1:]
    suffix, write = WRITERS[kind]
    write(name, Path(folder) / (name + suffix))
