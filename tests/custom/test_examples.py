"""The worked examples of custom layers and models, next to PyTorch and brute force."""

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from examples.custom import audio_motion, grid_sample, horse, similar_images
from PIL import Image

import windfall
from tests.custom.layers import LAYERS, MODELS, only_these
from windfall.custom.program import CutProgram

ROOT = Path(__file__).parents[2]
PHOTOS = ROOT.parent / "shared" / "models"
STARRY_NIGHT = PHOTOS / "style-starry-night-packt.mlmodel"
CLASSES = {"NearestImages": similar_images.NearestImages, "AudioMotion": audio_motion.AudioMotion}


@pytest.fixture(autouse=True)
def _only_the_examples() -> Any:
    with only_these(LAYERS, {}), only_these(MODELS, CLASSES):
        yield


def photos() -> dict[str, Any]:
    """Overlapping squares of real photos: the demo's, and others where they are at hand."""
    found = {}
    for path in [similar_images.PHOTO, *sorted(PHOTOS.glob("*.jpg"))]:
        with Image.open(path) as opened:
            photo = opened.convert("RGB")
        photo.thumbnail((400, 400))
        found |= {f"{path.stem} {name}": crop for name, crop in similar_images.crops(photo).items()}
    return found


# The horse layer


@pytest.mark.parametrize("batch", [1, 3])
@pytest.mark.parametrize("found", [horse.HorseLayer, horse.EncodedHorseLayer])
def test_the_horse_layer_is_what_pytorch_makes_of_its_formula(found: Any, batch: int) -> None:
    spec = horse.horse_model()
    x = np.random.default_rng(2).normal(size=(batch, horse.CHANNELS, 16, 16)).astype(np.float32)
    layers = spec.neuralNetwork.layers
    query, judge = (torch.tensor(list(numbers)) for numbers in (layers[1].custom.weights[0].floatValue,
                                                                layers[2].innerProduct.weights.floatValue))  # fmt: skip
    positive = torch.relu(torch.tensor(x)).flatten(2)
    attention = torch.softmax(torch.einsum("c,bcp->bp", query, positive) / 0.5, dim=1)
    expected = torch.sigmoid(torch.einsum("bcp,bp->bc", positive, attention) @ judge)
    model = windfall.load(spec, custom_layers={"AAPLCustomHorseLayer": found})
    result = model.predict({"features": x})["horse"]
    np.testing.assert_allclose(result.ravel(), expected.numpy(), rtol=2e-4)
    program = model._compiled(model._binder.graph_shapes(model._binder.feeds({"features": x})), None).program
    assert isinstance(program, CutProgram) == (found is horse.HorseLayer)


# A layer that Core ML 2 did not have


@pytest.mark.parametrize("padding", ["zeros", "border"])
@pytest.mark.parametrize("align_corners", [False, True])
@pytest.mark.parametrize("found", [grid_sample.GridSample, grid_sample.EncodedGridSample])
def test_grid_sample_is_pytorchs(found: Any, align_corners: bool, padding: str) -> None:
    spec = grid_sample.warp_model(9, align_corners=align_corners, padding=padding)
    model = windfall.load(spec, custom_layers={"GridSample": found})
    random = np.random.default_rng(0)
    x = random.normal(size=(2, 3, 9, 9)).astype(np.float32)
    places = random.uniform(-1.3, 1.3, size=(2, 2, 9, 9)).astype(np.float32)  # some lie outside
    expected = torch.nn.functional.grid_sample(
        torch.tensor(x), torch.tensor(places).permute(0, 2, 3, 1), padding_mode=padding, align_corners=align_corners
    )
    result = model.predict({"x": x, "places": places})["bent"]
    np.testing.assert_allclose(result.reshape(expected.shape), expected.numpy(), atol=2e-6)


# Similar images


