import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import windfall
from tests.classical import array, model_spec, predict
from windfall.errors import FeatureError, FormatError
from windfall.lowering.classical import nearest

INDEX = {"linearIndex": {}, "squaredEuclideanDistance": {}}
TREE = {"singleKdTreeIndex": {"leafSize": 3}, "squaredEuclideanDistance": {}}


def spec_of(
    samples, labels, k=1, weights="uniformWeighting", index=INDEX, outputs=("y", "p"), dtype="DOUBLE", **fields
):
    samples = np.asarray(samples, np.float32)
    text = isinstance(labels[0], str) if len(labels) else True
    kind = "string" if text else "int64"
    types = {"y": kind, "p": f"{kind} dictionary"}
    data = [{"vector": row} for row in samples.tolist()]
    dimensions = samples.shape[1]
    given_fields = {
        "numberOfNeighbors": {"defaultValue": k},
        f"{kind}ClassLabels": {"vector": list(labels)},
        weights: {},
        "nearestNeighborsIndex": {"numberOfDimensions": dimensions, "floatSamples": data, **index},
        **fields,
    }
    return model_spec(
        "kNearestNeighborsClassifier", {"x": array(dimensions, dtype=dtype)},
        {name: types[name] for name in outputs}, given_fields, "y", "p" if "p" in outputs else "",
    )  # fmt: skip


def expected_shares(points, samples, labels, k, inverse=False):
    """Vote as the proto comment says, one row at a time."""
    distinct = list(dict.fromkeys(labels))
    shares = np.zeros((len(points), len(distinct)))
    for row, point in enumerate(np.asarray(points, np.float64)):
        distances = ((point - np.asarray(samples, np.float64)) ** 2).sum(axis=1)
        near = np.argsort(distances, kind="stable")[:k]
        votes = np.ones(len(near))
        if inverse:
            zero = distances[near] == 0
            votes = zero.astype(float) if zero.any() else 1 / distances[near]
        for place, vote in zip(near, votes, strict=True):
            shares[row, distinct.index(labels[place])] += vote
        shares[row] /= shares[row].sum()
    return distinct, shares


def check(points, samples, labels, k, **fields):
    samples = np.asarray(samples, np.float32)
    distinct, shares = expected_shares(points, samples, labels, k, fields.get("weights", "").startswith("inverse"))
    got = windfall.load(spec_of(samples, labels, k, **fields)).predict_batch({"x": np.asarray(points, np.float64)})
    assert list(got["p"]) == distinct
    np.testing.assert_allclose(np.transpose(list(got["p"].values())), shares, rtol=1e-12, atol=1e-15)
    return got, distinct, shares


SQUARE = [[0, 0], [1, 0], [0, 1], [5, 5], [6, 5], [5, 6]]
COLOURS = ["red", "blue", "red", "blue", "blue", "green"]


@pytest.mark.parametrize("index", [INDEX, TREE])
@pytest.mark.parametrize("weights", ["uniformWeighting", "inverseDistanceWeighting"])
def test_votes_are_those_of_the_formula(index, weights):
    rng = np.random.default_rng(0)
    samples, points = rng.normal(size=(60, 4)), rng.normal(size=(20, 4))
    labels = rng.integers(-3, 3, 60).tolist()
    got, distinct, shares = check(points, samples, labels, 5, weights=weights, index=index)
    assert got["y"].tolist() == [distinct[place] for place in shares.argmax(axis=1)]


def test_one_prediction_by_hand():
    got = predict(spec_of(SQUARE, COLOURS, k=3), x=[0.1, 0.2])
    assert got == {"y": "red", "p": {"red": pytest.approx(2 / 3), "blue": pytest.approx(1 / 3), "green": 0.0}}
    # 1 / distance: 1 / 0.25 for the first, 1 / 0.25 for the second at (1, 0), 1 / 1.25 for (0, 1)
    got = predict(spec_of(SQUARE, COLOURS, k=3, weights="inverseDistanceWeighting"), x=[0.5, 0])
    assert got["p"]["blue"] == pytest.approx(4 / 8.8)


def test_integer_labels_and_a_model_that_gives_the_label_alone():
    spec = spec_of(SQUARE, [7, -7, 7, 9, 9, 9], k=3, outputs=("y",), dtype="FLOAT32")
    assert predict(spec, x=[5, 5]) == {"y": 9}
    assert windfall.load(spec).predict_batch({"x": [[0, 0], [6, 6]]})["y"].tolist() == [7, 9]


def test_equal_votes_go_to_the_label_that_stands_first():
    samples = [[4], [1], [2], [3]]
    assert predict(spec_of(samples, ["b", "a", "a", "b"], k=4), x=[0])["y"] == "b"
    assert predict(spec_of(samples, [3, 1, 2, 1], k=2), x=[3.5])["y"] == 3


