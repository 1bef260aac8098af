"""A contestant of ``devices.py`` in a process of its own: ``device_contestant.py KIND FOLDER NETWORK COMMAND``.

KIND is ``windfall-DEVICE`` (auto: windfall's own choice), ``onnxruntime-cuda``, or ``torch-cuda``. COMMAND ``serve`` is
that of ``contestant.py``; ``batch`` answers each line ``N`` with the milliseconds of an image, of N images.
"""

import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from contestant import milliseconds

STACK = 32
Batch = Callable[[list[Any]], object]


def images(size: int, count: int) -> list[Any]:
    return list(np.random.default_rng(0).random((count, 1, 3, size, size), np.float32))


def by_windfall(folder: Path, network: str, device: str) -> Batch:
    import windfall

    named = {} if device == "auto" else {"device": device, "strict": True}
    model = windfall.load(folder / f"{network}.mlmodel", **named)
    ((name, _),) = model._binder.default_shapes().items()

    def run(many: list[Any]) -> object:
        if len(many) == 1:
            return next(iter(model.predict({name: many[0]}).values()))
        return [next(iter(one.values())) for one in model.predict_batch([{name: one} for one in many])]

    return run


def by_onnxruntime(folder: Path, network: str, _device: str) -> Batch:
    import onnxruntime as ort

    ort.preload_dlls()
    providers = [("CUDAExecutionProvider", {"use_tf32": "0"}), "CPUExecutionProvider"]
    session = ort.InferenceSession(folder / f"{network}.onnx", providers=providers)
    assert "CUDAExecutionProvider" in session.get_providers()
    return lambda many: [session.run(None, {"image": one})[0] for one in many]


def by_torch(_folder: Path, network: str, _device: str) -> Batch:
    import networks
    import torch

    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
    torch.manual_seed(0)
    module = networks.NETWORKS[network][0]().eval()
    networks._vary_normalization(module)
    module.cuda()

    @torch.no_grad()
    def run(many: list[Any]) -> object:
        parts = [many[start : start + STACK] for start in range(0, len(many), STACK)]
        return [one for part in parts for one in module(torch.from_numpy(np.concatenate(part)).cuda()).cpu().numpy()]

    return run


CONTESTANTS = {"windfall": by_windfall, "onnxruntime": by_onnxruntime, "torch": by_torch}


def main(kind: str, folder: str, network: str, size: str, command: str) -> None:
    library, device = kind.split("-")
    run, many = CONTESTANTS[library](Path(folder), network, device), images(int(size), 64)
    for _ in range(5):
        first: Any = run(many[:1])
    np.save(Path(folder) / f"{network}-{kind}.npy", np.asarray(first).ravel())
    if command == "batch":
        run(many * 16)
    print("ready", flush=True)
    for line in sys.stdin:
        if command == "serve":
            print(statistics.median(milliseconds(lambda: run(many[:1])) for _ in range(int(line))), flush=True)
        else:
            start = time.perf_counter()
            run((many * (int(line) // 64 + 1))[: int(line)])
            print((time.perf_counter() - start) * 1000 / int(line), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