def test_similar_images_are_those_that_brute_force_finds() -> None:
    known = photos()
    spec = similar_images.similar_images(known, neighbours=5)
    assert spec.specificationVersion == 3
    model = windfall.load(spec)
    network = windfall.load(similar_images.embedding_model())
    vectors = similar_images.embedded(similar_images.embedding_model(), known)
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, rtol=1e-3)
    with Image.open(similar_images.PHOTO) as opened:
        queries = [opened.convert("RGB").crop((x, y, x + 100, y + 100)) for x, y in ((3, 2), (104, 98), (197, 153))]
    for photo, where in zip(map(similar_images.fitted, queries), ("0,0", "100,100", "200,150"), strict=True):
        result = model.predict({"image": photo})
        assert result["nearest"] == f"photo {where}"
        cosines = vectors.astype(np.float64) @ network.predict({"image": photo})["print"].astype(np.float64)
        expected = [list(known)[index] for index in np.argsort(-cosines)[:5]]
        assert result["names"] == expected
        np.testing.assert_allclose([result["cosines"][name] for name in expected], np.sort(cosines)[:-6:-1], rtol=1e-5)
    rows = model.predict_batch([{"image": similar_images.fitted(photo)} for photo in queries])
    assert [row["nearest"] for row in rows] == ["photo 0,0", "photo 100,100", "photo 200,150"]


def test_another_index_needs_no_other_code(tmp_path: Path) -> None:
    known = photos()
    half = dict(list(known.items())[::2])
    network = similar_images.embedding_model()
    spec = similar_images.similar_images(known)
    changed = similar_images.with_index(spec, similar_images.embedded(network, half), list(half))
    path = windfall.load(changed).save(tmp_path / "half.mlmodel")
    model = windfall.load(path)
    name, photo = list(known.items())[1]
    assert name not in model.predict({"image": similar_images.fitted(photo)})["names"]
    assert windfall.load(spec).predict({"image": similar_images.fitted(photo)})["nearest"] == name
    assert similar_images.with_index(spec, similar_images.embedded(network, known), list(known)) == spec


@pytest.mark.parametrize(("tables", "least"), [(4, 0.75), (16, 0.95)])
def test_hashing_finds_most_neighbours_and_looks_at_few(tables: int, least: float) -> None:
    """Points around 400 centres; ten neighbours each, next to those of brute force."""
    random = np.random.default_rng(0)
    centres = random.normal(size=(400, 32))
    vectors = (np.repeat(centres, 25, axis=0) + random.normal(size=(10_000, 32)) * 0.4).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    hashes = similar_images.Hashes(vectors, tables, 10)
    found, looked_at = 0, 0
    for query in vectors[::200]:
        candidates = hashes.candidates(query, 10)
        looked_at += len(candidates)
        nearest = candidates[similar_images.best(vectors[candidates] @ query, 10)[0]]
        found += len(np.intersect1d(nearest, np.argsort(-(vectors @ query))[:10]))
    assert found / 500 >= least
    assert looked_at / 50 < 5000


def test_hashing_in_a_model_finds_what_comparing_with_all_finds() -> None:
    known = photos()
    exact, hashed = (windfall.load(similar_images.similar_images(known, tables=tables)) for tables in (0, 12))
    for photo in list(known.values())[::7]:
        image = similar_images.fitted(photo)
        assert hashed.predict({"image": image})["nearest"] == exact.predict({"image": image})["nearest"]


def test_fewer_vectors_than_neighbours_are_all_given() -> None:
    spec = similar_images.search_model(np.eye(3, dtype=np.float32), ["a", "b", "c"], neighbours=10)
    assert windfall.load(spec).predict({"print": [0.1, 0.9, 0.2]})["names"] == ["b", "c", "a"]
    spec = similar_images.search_model(np.eye(3, dtype=np.float32), ["a", "b", "c"], neighbours=10, tables=1, bits=8)
    assert windfall.load(spec).predict({"print": [0.1, 0.9, 0.2]})["names"] == ["b", "c", "a"]


# Audio and motion