def test_of_equally_far_samples_the_first_counts():
    assert predict(spec_of([[1], [-1], [1]], ["a", "b", "c"]), x=[0])["y"] == "a"
    assert predict(spec_of([[1], [-1], [1]], ["a", "b", "c"], k=2), x=[0])["p"] == {"a": 0.5, "b": 0.5, "c": 0}


def test_neighbours_at_distance_0_outvote_all_others():
    samples = [[0, 0], [0, 0], [1e-9, 0], [0, 1]]
    spec = spec_of(samples, ["a", "b", "c", "d"], k=4, weights="inverseDistanceWeighting")
    assert predict(spec, x=[0, 0])["p"] == {"a": 0.5, "b": 0.5, "c": 0, "d": 0}


def test_distances_whose_reciprocal_is_no_double():
    spec = spec_of([[0], [1e-37]], ["a", "b"], k=2, weights="inverseDistanceWeighting")
    got = predict(spec, x=[1e-160])["p"]
    assert got["a"] == pytest.approx(1)
    assert got["a"] + got["b"] == 1
    assert predict(spec, x=[1e200])["p"] == {"a": 0.5, "b": 0.5}
    assert predict(spec, x=[np.nan])["p"] == {"a": 0.5, "b": 0.5}


def test_more_neighbours_than_samples():
    check([[0, 0], [9, 9]], SQUARE, COLOURS, 1000)


def test_no_samples_give_the_default_label():
    spec = spec_of(np.zeros((0, 2)), [], defaultStringLabel="none")
    assert predict(spec, x=[1, 2]) == {"y": "none", "p": {"none": 1.0}}
    assert windfall.load(spec).predict_batch({"x": np.zeros((3, 2))})["y"].tolist() == ["none"] * 3


def test_no_rows():
    got = windfall.load(spec_of(SQUARE, COLOURS, k=2)).predict_batch({"x": np.zeros((0, 2))})
    assert [len(got["y"]), *(len(column) for column in got["p"].values())] == [0, 0, 0, 0]


# The search among many samples


def ranked(monkeypatch):
    """Use the product of matrices for few samples too."""
    monkeypatch.setattr(nearest, "_FEW", 0)


@pytest.mark.parametrize("k", [1, 7, 40])
@pytest.mark.parametrize(("offset", "scale"), [(0, 1), (1000, 1), (0, 1e-30), (3e7, 100), (0, 1e30)])
def test_many_samples_wherever_they_lie(k, offset, scale):
    rng = np.random.default_rng(k)
    samples = (rng.normal(size=(3000, 5)) * scale + offset).astype(np.float32)
    points = rng.normal(size=(30, 5)) * scale + offset
    check(points, samples, rng.integers(0, 9, 3000).tolist(), k, weights="inverseDistanceWeighting")


def test_points_that_no_float32_can_hold():
    rng = np.random.default_rng(1)
    samples = rng.normal(size=(3000, 4)).astype(np.float32)
    points = [[1e35, 0, 0, 0], [1e60, 0, 0, 0], [0, -1e15, 0, 0], [0, 0, 0, 0]]
    check(points, samples, rng.integers(0, 9, 3000).tolist(), 4)


def test_points_that_are_no_numbers():
    rng = np.random.default_rng(1)
    samples = rng.normal(size=(3000, 4)).astype(np.float32)
    labels = rng.integers(0, 9, 3000).tolist()
    points = np.zeros((3, 4))
    points[0, 1], points[1] = np.nan, np.inf
    got = windfall.load(spec_of(samples, labels, 4)).predict_batch({"x": points})
    distinct, shares = expected_shares(points[2:], samples, labels, 4)
    np.testing.assert_allclose([got["p"][label][2] for label in distinct], shares[0])
    assert got["p"][labels[0]][0] >= 0.25
    assert got["p"][labels[0]][1] >= 0.25


def test_rows_in_several_chunks(monkeypatch):
    monkeypatch.setattr(nearest, "_CHUNK_BYTES", 2**17)
    rng = np.random.default_rng(2)
    samples = rng.normal(size=(3000, 6)).astype(np.float32)
    check(rng.normal(size=(37, 6)), samples, rng.integers(0, 4, 3000).tolist(), 5)
    check(np.zeros((3, 6)), np.repeat(samples[:2], 1500, axis=0), rng.integers(0, 4, 3000).tolist(), 5)


def test_more_candidates_than_fit_into_a_chunk(monkeypatch):
    monkeypatch.setattr(nearest, "_CHUNK_BYTES", 2**13)
    rng = np.random.default_rng(2)
    samples = rng.normal(size=(500, 6)).astype(np.float32)
    check(rng.normal(size=(5, 6)), samples, rng.integers(0, 4, 500).tolist(), 100)
    check(rng.normal(size=(5, 6)), samples, rng.integers(0, 4, 500).tolist(), 300)


