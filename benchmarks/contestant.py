"""One contestant in a process of its own: ``contestant.py KIND MODEL THREADS COMMAND``.

COMMAND ``once`` predicts once and leaves. COMMAND ``serve`` warms up, then answers each line ``N`` on its input with
the median milliseconds of N predictions.
"""

import statistics
import sys
import time
from collections.abc import Callable

Predict = Callable[[], object]


def windfall(path: str, threads: int) -> Predict:
    import numpy as np

    import windfall

    model = windfall.load(path, threads=threads)
    ((name, shape),) = model._binder.default_shapes().items()
    image = np.random.default_rng(0).random(shape, np.float32)
    return lambda: model.predict({name: image})


def onnxruntime(path: str, threads: int) -> Predict:
    import numpy as np
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    session = ort.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    (tensor,) = session.get_inputs()
    image = np.random.default_rng(0).random(tensor.shape, np.float32)
    return lambda: session.run(None, {tensor.name: image})


CONTESTANTS = {"windfall": windfall, "onnxruntime": onnxruntime}


def milliseconds(predict: Predict) -> float:
    start = time.perf_counter()
    predict()
    return (time.perf_counter() - start) * 1000


def serve(predict: Predict, about: str = "ready") -> None:
    """Warm up, say something about the contestant, then answer lines with times."""
    for _ in range(3):
        predict()
    print(about, flush=True)
    for line in sys.stdin:
        print(statistics.median(milliseconds(predict) for _ in range(int(line))), flush=True)


def main(kind: str, path: str, threads: str, command: str) -> None:
    predict = CONTESTANTS[kind](path, int(threads))
    if command == "once":
        predict()
        return
    serve(predict)


if __name__ == "__main__":
    main(*sys.argv[1:])