def opinion(parameters: Any, kind: str, features: Any) -> Any:
    weights = np.frombuffer(parameters[kind].bytesValue, np.float32).reshape(-1, 3)
    return torch.softmax(torch.tensor(np.asarray(features, np.float64) @ weights), -1).numpy()


def test_audio_and_motion_are_combined_by_how_sure_they_are() -> None:
    spec = audio_motion.activity_model()
    model = windfall.load(spec)
    random = np.random.default_rng(0)
    rows = [
        {"audio": random.normal(size=12), "motion": dict(zip(audio_motion.MOTIONS, random.normal(size=4), strict=True))}
        for _ in range(5)
    ]
    results = model.predict_batch(rows)
    parameters = spec.customModel.parameters
    for row, result in zip(rows, results, strict=True):
        assert model.predict(row)["likely"] == pytest.approx(result["likely"])
        opinions = [opinion(parameters, "audio", row["audio"]),
                    opinion(parameters, "motion", list(row["motion"].values()))]  # fmt: skip
        sure = [1 + (p * np.log(p)).sum() / np.log(3) for p in opinions]
        expected = (sure[0] * opinions[0] + sure[1] * opinions[1]) / sum(sure)
        np.testing.assert_allclose(list(result["likely"].values()), expected, atol=1e-4)
        assert result["activity"] == audio_motion.ACTIVITIES[int(expected.argmax())]


def test_without_motion_audio_alone_counts() -> None:
    spec = audio_motion.activity_model()
    audio = np.random.default_rng(0).normal(size=12)
    result = windfall.load(spec).predict({"audio": audio})
    expected = opinion(spec.customModel.parameters, "audio", audio)
    np.testing.assert_allclose(list(result["likely"].values()), expected, atol=1e-9)


# A model that someone else made


class ResCropBlock(windfall.CustomLayer):
    """Two rows and columns less on each side; the file says: return x[:, 2:-2, 2:-2]."""

    def output_shapes(self, input_shapes: Any) -> Any:
        (*lead, height, width) = input_shapes[0]
        return [[*lead, height - 4, width - 4]]

    def evaluate(self, inputs: Any) -> Any:
        return [inputs[0][..., 2:-2, 2:-2]]


class EncodedResCropBlock(ResCropBlock):
    def encode(self, graph: Any, inputs: Any) -> Any:
        bounds = [graph.constant(np.array(numbers)) for numbers in ([2, 2], [-2, -2], [2, 3])]
        return graph.restore(graph.op("Slice", graph.planes(inputs[0]), *bounds), like=inputs[0])


class RescaleOutput(windfall.CustomLayer):
    """The file says: Rescale output to adjust for ReLu ((x+1)*127.5)."""

    def output_shapes(self, input_shapes: Any) -> Any:
        return input_shapes

    def evaluate(self, inputs: Any) -> Any:
        return [(inputs[0] + 1) * np.float32(127.5)]


class EncodedRescaleOutput(RescaleOutput):
    def encode(self, graph: Any, inputs: Any) -> Any:
        moved = graph.op("Add", inputs[0], graph.constant(np.float32(1)))
        return graph.op("Mul", moved, graph.constant(np.float32(127.5)))