@settings(max_examples=25, deadline=None)
@given(
    st.integers(0, 2**32 - 1), st.integers(1, 4), st.integers(1, 6), st.integers(1, 4), st.sampled_from([1, 0.1, 1e6])
)
def test_lattices_full_of_equal_distances(seed, dimensions, k, levels, step):
    rng = np.random.default_rng(seed)
    with pytest.MonkeyPatch.context() as patch:
        ranked(patch)
        samples = (rng.integers(0, levels, (120, dimensions)) * step).astype(np.float32)
        points = np.concatenate([samples[:5], rng.integers(0, levels, (5, dimensions)) * step]).astype(np.float32)
        check(points, samples, rng.integers(0, 5, 120).tolist(), k, weights="inverseDistanceWeighting")


# Errors


@pytest.mark.parametrize(
    ("fields", "text"),
    [
        ({"numberOfNeighbors": {"defaultValue": 0}}, "numberOfNeighbors is 0, must be at least 1"),
        ({"numberOfNeighbors": {"defaultValue": -3}}, "numberOfNeighbors is -3, must be at least 1"),
        (
            {"numberOfNeighbors": {"defaultValue": 1, "range": {"minValue": 2, "maxValue": 4}}},
            "numberOfNeighbors is 1, must be in its range, 2 to 4",
        ),
        (
            {"numberOfNeighbors": {"defaultValue": 5, "range": {"minValue": 2, "maxValue": 4}}},
            "numberOfNeighbors is 5, must be in its range, 2 to 4",
        ),
        (
            {"numberOfNeighbors": {"defaultValue": 5, "set": {"values": [2, 4]}}},
            "numberOfNeighbors is 5, must be in its set, [2, 4]",
        ),
        (
            {"stringClassLabels": {"vector": ["a"]}},
            "floatSamples is 6 samples, must be 1, one for each label",
        ),
        (
            {
                "nearestNeighborsIndex": {
                    "numberOfDimensions": 2,
                    "floatSamples": [{"vector": [1, 2]}] * 5 + [{}],
                    **INDEX,
                }
            },
            "floatSamples[5] is 0 numbers, must be 2, the numberOfDimensions",
        ),
        (
            {"nearestNeighborsIndex": {"numberOfDimensions": 0, **INDEX}},
            "numberOfDimensions is 0, must be 1 to 1,048,576",
        ),
        (
            {
                "nearestNeighborsIndex": {
                    "numberOfDimensions": 2,
                    "floatSamples": [{"vector": [1, np.nan]}] * 6,
                    **INDEX,
                }
            },
            "floatSamples[0] has a number that is not finite, must have finite ones",
        ),
        (
            {"nearestNeighborsIndex": {"numberOfDimensions": 3, "floatSamples": [{"vector": [1, 2, 3]}] * 6, **INDEX}},
            "input is 2 values, must be 3, the numberOfDimensions",
        ),
        (
            {"nearestNeighborsIndex": {"numberOfDimensions": 2, "squaredEuclideanDistance": {}}},
            "IndexType is not set, must be linearIndex or singleKdTreeIndex",
        ),
        (
            {"nearestNeighborsIndex": {"numberOfDimensions": 2, "linearIndex": {}}},
            "DistanceFunction is not set, must be squaredEuclideanDistance",
        ),
        (
            {"nearestNeighborsIndex": {"numberOfDimensions": 2, "singleKdTreeIndex": {}}},
            "leafSize is 0, must be at least 1",
        ),
        (
            {"defaultInt64Label": 3},
            "DefaultClassLabel is defaultInt64Label, must be defaultStringLabel where labels are stringClassLabels",
        ),
    ],
)
def test_damaged_models(fields, text):
    spec = spec_of(SQUARE, COLOURS)
    for field in fields:
        spec.kNearestNeighborsClassifier.ClearField(field)
    other = model_spec("kNearestNeighborsClassifier", {}, {}, fields)
    spec.kNearestNeighborsClassifier.MergeFrom(other.kNearestNeighborsClassifier)
    with pytest.raises(FormatError) as error:
        predict(spec, x=[1, 2])
    assert str(error.value) == f"cannot lower the model (kNearestNeighborsClassifier): {text}"


def test_weights_that_are_not_set_and_no_default_label():
    spec = spec_of(SQUARE, COLOURS)
    spec.kNearestNeighborsClassifier.ClearField("uniformWeighting")
    with pytest.raises(
        FormatError, match=r"WeightingScheme is not set, must be uniformWeighting or inverseDistanceWeighting$"
    ):
        predict(spec, x=[1, 2])
    with pytest.raises(
        FormatError, match=r"floatSamples there are none, must be at least one where there is no default label$"
    ):
        predict(spec_of(np.zeros((0, 2)), []), x=[1, 2])


def test_a_point_of_another_length():
    with pytest.raises(FeatureError, match=r"^input 'x' has shape \[3\], must "):
        predict(spec_of(SQUARE, COLOURS), x=[1, 2, 3])
