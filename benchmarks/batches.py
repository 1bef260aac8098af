"""Time 200 photos: read, brought to the model's size, computed, written; side by side with plain loops.

Photos of 640x480 are repainted by the networks of the style transfer example, and classified by MobileNetV2 or
ResNet-50. The contestants, each in a process of its own, take turns: ``predict_batch``, a loop over ``predict``, and
loops over what ONNX Runtime and OpenVINO make of the same network. For the repainting that is the graph that windfall
makes, without its passes; for the classification torch's own export. All bring photos to size with the same function.
Loading is not counted, finding the fastest way is. Needs torch and coremltools; scikit-learn for its sample photos.

    python benchmarks/batches.py [--rounds 3] [--photos 200] [--threads 2] [--networks city mobilenet]
"""

import argparse
import itertools
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

HERE = Path(__file__).parent
STYLES = HERE.parent / "examples" / "style_transfer"
CONTESTANTS = ("predict_batch", "loop", "onnxruntime", "openvino")
Session = tuple[bool, Callable[[Any], list[Any]], list[str]]
"""Whether a network takes float32 [1, C, H, W], and not bytes [1, H, W, C]; what computes it; its outputs."""
Results = Iterator[Mapping[str, Any]]


def make_photos(folder: Path, count: int) -> None:
    """Write photos of 640x480: parts of a few, of different places and sizes."""
    folder.mkdir(exist_ok=True)
    sources = [STYLES / "photo.jpg"]
    sklearn = find_spec("sklearn")
    if sklearn is not None and sklearn.origin is not None:
        sources += sorted((Path(sklearn.origin).parent / "datasets" / "images").glob("*.jpg"))
    pictures = [Image.open(source).convert("RGB") for source in sources]
    random = np.random.default_rng(0)
    for number, picture in zip(range(count), itertools.cycle(pictures)):
        width = min(picture.width, picture.height * 4 / 3) * random.uniform(0.5, 1)
        left, top = random.uniform(0, picture.width - width), random.uniform(0, picture.height - width * 3 / 4)
        part = picture.resize((640, 480), Image.Resampling.BICUBIC, (left, top, left + width, top + width * 3 / 4))
        part.save(folder / f"{number:04}.jpg", quality=90)


def make_network(name: str, folder: Path) -> None:
    """Write NAME.mlmodel, which takes pictures, and NAME.onnx."""
    import windfall

    if (STYLES / "models" / f"{name}.mlmodel").exists():
        from windfall.passes import order

        order._left_out.update(order._name(each) for each in order.PASSES if not order._name(each).startswith("Remove"))
        model = windfall.load(STYLES / "models" / f"{name}.mlmodel")
        model.save(folder / f"{name}.mlmodel")
        (folder / f"{name}.onnx").write_bytes(model.compiled.onnx.SerializeToString())
        return
    import coremltools as ct
    import torch

    sys.path.insert(0, str(HERE))
    import networks

    torch.manual_seed(0)
    make, size = networks.NETWORKS[name]
    network = make().eval()
    networks._vary_normalization(network)
    example = torch.rand(1, 3, size, size)
    torch.onnx.export(network, (example,), folder / f"{name}.onnx", input_names=["image"], dynamo=False)
    image = ct.ImageType(name="image", shape=example.shape, scale=1 / 255)
    traced = torch.jit.trace(network, example)
    converted = ct.convert(traced, convert_to="neuralnetwork", inputs=[image])
    converted.save(str(folder / f"{name}.mlmodel"))


def by_batch(model: Any, photos: Iterable[Path], _fit: Any) -> Results:
    yield from model.predict_batch(iter(photos))


def by_loop(model: Any, photos: Iterable[Path], fit: Callable[[Path], Image.Image]) -> Results:
    (name,) = model._binder.inputs
    return (model.predict({name: fit(photo)}) for photo in photos)


def by_session(session: Session, photos: Iterable[Path], fit: Callable[[Path], Image.Image]) -> Results:
    is_float, run, names = session
    for photo in photos:
        pixels = np.asarray(fit(photo))[None]
        if is_float:
            pixels = np.ascontiguousarray((pixels.astype(np.float32) / 255).transpose(0, 3, 1, 2))
        yield {
            name: Image.fromarray(v[0]) if v.dtype == np.uint8 else v
            for name, v in zip(names, run(pixels), strict=True)
        }


def write(photo: Path, result: Mapping[str, Any], folder: Path) -> None:
    """Write a picture, or the five most probable classes."""
    for value in result.values():
        if isinstance(value, Image.Image):
            value.save(folder / f"{photo.stem}.png")
        else:
            best = np.argsort(np.ravel(value))[::-1][:5]
            (folder / f"{photo.stem}.json").write_text(json.dumps(best.tolist()))


