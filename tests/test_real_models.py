"""Published models that the project may not redistribute, where they are at hand; see tests/models/manifest.json."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

import windfall

MODELS = Path(__file__).parents[2] / "shared" / "models"
MANIFEST: dict[str, Any] = json.loads((Path(__file__).parent / "models" / "manifest.json").read_text())

pytestmark = pytest.mark.skipif(not MODELS.is_dir(), reason="the published models are not beside the project")


def load(name: str) -> windfall.Model:
    return windfall.load(MODELS / name)


def test_mnist_reads_drawn_digits() -> None:
    model = load("mnist-cnn-philippgabriel.mlmodel")
    for digit, strokes in {1: [(14, 4, 14, 23)], 7: [(7, 6, 20, 6), (20, 6, 12, 23)]}.items():
        image = np.zeros((28, 28), np.uint8)
        for x0, y0, x1, y1 in strokes:
            for t in np.linspace(0, 1, 60):
                x, y = round(x0 + t * (x1 - x0)), round(y0 + t * (y1 - y0))
                image[y - 1 : y + 2, x - 1 : x + 2] = 255
        prediction = model.predict({"image": Image.fromarray(image)})["prediction"]
        assert prediction.shape == (10,)
        assert prediction.dtype == np.float64
        assert prediction.argmax() == digit
        np.testing.assert_allclose(prediction.sum(), 1, rtol=1e-5)


def test_image2image_gives_the_same_image() -> None:
    photo = Image.open(MODELS / "cat.jpg").convert("RGB").resize((256, 256))
    model = load("image2image-hollance.mlmodel")
    (name,) = (feature.name for feature in model.description.inputs)
    (result,) = model.predict({name: photo}).values()
    np.testing.assert_array_equal(np.asarray(result), np.asarray(photo))


def test_pose_finds_the_head() -> None:
    photo = Image.open(MODELS / "person.jpg").convert("RGB").resize((192, 192))
    (heatmaps,) = load("pose-cpm-mobilenetv2.mlmodel").predict({"image__0": photo}).values()
    assert heatmaps.shape == (14, 96, 96)
    assert np.isfinite(heatmaps).all()
    y, x = np.unravel_index(heatmaps[0].argmax(), (96, 96))
    # The head of the person in the photo, as fractions of height and width.
    assert 0.2 < y / 96 < 0.32
    assert 0.32 < x / 96 < 0.42


def test_waifu2x_keeps_the_picture() -> None:
    pixels = np.asarray(Image.open(MODELS / "waifu2x_testimg.jpg").convert("RGB"), np.float32)[:142, :142] / 255
    planes = pixels.transpose(2, 0, 1)
    clean = load("waifu2x-anime-noise1.mlmodel").predict({"input": planes})["conv7"]
    assert clean.shape == (3, 128, 128)
    error = np.mean((clean - planes[:, 7:-7, 7:-7]) ** 2)
    assert -10 * np.log10(error) > 25


def overlap(box: NDArray[Any], boxes: NDArray[Any]) -> NDArray[Any]:
    """Return the intersection over union of boxes [x0, y0, x1, y1]."""
    inner = np.clip(np.minimum(box[2:], boxes[:, 2:]) - np.maximum(box[:2], boxes[:, :2]), 0, None).prod(axis=1)
    areas = (boxes[:, 2:] - boxes[:, :2]).prod(axis=1)
    return np.asarray(inner / (areas + (box[2:] - box[:2]).prod() - inner))


def test_blazeface_finds_the_face() -> None:
    photo = Image.open(MODELS / "1face.png").convert("RGB").resize((128, 128))
    outputs = load("blazeface-scaled.mlmodel").predict({"image": photo})
    scores = outputs["1011"][0, :, 0]
    sure = scores > 0.75
    boxes, scores = outputs["1477"][0, sure, :4], scores[sure]
    # Every box overlaps the best one, and counts for it by its score.
    assert (overlap(boxes[scores.argmax()], boxes) > 0.3).all()
    box = np.average(boxes, axis=0, weights=scores)
    np.testing.assert_allclose(box, [0.3171, 0.2714, 0.4873, 0.4416], atol=0.005)
    np.testing.assert_allclose(scores.mean(), 0.996, atol=0.005)


def test_basic_pitch_hears_what_its_makers_hear() -> None:
    expected = np.load(MODELS / "basic-pitch-expected.npz")
    audio = np.concatenate([np.zeros(3840, np.float32), expected["audio_22050"]])
    model = load("basic-pitch-nmp.mlpackage")
    for index in range(2):
        window = audio[index * 36164 :][:43844]
        found = model.predict({"input_2": window[None, :, None]})
        for output, name in {"Identity": "contour", "Identity_1": "note", "Identity_2": "onset"}.items():
            np.testing.assert_allclose(found[output][0], expected[f"win_{name}"][index], atol=1e-4)


def test_a_compiled_model_finds_the_largest() -> None:
    logits = np.random.default_rng(0).normal(size=1025).astype(np.float16)
    found = load("fluid-argmax.mlmodelc").predict({"logits": logits})
    np.testing.assert_array_equal(found["index"], [logits.argmax()])
    np.testing.assert_array_equal(found["score"], [logits.max()])


def name_features(name: str) -> dict[str, float]:
    name = name.lower()
    parts = {"first-letter": name[:1], "first2-letters": name[:2], "first3-letters": name[:3]}
    parts |= {"last-letter": name[-1:], "last2-letters": name[-2:], "last3-letters": name[-3:]}
    return {f"{key}={value}": 1.0 for key, value in parts.items()}


def test_names_of_women_and_men() -> None:
    model = load("names-gender-decision-tree.mlmodel")
    expected = {"Emma": "F", "Alex": "M", "John": "M", "Olivia": "F", "Vadym": "M", "Sam": "F"}
    rows = [name_features(name) for name in expected]
    assert list(model.predict_batch({"input": rows})["classLabel"]) == list(expected.values())
    found = model.predict({"input": rows[0]})
    assert found == {"classLabel": "F", "classProbability": {"F": 1.0, "M": 0.0}}


def test_sentiment_of_sentences() -> None:
    model = load("sentiment-polarity-linearsvc.mlmodel")
    sentences = {
        "coreml amazing and love using": ("Pos", 0.18709),
        "terrible waste money broke after two days": ("Neg", -0.39392),
    }
    for sentence, (label, decision) in sentences.items():
        found = model.predict({"input": dict.fromkeys(sentence.split(), 1)})
        assert found["classLabel"] == label
        positive = 1 / (1 + np.exp(-decision))
        np.testing.assert_allclose(found["classProbability"]["Pos"], positive, atol=5e-6)
        np.testing.assert_allclose(found["classProbability"]["Neg"], 1 - positive, atol=5e-6)


def leaf_value(nodes: dict[int, Any], x: NDArray[np.float64]) -> float:
    """Walk one of the trees of a message whose branches all compare with "less than"."""
    node = nodes[0]
    while node.nodeBehavior != node.LeafNode:
        assert node.nodeBehavior == node.BranchOnValueLessThan
        value = x[node.branchFeatureIndex]
        goes = node.missingValueTracksTrueChild if np.isnan(value) else value < node.branchFeatureValue
        node = nodes[node.trueChildNodeId if goes else node.falseChildNodeId]
    (info,) = node.evaluationInfo
    return float(info.evaluationValue)


def test_trees_with_missing_values() -> None:
    model = load("improveai-dummy-v6.mlmodel")
    names = [feature.name for feature in model.description.inputs]
    rng = np.random.default_rng(0)
    random = rng.normal(size=(20, len(names)))
    random[rng.random(random.shape) < 0.3] = np.nan
    rows = np.vstack([np.full(len(names), np.nan), np.ones(len(names)), random])
    trees: dict[int, dict[int, Any]] = {}
    ensemble = model.spec.treeEnsembleClassifier.treeEnsemble
    for node in ensemble.nodes:
        trees.setdefault(node.treeId, {})[node.nodeId] = node
    sums = [ensemble.basePredictionValue[0] + sum(leaf_value(tree, row) for tree in trees.values()) for row in rows]
    expected = 1 / (1 + np.exp(-np.array(sums)))
    np.testing.assert_allclose(expected[:2], [0.06307175, 0.9999973], atol=1e-7)
    found = model.predict_batch(dict(zip(names, rows.T, strict=True)))
    np.testing.assert_allclose(found["classProbability"][1], expected, rtol=1e-12)
    np.testing.assert_array_equal(found["target"], expected > 0.5)
    one = model.predict(dict(zip(names, rows[0], strict=True)))
    assert one["target"] == 0
    np.testing.assert_allclose(one["classProbability"][0], 0.93692825, atol=1e-8)


@pytest.mark.parametrize("name", sorted(MANIFEST))
def test_every_model_is_described(name: str) -> None:
    description = load(name).description
    assert description.type == MANIFEST[name]["type"]
    assert description.specification_version == MANIFEST[name]["specification_version"]


@pytest.mark.parametrize("name", sorted(name for name, entry in MANIFEST.items() if "error" in entry))
def test_what_cannot_run_says_why(name: str) -> None:
    with pytest.raises(windfall.UnsupportedError) as caught:
        _ = load(name).compiled
    assert MANIFEST[name]["error"] in str(caught.value)