@pytest.mark.skipif(not STARRY_NIGHT.exists(), reason="the published models are not beside the project")
def test_a_published_style_network_paints_a_cat() -> None:
    """Evaluated and encoded agree, and so does PyTorch, which computes the file's layers one by one."""
    with Image.open(PHOTOS / "cat.jpg") as opened:
        photo = opened.convert("RGB").resize((320, 320))
    evaluated, encoded = (
        windfall.load(STARRY_NIGHT, custom_layers={"ResCropBlockLambda": crop, "RescaleOutputLambda": rescale})
        for crop, rescale in ((ResCropBlock, RescaleOutput), (EncodedResCropBlock, EncodedRescaleOutput))
    )
    painted = np.asarray(evaluated.predict({"image": photo})["output"]).astype(int)
    assert abs(painted - np.asarray(encoded.predict({"image": photo})["output"])).max() <= 1
    assert isinstance(evaluated.compiled.program, CutProgram)
    assert not isinstance(encoded.compiled.program, CutProgram)
    expected = np.clip(in_pytorch(evaluated.spec.neuralNetwork, np.asarray(photo)), 0, 255)
    assert abs(painted - expected.transpose(1, 2, 0)).max() <= 1
    # Another picture, in which the cat can still be seen: bright and dark places stay where they were.
    before, after = (np.asarray(Image.fromarray(pixels.astype(np.uint8)).convert("L").resize((40, 40)), float).ravel()
                     for pixels in (np.asarray(photo), painted))  # fmt: skip
    assert abs(painted - np.asarray(photo)).mean() > 30
    assert np.corrcoef(before, after)[0, 1] > 0.4


def in_pytorch(network: Any, pixels: Any) -> Any:
    values = {"image": torch.tensor(pixels.transpose(2, 0, 1)[None].astype(np.float32))}
    for layer in network.layers:
        kind = layer.WhichOneof("layer")
        params = getattr(layer, kind)
        (values[layer.output[0]],) = [PYTORCH[kind](params, *(values[name] for name in layer.input))]
    return values["output"][0].numpy()


def _tensor(weights: Any, *shape: int) -> Any:
    return torch.tensor(np.array(weights.floatValue, np.float32)).reshape(*shape)


def _convolution(params: Any, x: Any) -> Any:
    kernel = _tensor(params.weights, params.outputChannels, params.kernelChannels, *params.kernelSize)
    bias = _tensor(params.bias, -1) if params.hasBias else None
    stride = tuple(params.stride) or (1, 1)
    if params.WhichOneof("ConvolutionPaddingType") == "same":
        # The odd one of the rows goes to the bottom, as in TensorFlow.
        needs = [
            max((-(-size // s) - 1) * s + k - size, 0)
            for size, s, k in zip(x.shape[2:], stride, params.kernelSize, strict=True)
        ]
        x = torch.nn.functional.pad(
            x, (needs[1] // 2, needs[1] - needs[1] // 2, needs[0] // 2, needs[0] - needs[0] // 2)
        )
    return torch.nn.functional.conv2d(x, kernel, bias, stride)


def _batchnorm(params: Any, x: Any) -> Any:
    names = ("mean", "variance", "gamma", "beta")
    mean, variance, gamma, beta = (_tensor(getattr(params, name), -1) for name in names)
    return torch.nn.functional.batch_norm(x, mean, variance, gamma, beta, eps=params.epsilon)


def _activation(params: Any, x: Any) -> Any:
    return {"ReLU": torch.relu, "tanh": torch.tanh}[params.WhichOneof("NonlinearityType")](x)


def _padding(params: Any, x: Any) -> Any:
    down, across = params.paddingAmounts.borderAmounts
    sizes = (across.startEdgeSize, across.endEdgeSize, down.startEdgeSize, down.endEdgeSize)
    return torch.nn.functional.pad(x, sizes)


PYTORCH = {
    "convolution": _convolution,
    "batchnorm": _batchnorm,
    "activation": _activation,
    "padding": _padding,
    "add": lambda params, a, b: a + b,
    "upsample": lambda params, x: torch.nn.functional.interpolate(x, scale_factor=tuple(params.scalingFactor)),
    "custom": lambda params, x: (x + 1) * 127.5 if params.className == "RescaleOutputLambda" else x[:, :, 2:-2, 2:-2],
}


@pytest.mark.parametrize("name", ["horse", "grid_sample", "similar_images", "audio_motion"])
def test_each_example_runs_as_a_script(name: str) -> None:
    script = ROOT / "examples/custom" / f"{name}.py"
    done = subprocess.run([sys.executable, script], capture_output=True, text=True, check=True)  # noqa: S603  # our own
    assert re.search(r"\d\.\d+", done.stdout)
    assert done.stderr == ""