def contestant(kind: str, network: str, folder: Path, threads: int) -> None:
    """Print the seconds for all photos."""
    from windfall.features.fitting import fit, open_photo

    photos = sorted((folder / "photos").glob("*.jpg"))
    out = folder / f"out-{kind}-{network}"
    out.mkdir(exist_ok=True)
    run, engine = RUNS[kind](folder / network, threads)
    side = 224 if not (STYLES / "models" / f"{network}.mlmodel").exists() else 256

    def fitted(photo: Path) -> Image.Image:
        return fit(open_photo(photo), (side, side))

    loop = by_loop if kind in ("predict_batch", "loop") else by_session
    write(photos[0], next(iter(loop(engine, photos[:1], fitted))), out)  # compiled and warm
    start = time.perf_counter()
    for photo, result in zip(photos, run(engine, photos, fitted), strict=True):
        write(photo, result, out)
    print(time.perf_counter() - start)


def load_model(path: Path, threads: int) -> Any:
    import windfall

    return windfall.load(path.with_suffix(".mlmodel"), threads=threads)


def load_session(path: Path, threads: int) -> Session:
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    session = ort.InferenceSession(path.with_suffix(".onnx"), options, providers=["CPUExecutionProvider"])
    (given,) = session.get_inputs()
    names = [output.name for output in session.get_outputs()]
    return given.type == "tensor(float)", lambda pixels: session.run(None, {given.name: pixels}), names


def load_request(path: Path, threads: int) -> Session:
    import openvino as ov

    settings = {"INFERENCE_NUM_THREADS": threads, "INFERENCE_PRECISION_HINT": "f32", "PERFORMANCE_HINT": "LATENCY"}
    compiled = ov.Core().compile_model(path.with_suffix(".onnx"), "CPU", settings)
    request = compiled.create_infer_request()

    def run(pixels: Any) -> list[Any]:
        results = request.infer([pixels], share_inputs=True)
        return [results[port] for port in compiled.outputs]

    is_float = compiled.input().element_type == ov.Type.f32
    return is_float, run, [port.any_name for port in compiled.outputs]


RUNS: Mapping[str, Callable[[Path, int], tuple[Callable[..., Results], Any]]] = {
    "predict_batch": lambda path, threads: (by_batch, load_model(path, threads)),
    "loop": lambda path, threads: (by_loop, load_model(path, threads)),
    "onnxruntime": lambda path, threads: (by_session, load_session(path, threads)),
    "openvino": lambda path, threads: (by_session, load_request(path, threads)),
}


def times(network: str, folder: Path, threads: int, rounds: int) -> dict[str, list[float]]:
    """Seconds of each contestant in each round."""
    found: dict[str, list[float]] = {kind: [] for kind in CONTESTANTS}
    for turn in range(rounds):
        for kind in sorted(CONTESTANTS, reverse=turn % 2 == 1):
            command = [sys.executable, __file__, "--contestant", kind, "--models", str(folder), "--networks", network]
            answer = subprocess.run([*command, "--threads", str(threads)], check=True, capture_output=True, text=True)
            found[kind].append(float(answer.stdout))
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--photos", type=int, default=200)
    parser.add_argument("--threads", type=int, default=min(2, os.cpu_count() or 1))
    parser.add_argument("--networks", nargs="+", default=["city", "mobilenet", "resnet50"])
    parser.add_argument("--models", type=Path, help="a folder that keeps models and photos for the next time")
    parser.add_argument("--contestant", choices=CONTESTANTS, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.contestant:
        contestant(options.contestant, options.networks[0], options.models, options.threads)
        return
    with tempfile.TemporaryDirectory() as temporary:
        folder = options.models or Path(temporary)
        make_photos(folder / "photos", options.photos)
        print("| photos in a second | predict_batch | loop | ratio | ONNX Runtime | ratio | OpenVINO | ratio |")
        print("|---" * 8 + "|")
        for network in options.networks:
            if not (folder / f"{network}.onnx").exists():
                make_network(network, folder)
            seconds = times(network, folder, options.threads, options.rounds)
            rates = {kind: options.photos / statistics.median(found) for kind, found in seconds.items()}
            ratios = [
                statistics.median(
                    other / ours for other, ours in zip(seconds[kind], seconds["predict_batch"], strict=True)
                )
                for kind in CONTESTANTS[1:]
            ]
            cells = (f"{rates[kind]:.1f} | {found:.2f}" for kind, found in zip(CONTESTANTS[1:], ratios, strict=True))
            print(f"| {network} | {rates['predict_batch']:.1f} | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
