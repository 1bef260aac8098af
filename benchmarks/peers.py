"""A contestant of ``performance.py`` in a process of its own: ``peers.py KIND NETWORK FOLDER THREADS COMMAND``.

COMMAND ``serve`` compares the results with torch's, prints ``READY difference details`` or ``FAILED reason``, and then
answers each line ``N`` with the median milliseconds of N predictions. ``once`` predicts once and leaves.
"""

import os
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from contestant import serve
from numpy.typing import NDArray

Arrays = Mapping[str, NDArray[Any]]
Results = Sequence[Any]
Predict = Callable[[], Results]
Opened = tuple[Predict, Callable[[], str]]
TOLERANCE = 1e-3
"""How far a result may be from torch's, relative to the largest number of that output."""


def _windfall(path: Path, inputs: Arrays, threads: int) -> Opened:
    import windfall

    model = windfall.load(path, threads=threads)
    names = list(model._binder.outputs)

    def predict() -> Results:
        results = model.predict(inputs)
        return [results[name] for name in names]

    return predict, lambda: str(model.compiled.program.engine)


def neuralnetwork(name: str, folder: Path, inputs: Arrays, threads: int) -> Opened:
    return _windfall(folder / f"{name}.mlmodel", inputs, threads)


def mlprogram(name: str, folder: Path, inputs: Arrays, threads: int) -> Opened:
    return _windfall(folder / f"{name}.mlpackage", inputs, threads)


def _onnxruntime(path: Path, inputs: Arrays, threads: int) -> Opened:
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    session = ort.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    feeds = dict(zip([each.name for each in session.get_inputs()], inputs.values(), strict=True))
    return lambda: session.run(None, feeds), lambda: ort.__version__


def onnxruntime(name: str, folder: Path, inputs: Arrays, threads: int) -> Opened:
    return _onnxruntime(folder / f"{name}.onnx", inputs, threads)


def exported(name: str, folder: Path, inputs: Arrays, threads: int) -> Opened:
    return _onnxruntime(folder / f"{name}.exported.onnx", inputs, threads)


def openvino(name: str, folder: Path, inputs: Arrays, threads: int) -> Opened:
    import openvino as ov

    settings = {"INFERENCE_NUM_THREADS": threads, "INFERENCE_PRECISION_HINT": "f32", "PERFORMANCE_HINT": "LATENCY"}
    compiled = ov.Core().compile_model(folder / f"{name}.xml", "CPU", settings)
    request, feeds = compiled.create_infer_request(), list(inputs.values())

    def predict() -> Results:
        results = request.infer(feeds, share_inputs=True)
        return [results[port] for port in compiled.outputs]

    return predict, lambda: ov.__version__


def torch_compile(name: str, folder: Path, inputs: Arrays, threads: int) -> Opened:  # noqa: ARG001  # it has no file
    import torch
    from cases import network

    torch.set_num_threads(threads)
    compiled = torch.compile(network(name)[0])
    tensors = [torch.from_numpy(each) for each in inputs.values()]

    def predict() -> Results:
        with torch.inference_mode():
            results = compiled(*tensors)
        return results if isinstance(results, tuple) else (results,)

    return predict, lambda: torch.__version__


def ncnn(name: str, folder: Path, inputs: Arrays, threads: int) -> Opened:
    import ncnn as library

    net = library.Net()
    net.opt.num_threads = threads
    # Half precision is what it computes with by default where it can.
    net.opt.use_fp16_packed = net.opt.use_fp16_storage = net.opt.use_fp16_arithmetic = False
    net.opt.use_bf16_storage = False
    if net.load_param(str(folder / f"{name}.ncnn.param")) or net.load_model(str(folder / f"{name}.ncnn.bin")):
        raise ValueError("it does not read what pnnx wrote")
    # A Mat of an array does not keep it alive; clone copies it.
    blobs = [library.Mat(np.ascontiguousarray(each[0])).clone() for each in inputs.values()]

    def predict() -> Results:
        extractor = net.create_extractor()
        for blob, target in zip(blobs, net.input_names(), strict=True):
            extractor.input(target, blob)
        results = [extractor.extract(source) for source in net.output_names()]
        if any(status for status, _ in results):
            raise ValueError("it cannot compute the network that pnnx wrote")
        return [np.array(blob) for _, blob in results]

    return predict, lambda: str(library.__version__)


def litert(name: str, folder: Path, inputs: Arrays, threads: int) -> Opened:
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(str(folder / f"{name}.tflite"), num_threads=threads)
    runner = interpreter.get_signature_runner()
    wanted = {key: each["dtype"] for key, each in runner.get_input_details().items()}
    feeds = {f"args_{index}": each for index, each in enumerate(inputs.values())}
    feeds = {key: feeds[key].astype(dtype) for key, dtype in wanted.items()}
    names = sorted(runner.get_output_details(), key=lambda key: int(key.rpartition("_")[2]))

    def predict() -> Results:
        results = runner(**feeds)
        return [results[key] for key in names]

    return predict, lambda: ""


CONTESTANTS: Mapping[str, Callable[[str, Path, Arrays, int], Opened]] = {
    "neuralnetwork": neuralnetwork,
    "mlprogram": mlprogram,
    "onnxruntime": onnxruntime,
    "exported": exported,
    "openvino": openvino,
    "torch_compile": torch_compile,
    "ncnn": ncnn,
    "litert": litert,
}


def sample(name: str, folder: Path, what: str) -> dict[str, NDArray[Any]]:
    """The inputs of a network, or what torch computed of them, in order."""
    with np.load(folder / f"{name}.npz") as file:
        return {key.removeprefix(what): file[key] for key in file.files if key.startswith(what)}


def difference(found: Results, expected: Results) -> float:
    """The largest difference from torch's results, relative to the largest number of that output."""
    if len(found) != len(expected):
        raise ValueError(f"{len(found)} results, torch has {len(expected)}")
    apart = 0.0
    for one, other in zip(found, expected, strict=True):
        array = np.asarray(one, np.float64).reshape(other.shape)
        apart = max(apart, float(np.max(np.abs(array - other)) / np.max(np.abs(other))))
    if not apart < TOLERANCE:
        raise ValueError(f"the results differ from torch's by {apart:.1e} of the largest")
    return apart


def main(kind: str, name: str, folder: str, threads: str, command: str) -> None:
    try:
        predict, about = CONTESTANTS[kind](name, Path(folder), sample(name, Path(folder), "in:"), int(threads))
        results = predict()
        if command == "once":
            return
        apart = difference(results, list(sample(name, Path(folder), "out:").values()))
    except Exception as error:  # noqa: BLE001  # whatever a peer raises is why it is not in the table
        print(f"FAILED {type(error).__name__}: {error}".splitlines()[0][:200], flush=True)
        os._exit(1)
    serve(predict, f"READY {apart:.0e} {about()}")


if __name__ == "__main__":
    main(*sys.argv[1:])
